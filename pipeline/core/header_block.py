"""The header block cut to size before anything reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline.core.headers import REFERENCES_FIRST, REFERENCES_LAST

BLOCK_LIMIT = 1_048_576
LINE_LIMIT = 2_000
VALUE_LIMIT = 65_536
_TAIL = 1_000

_SEPARATORS = (b"\n\n", b"\n\r\n", b"\r\r")
_LINE = re.compile(rb"[^\r\n]*+(?:\r\n|\n|\r)?")
_FIELD = re.compile(rb"From |[!-9;-~]*+:|[ \t]")
_ID = re.compile(rb"<[^<>]{1,1000}>")
# Kept (the first of each) even when the block is full, since nothing works without them.
_NEEDED = frozenset(
    b"from to cc subject date message-id in-reply-to references reply-to content-type content-transfer-encoding "
    b"mime-version content-disposition delivered-to x-gm-original-to x-original-to auto-submitted".split()
)


def bounded(raw: bytes) -> tuple[bytes, int, bool]:
    """Return the mail with its header block within 1 MB, 2,000 lines and 64 KB a field.

    With it come where the body begins and whether the block was cut. Of a long References field the first 20 and the
    last 80 ids stay.
    """
    end = _blank_line(raw)
    if 0 <= end < VALUE_LIMIT and raw.count(b"\n", 0, end) + raw.count(b"\r", 0, end) <= LINE_LIMIT:
        return raw, end, False
    fields, body_at, separator = _fields(raw)
    kept, cut = _within(fields)
    if not cut:
        return raw, body_at, False
    block = b"".join(kept) + separator
    return block + raw[body_at:], len(block), True


def _blank_line(raw: bytes) -> int:
    """Return where the first blank line ends within the first 64 KB, -1 when there is none."""
    found = [(at, at + len(mark)) for mark in _SEPARATORS if (at := raw.find(mark, 0, VALUE_LIMIT)) >= 0]
    return min(found)[1] if found else -1


def _fields(raw: bytes) -> tuple[list[bytes], int, bytes]:
    """Return the fields, where the body begins and the blank line between them, all as the feed parser does."""
    fields: list[list[bytes]] = []
    position = 0
    separator = b""
    for line, end in _lines(raw):
        if not _FIELD.match(line):
            separator = line if not line.strip(b"\r\n") else b""
            break
        position = end
        if line[:1] in b" \t" and fields:
            fields[-1].append(line)
        else:
            fields.append([line])
    return [b"".join(lines) for lines in fields], position + len(separator), separator


def _lines(raw: bytes) -> Iterator[tuple[bytes, int]]:
    for found in _LINE.finditer(raw):
        if not found[0]:
            return
        yield found[0], found.end()


def _within(fields: list[bytes]) -> tuple[list[bytes], bool]:
    kept: list[bytes] = []
    needed_seen: set[bytes] = set()
    size = lines = 0
    cut = False
    for field in fields:
        name = field.partition(b":")[0].lower()
        short = _shortened(name, field)
        cut = cut or short is not field
        size += len(short)
        lines += short.count(b"\n") + short.count(b"\r") - short.count(b"\r\n")
        if (size > BLOCK_LIMIT or lines > LINE_LIMIT) and (name not in _NEEDED or name in needed_seen):
            cut = True
            continue
        needed_seen.add(name)
        kept.append(short)
    return kept, cut


def _shortened(name: bytes, field: bytes) -> bytes:
    if len(field) <= VALUE_LIMIT and field.count(b"\n") <= LINE_LIMIT:
        return field
    if name == b"references":
        ids = _ID.findall(field)
        if len(ids) > REFERENCES_FIRST + REFERENCES_LAST:
            ids = ids[:REFERENCES_FIRST] + ids[-REFERENCES_LAST:]
        return b"References: " + b"\r\n ".join(b"".join(found.split()) for found in ids)[:VALUE_LIMIT] + b"\r\n"
    head = field[: VALUE_LIMIT - _TAIL]
    tail = field[VALUE_LIMIT - _TAIL : VALUE_LIMIT].rpartition(b" ")[0]
    flat = re.sub(rb"[\r\n]+[ \t]*", b" ", head + tail)
    return flat.rstrip() + b"\r\n"
