"""The process that reads PDF files: one after the other, under limits (`pipeline.adapters.confined`)."""

from __future__ import annotations

import io
from itertools import islice

from pypdf import PdfReader

from pipeline.adapters import confined

MEMORY = 1_000_000_000
CPU_SECONDS = 10
PAGES = 200
#: Characters; the rest of a longer document is not read.
TEXT_LIMIT = 200_000
DONE, FAILED = b"+", b"-"
#: Bytes; no answer is longer.
ANSWER_LIMIT = 1 + 4 * TEXT_LIMIT


def main() -> None:
    """Answer each content with a byte that says whether it was read, and its text in UTF-8."""
    confined.serve(lambda content: (_read(content),), memory_bytes=MEMORY, cpu_seconds=CPU_SECONDS)


def _read(content: bytes) -> bytes:
    """Return the answer about one document; a part that cannot be read is left out, as in any viewer."""
    try:
        reader = PdfReader(io.BytesIO(content), strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            return FAILED + b"it is encrypted"
        return DONE + _text(reader).encode("utf-8", "replace")
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a library on hostile input may raise anything
        return FAILED + type(error).__name__.encode()


def _text(reader: PdfReader) -> str:
    pieces: list[str] = []
    length, failures = 0, 0
    for page in islice(reader.pages, PAGES):
        try:
            pieces.append(page.extract_text())
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - one bad page hides no other
            failures += 1
            continue
        length += len(pieces[-1])
        if length > TEXT_LIMIT:
            break
    if failures and not pieces:
        raise ValueError("no page could be read")
    return "\n".join(pieces)[:TEXT_LIMIT]


if __name__ == "__main__":
    main()
