"""What a person may upload, told by its content alone, and the words for everything else.

Nothing here opens a file: what must be decoded to be judged goes on to a reader that may die of it
(`ports.UploadReader`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from pipeline.core.picture_sizes import Size, size_of
from pipeline.core.signatures import ALIASES, SAYS_NOTHING
from pipeline.core.sniffing import sniff

PDF, TEXT = "application/pdf", "text/plain"


class Code(StrEnum):
    """Why an upload is refused, for programs."""

    EMPTY = "UPLOAD_EMPTY"
    TOO_LARGE = "UPLOAD_TOO_LARGE"
    TYPE_NOT_ALLOWED = "UPLOAD_TYPE_NOT_ALLOWED"
    TYPE_MISMATCH = "UPLOAD_TYPE_MISMATCH"
    UNREADABLE = "UPLOAD_UNREADABLE"
    TOO_MANY_PIXELS = "UPLOAD_TOO_MANY_PIXELS"
    CHECKSUM_MISMATCH = "UPLOAD_CHECKSUM_MISMATCH"


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that is not taken: the code for programs, and one sentence that says what to do."""

    code: Code
    said: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What one upload may be (reliability, section 5): bytes, pixels of its one frame, pixels along a side.

    Of a moving picture the first frame is kept and no other is decoded, so the pixels of a file are those of one frame.
    """

    file_bytes: int = 10 * 1024 * 1024
    pixels: int = 40_000_000
    side: int = 30_000
    #: A picture that takes more than this when it is saved anew is not kept.
    stored_bytes: int = 20 * 1024 * 1024
    #: The longer side of the small picture.
    thumbnail: int = 320


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file that is taken, and under which name it is given out: the sender's own name decides nothing."""

    content_type: str
    file_name: str
    is_picture: bool = False


#: What may come. A picture is stored as JPEG or PNG, whatever it came as.
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.content_type: kind
        for kind in (
            Kind("image/jpeg", "photo.jpg", is_picture=True),
            Kind("image/png", "picture.png", is_picture=True),
            Kind("image/webp", "picture.webp", is_picture=True),
            Kind("image/gif", "picture.gif", is_picture=True),
            Kind(PDF, "document.pdf"),
            Kind(TEXT, "text.txt"),
        )
    }
)


@dataclass(frozen=True, slots=True)
class Position:
    """A place on earth by WGS 84, in degrees: north and east are positive."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture made anew from its pixels: nothing else of the file is in it. `thumbnail` is a small JPEG.

    When and where it was taken stands beside it; `taken_at` is None where the camera told no time zone either.
    """

    content_type: str
    width: int
    height: int
    content: bytes = field(repr=False)
    thumbnail: bytes = field(repr=False)
    taken_at: datetime | None = None
    position: Position | None = None


TAKEN = "send a JPEG, PNG, WebP or GIF picture, a PDF, or plain text"
_HEIC = (
    "HEIC pictures are not taken: send it as JPEG; iPhones take JPEG with Settings > Camera > Formats > Most Compatible"
)
_DAMAGED_PDF = "this PDF is cut off or damaged: export it again, and send that"
_MIXED_PDF = "something else hangs on this PDF: export it again, and send that"
_NO_PICTURE = "this picture cannot be read: it is cut off or damaged; take or save it again, and send that"
_NO_TEXT = "this is no clean text: save it as plain text in UTF-8, and send that"

_PDF_HEAD = re.compile(rb"%PDF-[12]\.\d")
_PDF_END = b"%%EOF"
_BLANK = b" \t\r\n\f\0"
_ZIP_ENTRY, _ZIP_END, _ZIP_END_SIZE, _ZIP_COMMENT = b"PK\x01\x02", b"PK\x05\x06", 22, 65_535
#: What text has no use for; a form feed stands between pages.
_CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f]")


