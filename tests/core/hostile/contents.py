"""Hostile content: HTML, archives, opaque types, machines, forged references."""

from __future__ import annotations

import base64
import io
import zipfile

from tests.core.hostile.letters import Pen, file
from tests.core.hostile.structures import Mails

_EXE = b"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00" + bytes(200)
_SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def html(pen: Pen) -> Mails:
    """HTML that runs, loads, hides, nests or swells."""
    pages = (
        b"<script>alert(1)</script>",
        b'<img src="http://t.example/p.gif">',
        b'<a href="javascript:alert(1)">x</a>',
        _SVG,
        b'<iframe src="//x.example">',
        b"<style>*{display:none}</style>",
        b"<div>" * 30_000,
        b"<b " + b"a=1 " * 50_000 + b">x",
        b"<table><tr><td>" * 5_000,
        b"<!--" + b"x" * 100_000,
        b"<p>\xff\x00</p>",
        b"<" + b"a" * 200_000,
        b"&#0;&#xD800;&#x110000;",
        b"<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
        b'<noscript><p title="</noscript><img src=x>">',
        b"<form action=http://x.example><input name=p>",
        b"<base href=http://x.example><a href=y>z</a>",
        b"<img src=cid:a><img src=data:image/svg+xml;base64,AAAA>",
        b"<blockquote>" * 4_000 + b"x",
        b"<a href='h'>" * 20_000,
    )
    for page in pages:
        yield f"page {page[:20]!r}", pen.letter(b"Content-Type: text/html; charset=utf-8", body=page)
        yield (
            f"alternative {page[:20]!r}",
            pen.mixed(b"\r\n" + pen.text(), b"Content-Type: text/html\r\n\r\n" + page, kind=b"alternative"),
        )


def disguised_files(pen: Pen) -> Mails:
    """Files that are not what they say."""
    for content, content_type, name in (
        (_EXE, b"application/pdf", b"invoice.pdf"),
        (_EXE, b"image/png", b"photo.png"),
        (_SVG, b"image/png", b"logo.png"),
        (b"<html><script>x</script>", b"image/jpeg", b"a.jpg"),
        (b"#!/bin/sh\nrm -rf /", b"text/plain", b"readme.txt"),
        (b"%PDF-1.7 x", b"application/octet-stream", b"plan"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), b"text/html", b"x.html"),
        (b"\x7fELF" + bytes(200), b"audio/mpeg", b"song.mp3"),
        (b"GIF89a<script>", b"image/gif", b"x.gif"),
        (b"", b"image/png", b"empty.png"),
    ):
        part = file(content, content_type, b'Content-Disposition: inline; filename="%s"' % name, b"Content-ID: <a@x>")
        yield f"{name.decode()}", pen.mixed(b"\r\n" + pen.text(), part, kind=b"related")
        yield f"alone: {name.decode()}", pen.head() + part


