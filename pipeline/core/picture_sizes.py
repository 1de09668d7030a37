"""How large a picture says it is, read from its header: known before anybody makes room for its pixels."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

#: Segments before the size; a camera writes a few dozen at most.
_MOST_SEGMENTS = 2_000
#: JPEG markers that bring the size (ITU-T T.81, B.2.2): start of frame, without tables and arithmetic conditioning.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Markers without a segment behind them.
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_SCAN, _END = 0xDA, 0xD9
_MARKER = re.compile(rb"\xff+([^\xff])", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Size:
    """Pixels."""

    width: int
    height: int


def size_of(content_type: str, content: bytes) -> Size | None:
    """Return the size that a JPEG, PNG, GIF or WebP picture names; None where there is none."""
    try:
        return _READERS[content_type](content)
    except struct.error:
        return None


def _png(content: bytes) -> Size | None:
    return Size(*struct.unpack_from(">II", content, 16)) if content[12:16] == b"IHDR" else None


def _gif(content: bytes) -> Size:
    return Size(*struct.unpack_from("<HH", content, 6))


def _webp(content: bytes) -> Size | None:
    """RFC 9649: an extended file names its canvas, a simple one its only frame."""
    chunk = content[12:16]
    if chunk == b"VP8X" and len(content) >= 30:
        width, height = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (24, 27))
        return Size(width, height)
    if chunk == b"VP8L" and content[20:21] == b"\x2f":
        (bits,) = struct.unpack_from("<I", content, 21)
        return Size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if chunk == b"VP8 " and content[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", content, 26)
        return Size(width & 0x3FFF, height & 0x3FFF)
    return None


def _jpeg(content: bytes) -> Size | None:
    at = 2
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.match(content, at)
        if found is None or found[1][0] in {_SCAN, _END}:
            return None
        marker, at = found[1][0], found.end()
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", content, at + 3)
            return Size(width, height)
        if marker not in _ALONE:
            (length,) = struct.unpack_from(">H", content, at)
            at += max(length, 2)
    return None


_READERS: Mapping[str, Callable[[bytes], Size | None]] = MappingProxyType(
    {"image/png": _png, "image/gif": _gif, "image/webp": _webp, "image/jpeg": _jpeg}
)