def examine(content: bytes, declared: str, limits: Limits = LIMITS) -> Kind | Refused:
    """Return the kind of a file by its content, or why it is not taken. Never raises.

    `declared` is the type that the sender gave it, "" for none: it may only confirm what the content is. A picture's
    size is read from its header here, before anybody decodes it.
    """
    if not content:
        return Refused(Code.EMPTY, "the file is empty: choose it again, and send that")
    if len(content) > limits.file_bytes:
        return too_large(limits)
    found = sniff(content)
    kind = KINDS.get(found or "")
    if kind is None or (found == TEXT and _begins_as_markup(content)):
        return Refused(Code.TYPE_NOT_ALLOWED, _HEIC if found == "image/heic" else f"{_called(found)}: {TAKEN}")
    named = _named(declared)
    if named not in SAYS_NOTHING and named not in {"", kind.content_type}:
        said = f"the request calls it {named[:80]}, but it is {kind.content_type}: send it as what it is"
        return Refused(Code.TYPE_MISMATCH, said)
    return _problem(kind, content, limits) or kind


def too_large(limits: Limits = LIMITS) -> Refused:
    """Return the refusal of a file that is too large."""
    most = limits.file_bytes // (1024 * 1024)
    return Refused(Code.TOO_LARGE, f"the file is larger than {most} MB: send a smaller one")


def unreadable_picture() -> Refused:
    """Return the refusal of a picture that cannot be decoded."""
    return Refused(Code.UNREADABLE, _NO_PICTURE)


def no_picture() -> Refused:
    """Return the refusal of another file where a photo is asked for."""
    return Refused(Code.TYPE_NOT_ALLOWED, "a photo is a picture: send a JPEG, PNG, WebP or GIF")


def damaged_pdf() -> Refused:
    """Return the refusal of a PDF without a structure that can be read."""
    return Refused(Code.UNREADABLE, _DAMAGED_PDF)


def pixel_problem(size: Size | None, limits: Limits = LIMITS) -> Refused | None:
    """Return why a picture of a size (None: it says none) is not decoded; None when it may be."""
    if size is None or not size.width or not size.height:
        return unreadable_picture()
    if size.width * size.height > limits.pixels or max(size.width, size.height) > limits.side:
        most = f"{limits.pixels // 1_000_000} megapixels or {limits.side} pixels along a side"
        said = f"the picture is {size.width} x {size.height}, more than {most}: send a smaller one"
        return Refused(Code.TOO_MANY_PIXELS, said)
    return None


def _called(found: str | None) -> str:
    return f"files of the type {found} are not taken" if found not in {None, TEXT} else "such files are not taken"


def _begins_as_markup(content: bytes) -> bool:
    return content.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")


def _named(declared: str) -> str:
    plain = declared.partition(";")[0].strip().lower()
    return ALIASES.get(plain, plain)


def _problem(kind: Kind, content: bytes, limits: Limits) -> Refused | None:
    if kind.is_picture:
        return pixel_problem(size_of(kind.content_type, content), limits)
    return _pdf_problem(content) if kind.content_type == PDF else _text_problem(content)


def _pdf_problem(content: bytes) -> Refused | None:
    """A PDF begins and ends as one, and is no archive at the same time: it is kept as it came."""
    if _PDF_HEAD.match(content) is None:
        said = _MIXED_PDF if not content.startswith(b"%PDF-") else _DAMAGED_PDF
        return Refused(Code.UNREADABLE, said)
    end = content.rfind(_PDF_END)
    if end < 0:
        return damaged_pdf()
    if content[end + len(_PDF_END) :].strip(_BLANK) or _is_archive(content):
        return Refused(Code.UNREADABLE, _MIXED_PDF)
    return None


def _is_archive(content: bytes) -> bool:
    """Say whether programs that open ZIP archives find one: from the end they look for the end of its directory."""
    begin = max(0, len(content) - _ZIP_END_SIZE - _ZIP_COMMENT)
    at = content.rfind(_ZIP_END, begin)
    while at >= 0:
        size, offset = (int.from_bytes(content[at + part : at + part + 4], "little") for part in (12, 16))
        if any(content.startswith(_ZIP_ENTRY, place) for place in (at - size, offset) if place >= 0):
            return True
        at = content.rfind(_ZIP_END, begin, at)
    return False


def _text_problem(content: bytes) -> Refused | None:
    """Text is UTF-8 to its end, without control characters."""
    if _CONTROLS.search(content):
        return Refused(Code.UNREADABLE, _NO_TEXT)
    try:
        content.decode()
    except UnicodeDecodeError:
        return Refused(Code.UNREADABLE, _NO_TEXT)
    return None