def archives(pen: Pen) -> Mails:
    """Archives that swell, nest, or ask for a password."""
    bomb = _zip({"zeros": bytes(50_000_000)})
    nested = bomb
    for _ in range(5):
        nested = _zip({"inner.zip": nested})
    climbing = _zip({"../../etc/cron.d/x": b"* * * * * root x"})
    locked = bytearray(_zip({"secret": b"x"}))
    locked[6] |= 1
    for name, content in (
        (b"bomb.zip", bomb),
        (b"nested.zip", nested),
        (b"climbing.zip", climbing),
        (b"locked.zip", bytes(locked)),
        (b"cut.zip", bomb[: len(bomb) // 2]),
        (b"a.gz", b"\x1f\x8b" + bytes(50)),
        (b"a.rar", b"Rar!\x1a\x07\x00" + bytes(50)),
        (b"a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(50)),
        (b"a.docx", nested),
        (b"macro.docm", climbing),
    ):
        yield (
            name.decode(),
            pen.mixed(
                b"\r\n" + pen.text(),
                file(content, b"application/zip", b'Content-Disposition: attachment; filename="%s"' % name),
            ),
        )


def _zip(files: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, (2026, 1, 5, 9, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return held.getvalue()


def opaque_types(pen: Pen) -> Mails:
    """TNEF, S/MIME, PGP, embedded mail, reports, calendars: whole, cut and nonsense."""
    head = b"From: eve@x.example\r\nSubject: inner\r\nMessage-ID: <inner@x>\r\n"
    inner = head + b"References: <1@hostile.example>\r\n\r\ninner\r\n"
    status = b"Reporting-MTA: dns; x\r\n\r\nFinal-Recipient: rfc822; a@x.example\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    parts = (
        (b"application/ms-tnef", b"\x78\x9f\x3e\x22" + bytes(300)),
        (b"application/pkcs7-mime; smime-type=enveloped-data", bytes(300)),
        (b"application/pkcs7-mime; smime-type=signed-data", bytes(300)),
        (b"application/pgp-encrypted", b"Version: 1\r\n"),
        (b"text/calendar; method=REQUEST", b"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\n" * 500),
        (b"text/calendar", b"\xff\x00"),
        (b"message/delivery-status", status * 200),
        (b"message/delivery-status", b"Action: \x00\xff\r\n" * 99),
    )
    for content_type, content in parts:
        yield content_type.decode().partition(";")[0], pen.mixed(b"\r\n" + pen.text(), file(content, content_type))
    for kind in (
        b"message/rfc822",
        b"message/global",
        b"message/partial; id=x; number=1",
        b"message/external-body; access-type=URL",
        b"text/rfc822-headers",
    ):
        held = pen.rng.choice([inner, inner[:40], b"", b"\x00\xff", inner * 300])
        yield (
            kind.decode().partition(";")[0],
            pen.mixed(b"\r\n" + pen.text(), b"Content-Type: " + kind + b"\r\n\r\n" + held),
        )
    for mark in (b"-----BEGIN PGP MESSAGE-----", b"-----BEGIN PGP SIGNED MESSAGE-----"):
        yield "armour", pen.letter(body=mark + b"\r\n\r\n" + base64.b64encode(pen.rng.randbytes(300)))
    report = b"Content-Type: message/delivery-status\r\n\r\n" + status
    for original in (
        b"Content-Type: message/rfc822\r\n\r\n" + inner,
        b"Content-Type: text/rfc822-headers\r\n\r\n" + inner,
    ):
        yield "report", pen.mixed(b"\r\nIt failed.", report, original, kind=b"report")
    yield "mails in mails", pen.head() + b"Content-Type: message/rfc822\r\n\r\n" * 3_000 + b"text"


def machines(pen: Pen) -> Mails:
    """Loops, automatic answers, lists, bounces."""
    for field in (
        b"Auto-Submitted: auto-replied",
        b"Auto-Submitted: auto-generated; x=y",
        b"Precedence: bulk",
        b"Precedence: junk",
        b"List-Id: <l.x.example>",
        b"List-Id: " + b"x" * 5_000,
        b"Return-Path: <>",
        b"X-Auto-Response-Suppress: All",
        b"X-Loop: support@acme.example",
        b"X-Autoreply: yes",
        b"Feedback-ID: 1:2:3",
        b"X-Failed-Recipients: a@x.example",
        b"Received: by x\r\n" * 60 + b"X: y",
        b"From: MAILER-DAEMON@x.example",
        b"Sender: support@acme.example",
        b"Auto-Submitted: \xff\x00",
    ):
        yield f"{field[:30]!r}", pen.letter(field)


def forged_references(pen: Pen) -> Mails:
    """Strangers who name other people's mails."""
    for number in range(1, 11):
        yield (
            "reference to a stranger's mail",
            pen.letter(
                b"In-Reply-To: <%d@hostile.example>" % number,
                b"References: <%d@hostile.example> <x@x>" % number,
                b"To: support+tkt-aaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbb@acme.example",
            ),
        )
    for _ in range(3):
        yield (
            "a mail that answers itself",
            pen.letter(b"In-Reply-To: <me@x>", b"References: <me@x> <me@x>", b"Message-ID: <me@x>"),
        )


def empty(pen: Pen) -> Mails:
    """Mails with nothing in them, or only a header, or only a body."""
    yield from (("nothing", blank) for blank in (b"", b"\r\n", b" \t\r\n" * 9, b"\n" * 1_000))
    yield "only a header", pen.head()
    yield "only a body", b"\r\n" + pen.text()
    yield "no header at all", pen.text()
    yield "no colon", b"this is no header\r\n\r\n" + pen.text()
    yield "only zero bytes", bytes(1_000)
    yield "random bytes", pen.rng.randbytes(5_000)
    yield "byte order mark", b"\xef\xbb\xbf" + pen.letter()
    yield "bare CR", pen.letter().replace(b"\r\n", b"\r")
    yield "bare LF", pen.letter().replace(b"\r\n", b"\n")
