"""Large mail without an object tree of it: what is long stands aside as views of the raw bytes.

The standard parser needs about ten times the size of what it reads (measured: 630 MB for an attachment of 50 MB). So
it is given a skeleton: the same mail in which every long run of a body is replaced by a mark. No mark stands for a
boundary line or a header, hence the tree is the same; its leaves get their runs back as pieces, each decoded once.
"""

from __future__ import annotations

import binascii
import hashlib
import quopri
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import chain, islice, pairwise

from pipeline.core import structure
from pipeline.core.flags import Flag
from pipeline.core.structure import Part
from pipeline.core.words import decode_base64

#: Larger mail is read this way: from here on it needs less CPU too (measured at 20 KB: 0.3 ms instead of 0.6, at 1 MB:
#: 4 ms instead of 15), and never much more memory than the mail itself.
LIMIT = 32_768
#: What decodes to more characters than are kept of a text, in any charset.
BODY_LIMIT = 4 * 1_048_576 + 4_096
_RUN = 8_192
_HEAD = 524_288  # where the blank line after a part's header is looked for
_MAIL_HEAD = 8 * 1_048_576
_CHUNK = 1_048_576
#: Up to so many lines that begin with "--" each is taken for a boundary line; of more, those that were declared.
_DASHED_LIMIT = 2_000
_DASHED_TESTED = 1_000_000
_SECTIONS = 6_000  # more than are ever read

_BLANK = re.compile(rb"(?>\r\n|\n|\r)(?:\r\n|\n|\r)")

Pieces = Sequence[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class _Skeleton:
    """The mail with a mark in place of each long run, and the runs by number."""

    raw: bytes
    runs: Sequence[memoryview]
    mark: str


def read(raw: bytes) -> tuple[Part, frozenset[Flag]]:
    """Return the same tree and flags as `structure.read`; payloads with long runs are in `Part.pieces`."""
    skeleton = _skeleton(raw)
    root, flags = structure.read(skeleton.raw, raw if skeleton.runs else None)
    if not skeleton.runs:
        return root, flags
    for part, _ in structure.leaves(root):
        part.pieces = _pieces(part, skeleton)
    parts = chain(structure.containers(root), (part for part, _ in structure.leaves(root)))
    if any(skeleton.mark in value for part in parts for _, value in part.items_seen):
        flags |= {Flag.HEADER_TRUNCATED}
    return root, flags


def payload(pieces: Pieces, encoding: str) -> tuple[bytes, bool]:
    """Return the decoded payload and whether its encoding was flawless; it is the only copy that is made of it."""
    if encoding == "base64":
        return _base64(pieces)
    joined = b"".join(pieces)
    return quopri.decodestring(joined) if encoding == "quoted-printable" else joined, True


def body(content: bytes) -> tuple[bytes, bool]:
    """Return as much of a decoded body as is ever kept of a text, whole lines if it can be, and whether it was cut."""
    if len(content) <= BODY_LIMIT:
        return content, False
    end = 0 if b"\x00" in content[:_RUN] else content.rfind(b"\n", BODY_LIMIT - _RUN, BODY_LIMIT) + 1
    return content[: end or BODY_LIMIT], True


def _skeleton(raw: bytes) -> _Skeleton:
    view = memoryview(raw)
    mark = hashlib.sha256(raw).hexdigest()  # no mail can hold its own hash
    kept: list[bytes | memoryview] = []
    runs: list[memoryview] = []
    for start, end in _sections(raw):
        first, last = _run(raw, start, end)
        if last - first < _RUN:
            kept.append(view[start:end])
            continue
        kept += [view[start:first], f"{mark}.{len(runs)};".encode(), view[last:end]]
        runs.append(view[first:last])
    return _Skeleton(b"".join(kept), runs, mark)


def _run(raw: bytes, start: int, end: int) -> tuple[int, int]:
    """Return the part of a section that may stand aside: behind its header, before its last line end."""
    limit = min(end, start + (_HEAD if start else _MAIL_HEAD))
    found = _BLANK.search(raw, start, limit)
    if found:
        first = found.end()
    elif limit == end:
        return end, end
    else:
        first = max(raw.rfind(b"\n", start, limit), raw.rfind(b"\r", start, limit)) + 1 or limit
    # The parser may count the last line end to the boundary behind it.
    tail = raw[max(end - 2, start) : end]
    return first, end - (2 if tail == b"\r\n" else tail.endswith((b"\n", b"\r")))


def _sections(raw: bytes) -> Iterator[tuple[int, int]]:
    """Yield what stands between lines that may be boundary lines, each with the line before it."""
    starts = list(islice(_dashed(raw), _DASHED_LIMIT + 1))
    if len(starts) > _DASHED_LIMIT:
        starts = list(islice(_declared(raw), _SECTIONS + 1))
        if len(starts) > _SECTIONS:
            yield from pairwise(dict.fromkeys([0, *starts]))
            return
    yield from pairwise(dict.fromkeys([0, *starts, len(raw)]))


def _dashed(raw: bytes) -> Iterator[int]:
    """Yield where lines begin with two dashes, in order; a line ends with CR, LF or both."""
    if raw.startswith(b"--"):
        yield 0
    yield from merge(_after(raw, b"\n--"), _after(raw, b"\r--"))


def _after(raw: bytes, mark: bytes) -> Iterator[int]:
    at = raw.find(mark)
    while at >= 0:
        yield at + 1
        at = raw.find(mark, at + 1)


def _declared(raw: bytes) -> Iterator[int]:
    """Yield where boundary lines begin; when a boundary is encoded, any dashed line may be one."""
    names, is_encoded = structure.declared(raw)
    for at in islice(_dashed(raw), _DASHED_TESTED):
        line = raw[at + 2 : at + 256].splitlines()[:1]
        name = line[0].rstrip(b" \t") if line else b""
        if is_encoded or name in names or name.removesuffix(b"--") in names:
            yield at


def _pieces(part: Part, skeleton: _Skeleton) -> Pieces | None:
    text = part.leaf_text()
    if skeleton.mark not in text:
        return None
    split = re.split(rf"{skeleton.mark}\.(\d+);", text)
    return [
        skeleton.runs[int(piece)] if index % 2 else piece.encode("ascii", "surrogateescape")
        for index, piece in enumerate(split)
    ]


def _base64(pieces: Pieces) -> tuple[bytes, bool]:
    """Decode chunk by chunk as long as the text is flawless; damaged text is read whole, by the rules for such text."""
    out: list[bytes] = []
    rest = b""
    try:
        for chunk in _chunks(pieces):
            packed = rest + bytes(chunk).translate(None, b" \t\r\n")
            usable = max(len(packed) - 1, 0) // 4 * 4  # the last group may be padded
            out.append(_unpadded(packed[:usable]))
            rest = packed[usable:]
        out.append(binascii.a2b_base64(rest, strict_mode=True))
    except binascii.Error:
        out.clear()
        return decode_base64(b"".join(pieces))
    return b"".join(out), True


def _unpadded(packed: bytes) -> bytes:
    if b"=" in packed:
        raise binascii.Error("padding before the end")
    return binascii.a2b_base64(packed, strict_mode=True)


def _chunks(pieces: Pieces) -> Iterator[memoryview]:
    for piece in pieces:
        view = memoryview(piece)
        for start in range(0, len(view), _CHUNK):
            yield view[start : start + _CHUNK]
