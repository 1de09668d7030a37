"""The process that opens uploaded files: pictures and PDFs, under limits (`pipeline.adapters.confined`)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from PIL import Image
from pypdf import PdfReader

from pipeline.adapters import confined, images
from pipeline.core.uploads import (
    LIMITS,
    PDF,
    Code,
    Picture,
    Position,
    Refused,
    damaged_pdf,
    too_large,
    unreadable_picture,
)

MEMORY = 1_000_000_000
CPU_SECONDS = 12
#: Bytes; no answer is longer.
ANSWER_LIMIT = LIMITS.stored_bytes + 1024 * 1024
#: Between the type of a file and its content, and between what is told of a picture and its bytes.
BREAK = b"\n"
_LOCKED = "this PDF is locked by a password: save it without one, and send that"


@dataclass(frozen=True, slots=True)
class Told:
    """What is said of one file, before the picture's bytes (`size` of them) and the thumbnail's."""

    refused: Refused | None = None
    content_type: str = ""
    width: int = 0
    height: int = 0
    size: int = 0
    taken_at: datetime | None = None
    position: Position | None = None


def main() -> None:
    """Answer each file with a line of JSON, then the bytes of picture and thumbnail if it is one."""
    # Pillow's own guard would raise for what is refused in better words before any pixel is read.
    Image.MAX_IMAGE_PIXELS = None
    confined.serve(_read, memory_bytes=MEMORY, cpu_seconds=CPU_SECONDS)


def _read(asked: bytes) -> Sequence[bytes]:
    kind, _, content = asked.partition(BREAK)
    content_type = kind.decode("ascii")
    try:
        found = _pdf(content) if content_type == PDF else images.picture(content_type, content)
    except MemoryError:
        found = too_large() if content_type == PDF else unreadable_picture()
    except Exception:  # noqa: BLE001 - a library on hostile input may raise anything
        found = damaged_pdf() if content_type == PDF else unreadable_picture()
    if not isinstance(found, Picture):
        return _line(Told(found)), BREAK
    told = Told(None, found.content_type, found.width, found.height, len(found.content), found.taken_at, found.position)
    return _line(told), BREAK, found.content, found.thumbnail


def _pdf(content: bytes) -> Refused | None:
    """Return why a PDF cannot be opened by others; nothing in it is carried out, and nothing drawn."""
    reader = PdfReader(io.BytesIO(content), strict=False)
    if reader.is_encrypted and not reader.decrypt(""):
        return Refused(Code.UNREADABLE, _LOCKED)
    return None if len(reader.pages) else damaged_pdf()


def _line(told: Told) -> bytes:
    return orjson.dumps(told)


if __name__ == "__main__":
    main()
