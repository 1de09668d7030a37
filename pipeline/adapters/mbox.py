"""The mbox format: separators, quoting, dates of From_ lines, and an index that reads a file of any size in pieces."""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import mktime_tz, parsedate_tz
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from pipeline.adapters.blob_codec import MAX_CONTENT_BYTES

ID_BYTES = 20

_PIECE = 1 << 20
_LONGEST_SEPARATOR = 1024
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)
_ZONE = rb"(?: +(?:[+-]\d{4}|[A-Z][A-Za-z]{0,5}))"
_SEPARATOR = re.compile(
    rb"From (?:.*? )??(?P<day>[A-Z][a-z]{2} +\d{1,2} )?(?P<time>\d{1,2}:\d{2}(?::\d{2})?)"
    rb"(?P<zone_before>" + _ZONE + rb"{0,2}) +(?P<year>\d{4})(?P<zone_after>" + _ZONE + rb"?)[ \t]*\r?\n?\Z"
)


@dataclass(frozen=True, slots=True)
class Span:
    """Where one message lies in an mbox: from its From_ line to before the empty line that ends it, in bytes."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class MboxIndex:
    """The messages of one mbox in order, 36 bytes each; a digest is the first 20 bytes of a message's SHA-256."""

    offsets: array[int]
    lengths: array[int]
    digests: bytes

    def __len__(self) -> int:
        return len(self.offsets)


def is_separator(line: bytes) -> bool:
    """Tell whether a line has the shape of a From_ line: a sender, then a time and a year at its end (RFC 4155)."""
    return line.startswith(b"From ") and _SEPARATOR.match(line) is not None


def separator_date(line: bytes) -> datetime | None:
    """Return the date of a From_ line as aware UTC; without a zone it is UTC (RFC 4155), None when it is not a date."""
    found = _SEPARATOR.match(line)
    if found is None or not found["day"]:
        return None
    zone = (found["zone_before"] or found["zone_after"]).split()
    month, day = found["day"].split()
    text = b" ".join([day, month, found["year"], found["time"], *(zone[:1] or [b"+0000"])])
    parsed = parsedate_tz(text.decode("ascii"))
    if parsed is None:
        return None
    try:
        return datetime.fromtimestamp(mktime_tz(parsed), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def unquote(body: bytes) -> bytes:
    """Take one `>` from every line that starts with `>From ` after any number of `>` (mboxrd)."""
    return _QUOTED.sub(rb"\1", body) if b">From " in body else body


def read_message(file: BinaryIO, span: Span) -> tuple[bytes, bytes]:
    """Return the From_ line and the message of a span; shorter than it should be when the file was cut."""
    file.seek(span.offset)
    separator, _, body = file.read(span.length).partition(b"\n")
    return separator, unquote(body)


def spans(file: BinaryIO) -> Iterator[Span]:
    """Yield where the messages lie, reading the file in pieces; what stands before the first From_ line is skipped."""
    start = None
    end = 0
    for offset, gap in _separators(file):
        if start is not None:
            yield Span(start, offset - gap - start)
        start = offset
    end = file.seek(0, 2)
    if start is not None:
        file.seek(max(start, end - 4))
        yield Span(start, end - _empty_line_at_end(file.read()) - start)


def index_mbox(path: Path) -> MboxIndex:
    """Return the index of an mbox, kept for as long as the process lives and the file stays the same."""
    state = path.stat()
    return _index(str(path), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=16)
def _index(path: str, mtime_ns: int, size: int) -> MboxIndex:  # noqa: ARG001 - they tell one version of a file from another
    offsets, lengths, digests = array("Q"), array("Q"), bytearray()
    with Path(path).open("rb") as scanned, Path(path).open("rb") as file:
        for span in spans(scanned):
            _, message = read_message(file, Span(span.offset, min(span.length, MAX_CONTENT_BYTES)))
            offsets.append(span.offset)
            lengths.append(span.length)
            digests += hashlib.sha256(message).digest()[:ID_BYTES]
    return MboxIndex(offsets, lengths, bytes(digests))


def _separators(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield the offset of each From_ line and the length of the line end before it that is not the message's."""
    # Two line ends before the file make its start look like what follows an empty line.
    window = b"\n\n"
    base = -len(window)
    start = 1
    more = True
    while more:
        piece = file.read(_PIECE)
        more = bool(piece)
        window += piece
        # A separator near the end may be cut: the next window holds it whole.
        limit = len(window) - (_LONGEST_SEPARATOR if more else 0)
        found = window.find(b"\nFrom ", start)
        while 0 <= found < limit:
            line_at = found + 1
            if _follows_empty_line(window, found) and is_separator(_line(window, line_at)):
                yield base + line_at, 2 if window[found - 1 : found] == b"\r" else 1
            found = window.find(b"\nFrom ", line_at)
        # The bytes before the next candidate tell whether the line before it is empty.
        searched = max(start, limit)
        keep = max(0, searched - 3)
        window, base, start = window[keep:], base + keep, searched - keep


def _follows_empty_line(window: bytes, newline: int) -> bool:
    return window[newline - 1 : newline] == b"\n" or window[max(0, newline - 2) : newline] == b"\n\r"


def _line(window: bytes, start: int) -> bytes:
    end = window.find(b"\n", start, start + _LONGEST_SEPARATOR)
    return window[start : end if end >= 0 else start + _LONGEST_SEPARATOR]


def _empty_line_at_end(tail: bytes) -> int:
    if tail.endswith(b"\n\r\n"):
        return 2
    return 1 if tail.endswith(b"\n\n") else 0
