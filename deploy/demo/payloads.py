"""Attachments shared by many mails: small PNG photos, PDFs and controller logs, built once and encoded once."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from email import policy
from email.message import MIMEPart
from random import Random

_WIDTH, _HEIGHT = 112, 84
_FAULTS = (
    "contactor welded",
    "ground fault",
    "modem restart",
    "reader timeout",
    "door sensor blocked",
    "ok",
    "ok",
    "ok",
)


@dataclass(frozen=True, slots=True)
class Shelf:
    """Ready MIME parts; a part may hang on any number of mails because writing a mail leaves its parts as they are."""

    photos: tuple[MIMEPart, ...]
    documents: tuple[MIMEPart, ...]
    logs: tuple[MIMEPart, ...]
    inline: MIMEPart


INLINE_ID = "plate-photo@example.net"


def stock_shelf(rng: Random) -> Shelf:
    """Return the attachments of one scenario."""
    photos = tuple(_part(png(rng), "image", "png", f"IMG_{rng.randrange(1000, 9999)}.png") for _ in range(8))
    documents = tuple(
        _part(pdf(f"Service report {number}"), "application", "pdf", f"Übergabe-{number}.pdf") for number in range(1, 7)
    )
    logs = tuple(_part(log(rng), "text", "plain", f"controller-{number}.log") for number in range(1, 7))
    return Shelf(photos, documents, logs, _part(png(rng), "image", "png", "plate.png", f"<{INLINE_ID}>"))


def png(rng: Random) -> bytes:
    """Return a valid true-colour PNG of some kilobytes: a gradient with noise (PNG specification, section 5)."""
    base, rows = rng.randrange(200), bytearray()
    for y in range(_HEIGHT):
        rows.append(0)
        for value in rng.randbytes(_WIDTH):
            rows += bytes(((base + y) & 255, (y * 4 + (value & 15)) & 255, (base + (value & 31)) & 255))
    header = struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def pdf(line: str) -> bytes:
    """Return a valid PDF 1.4 of one page that shows one ASCII `line` without parentheses."""
    stream = f"BT /F1 18 Tf 40 100 Td ({line}) Tj ET".encode("ascii")
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents 4 0 R /Resources 6 0 R >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Font << /F1 5 0 R >> >>",
    )
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 7\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return bytes(out + b"trailer\n<< /Size 7 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start)


def log(rng: Random) -> bytes:
    """Return the text of a controller's log, one line each some seconds."""
    lines, second = [], rng.randrange(3600)
    for _ in range(40):
        second += rng.randrange(1, 40)
        clock = f"{second // 3600 + 6:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
        lines.append(f"{clock} ctl[{rng.randrange(200, 900)}] state={rng.choice('ABCF')} {rng.choice(_FAULTS)}\n")
    return "".join(lines).encode("ascii")


def _part(data: bytes, maintype: str, subtype: str, filename: str, content_id: str | None = None) -> MIMEPart:
    part = MIMEPart(policy=policy.SMTP)
    disposition = "inline" if content_id else "attachment"
    part.set_content(
        data, maintype=maintype, subtype=subtype, disposition=disposition, filename=filename, cid=content_id
    )
    return part
