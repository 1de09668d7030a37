"""The plain parts that hostile mails are made of."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from random import Random

_WORDS = (
    b"the charger of bay four smells burnt and stops after ten minutes please send somebody since the yard is waiting "
    b"nobody has touched it since monday and its display shows E12"
).split()


@dataclass(frozen=True)
class Sample:
    """One hostile mail: the row of the table it belongs to, what it does, and its bytes."""

    row: str
    what: str
    raw: bytes


class Pen:
    """Writes mails that differ from each other, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self._numbers = count(1)

    def head(self, *fields: bytes, subject: bytes | None = b"About the charger") -> bytes:
        """Return the header of a mail with a Message-ID of its own, without its blank line."""
        number = next(self._numbers)
        lines = [
            b"From: Customer %d <customer%d@hostile.example>" % (number, number),
            b"To: support@acme.example",
            b"Message-ID: <%d.%08x@hostile.example>" % (number, self.rng.getrandbits(32)),
            b"Date: Mon, 05 Jan 2026 09:%02d:%02d +0000" % (number // 60 % 60, number % 60),
        ]
        if subject is not None:
            lines.append(b"Subject: " + subject)
        return b"".join(line + b"\r\n" for line in (*lines, *fields))

    def letter(self, *fields: bytes, body: bytes | None = None, subject: bytes | None = b"About the charger") -> bytes:
        """Return a whole mail."""
        return self.head(*fields, subject=subject) + b"\r\n" + (self.text() if body is None else body)

    def mixed(self, *parts: bytes, kind: bytes = b"mixed", fields: tuple[bytes, ...] = ()) -> bytes:
        """Return a multipart mail; each part comes with its own header."""
        mark = b"b%08x" % self.rng.getrandbits(32)
        head = self.head(*fields, b'Content-Type: multipart/%s; boundary="%s"' % (kind, mark))
        return head + b"".join(b"\r\n--%s\r\n%s" % (mark, part) for part in parts) + b"\r\n--%s--\r\n" % mark

    def text(self, words: int = 30) -> bytes:
        """Return some plain sentences."""
        return b" ".join(self.rng.choices(_WORDS, k=words)) + b".\r\n"

    def some(self, *sizes: int) -> int:
        """Return one of some sizes, a little varied."""
        return self.rng.choice(sizes) + self.rng.randrange(7)


def file(content: bytes, content_type: bytes, *fields: bytes) -> bytes:
    """Return a part that holds a file in base64."""
    head = b"".join(field + b"\r\n" for field in (b"Content-Type: " + content_type, *fields))
    return head + b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(content).replace(b"\n", b"\r\n")


def numbered(row: str, mails: Iterator[tuple[str, bytes]]) -> Iterator[Sample]:
    """Name mails by their row."""
    for what, raw in mails:
        yield Sample(row, what, raw)
