"""The header of a mail inside a mail: read for what it tells, never to stitch the mail around it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline.core.headers import Fields, collect

BLOCK_LENGTH = 65_536
_FIELD_LIMIT = 500

_LINE_END = re.compile(r"\r\n|\n|\r")
_FIELD = re.compile(r"([!-9;-~]{1,100})[ \t]*:(.*)", re.DOTALL)


def fields(raw: bytes) -> Fields:
    """Return the header fields at the beginning of `raw`, within its first 64 KB and 500 fields.

    Blank lines and mbox lines before the first field are passed over; the first line that is no field ends the block.
    """
    return collect(_items(raw[:BLOCK_LENGTH].decode("utf-8", "surrogateescape")))


def _items(block: str) -> Iterator[tuple[str, str]]:
    logical: list[list[str]] = []
    for line in _LINE_END.split(block.lstrip()):
        if line[:1] in {" ", "\t"} and logical and line.strip():
            logical[-1].append(line)
        elif _FIELD.match(line):
            logical.append([line])
        elif logical or not line.startswith(("From ", ">From ")):
            break
        if len(logical) > _FIELD_LIMIT:
            break
    for lines in logical[:_FIELD_LIMIT]:
        if found := _FIELD.match("\n".join(lines)):
            yield found[1], found[2]
