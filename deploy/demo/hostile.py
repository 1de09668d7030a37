"""Mails that break careless readers; each is written by hand, as bytes, with something a person can still read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

_PARTS = 5_000
_DEPTH = 300
_ANCESTORS = 2_000
_LONG_ID = 8_192
_MULTIPART = b'multipart/mixed; boundary="x"'


@dataclass(frozen=True, slots=True)
class Stem:
    """What all of them share: where it goes, when, a `token` no other mail has, the tag of an asset."""

    mailbox: str
    at: datetime
    token: str
    tag: str

    @property
    def text(self) -> bytes:
        """Return the readable part."""
        return f"{self.tag} is down, please send somebody. Ref {self.token}.\r\n".encode("ascii")

    def mail(self, body: bytes, **changes: bytes | None) -> bytes:
        """Return an ordinary mail with some header lines changed, or left out where None; "_" stands for "-"."""
        headers: dict[str, bytes | None] = {
            "Delivered_To": self.mailbox.encode("ascii"),
            "From": f"Field Gateway <gw-{self.token}@gateway.example.net>".encode("ascii"),
            "To": self.mailbox.encode("ascii"),
            "Subject": f"{self.tag} down ({self.token})".encode("ascii"),
            "Date": format_datetime(self.at).encode("ascii"),
            "Message_ID": f"<{self.token}@gateway.example.net>".encode("ascii"),
            "MIME_Version": b"1.0",
            "Content_Type": b"text/plain; charset=utf-8",
        }
        headers.update(changes)
        lines = (
            name.replace("_", "-").encode("ascii") + b": " + value + b"\r\n"
            for name, value in headers.items()
            if value is not None
        )
        return b"".join(lines) + b"\r\n" + body


def bad_charset(stem: Stem) -> bytes:
    """A charset nobody knows, on bytes that are windows-1252."""
    return stem.mail(stem.text + b"Gr\xfc\xdfe\r\n", Content_Type=b"text/plain; charset=x-northline-13")


def codec_charset(stem: Stem) -> bytes:
    """A charset that some runtimes take for a compression codec."""
    return stem.mail(stem.text, Content_Type=b'text/plain; charset="zip"')


def nul_bytes(stem: Stem) -> bytes:
    """NUL in subject, name and text, raw and as an encoded word."""
    subject = b"=?utf-8?q?=00?= " + stem.tag.encode("ascii") + b" d\x00own"
    return stem.mail(b"\x00" + stem.text + b"\x00\x00", Subject=subject)


def broken_date(stem: Stem) -> bytes:
    """A date that is none."""
    return stem.mail(stem.text, Date=b"Foo, 99 Bar 20261 25:61:61 +9999")


def missing_message_id(stem: Stem) -> bytes:
    """No Message-ID at all."""
    return stem.mail(stem.text, Message_ID=None)


def huge_references(stem: Stem) -> bytes:
    """Thousands of ancestors, none of which ever arrived."""
    ids = b"\r\n ".join(b"<%s.%d@gateway.example.net>" % (stem.token.encode("ascii"), n) for n in range(_ANCESTORS))
    return stem.mail(stem.text, References=ids)


def deep_nesting(stem: Stem) -> bytes:
    """Multiparts inside multiparts, the text at the bottom."""
    opening = b"".join(
        b'--n%d\r\nContent-Type: multipart/mixed; boundary="n%d"\r\n\r\n' % (level, level + 1)
        for level in range(_DEPTH)
    )
    closing = b"".join(b"\r\n--n%d--\r\n" % level for level in range(_DEPTH, -1, -1))
    body = opening + b"--n%d\r\nContent-Type: text/plain\r\n\r\n" % _DEPTH + stem.text + closing
    return stem.mail(body, Content_Type=b'multipart/mixed; boundary="n0"')


def many_parts(stem: Stem) -> bytes:
    """Thousands of tiny parts after the readable one."""
    parts = b"".join(b"--x\r\n\r\n%d\r\n" % number for number in range(_PARTS))
    return stem.mail(b"--x\r\n\r\n" + stem.text + parts + b"--x--\r\n", Content_Type=_MULTIPART)


def long_message_id(stem: Stem) -> bytes:
    """A Message-ID of eight kilobytes, longer than any index takes."""
    tail = b"@gateway.example.net"
    local = stem.token.encode("ascii").ljust(_LONG_ID - len(tail) - 2, b"m")
    return stem.mail(stem.text, Message_ID=b"<" + local + tail + b">")


def control_characters(stem: Stem) -> bytes:
    """Control and bidi characters in names, a path as a file name."""
    sender = b"=?utf-8?q?Bell=07_=E2=80=AEgpj=2Eexe?= \x1b[31m <gw-%s@gateway.example.net>" % stem.token.encode("ascii")
    part = b'Content-Type: image/svg+xml\r\nContent-Disposition: attachment; filename="../../\x08run\x7f.sh"\r\n'
    body = b"--x\r\n\r\n" + stem.text + b"--x\r\n" + part + b"\r\ndata\r\n--x--\r\n"
    return stem.mail(body, From=sender, Content_Type=_MULTIPART)


def headerless(stem: Stem) -> bytes:
    """No header at all: a blank line, then text."""
    return b"\r\n" + stem.text


def bodyless(stem: Stem) -> bytes:
    """Headers, and nothing below them."""
    return stem.mail(b"")


def unterminated_boundary(stem: Stem) -> bytes:
    """A multipart that never ends, its second part cut within base64."""
    part = b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgoAAAANSUhEUg"
    return stem.mail(b"--x\r\n\r\n" + stem.text + b"--x\r\n" + part, Content_Type=_MULTIPART)


def eight_bit_headers(stem: Stem) -> bytes:
    """Headers in raw windows-1252 and raw UTF-8, unencoded."""
    subject = b"St\xf6rung " + stem.tag.encode("ascii") + " Größe".encode()
    sender = b"J\xf6rg <gw-%s@gateway.example.net>" % stem.token.encode("ascii")
    return stem.mail(stem.text, Subject=subject, From=sender)


def false_transfer_encoding(stem: Stem) -> bytes:
    """A body that says base64 and is not."""
    return stem.mail(stem.text, Content_Transfer_Encoding=b"base64")


def double_headers(stem: Stem) -> bytes:
    """Two senders, two subjects, bare line feeds between them."""
    return b"From: other@gateway.example.net\nSubject: first of two\n" + stem.mail(stem.text)


def active_html(stem: Stem) -> bytes:
    """Script, a tracking picture and a form in HTML; a formula as subject."""
    page = (
        b'<html><script>alert(1)</script><img src="http://tracker.example.net/p.gif" onerror="alert(2)">'
        b'<form action="http://phish.example.net/"><input name="password"></form><p>%s</p></html>' % stem.text
    )
    return stem.mail(page, Subject=b"=cmd|' /C calc'!A0", Content_Type=b"text/html; charset=utf-7")


HOSTILE: tuple[Callable[[Stem], bytes], ...] = (
    bad_charset, nul_bytes, broken_date, missing_message_id, huge_references, deep_nesting, many_parts, long_message_id,
    control_characters, headerless, bodyless, unterminated_boundary, eight_bit_headers, codec_charset,
    false_transfer_encoding, double_headers, active_html,
)  # fmt: skip
# Gmail holds no mail of zero bytes; white space is as empty as it gets.
BLANK = (b"\r\n\r\n", b" \t\r\n \r\n", b"\n\n\n \n")
