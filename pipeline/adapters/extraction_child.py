"""The process that reads PDF files: one after the other from its standard input, under limits, until that ends.

Whatever a hostile file does to the library it does here: endless loops end by the limit of CPU time, memory by that
of the address space, and the worker only sees a process that died.
"""

from __future__ import annotations

import io
import logging
import os
import resource
import struct
import sys
from contextlib import suppress
from itertools import islice
from typing import BinaryIO

from pypdf import PdfReader

MEMORY = 1_000_000_000
CPU_SECONDS = 10
PAGES = 200
#: Characters; the rest of a longer document is not read.
TEXT_LIMIT = 200_000
#: Said when it has its limits and waits for documents.
READY = b"ready\n"
#: Before each content and each answer: its length.
LENGTH = struct.Struct(">Q")
DONE, FAILED = b"+", b"-"
#: Bytes; no answer is longer.
ANSWER_LIMIT = 1 + 4 * TEXT_LIMIT


def main() -> None:
    """Answer each content with a byte that says whether it was read, and its text in UTF-8."""
    logging.disable(logging.CRITICAL)
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not stand between answers
    _limit(resource.RLIMIT_AS, MEMORY)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    target.write(READY)
    target.flush()
    while (head := sys.stdin.buffer.read(LENGTH.size)) and len(head) == LENGTH.size:
        (length,) = LENGTH.unpack(head)
        _allow_time()
        _answer(target, _read(sys.stdin.buffer.read(length)))


def _answer(out: BinaryIO, answer: bytes) -> None:
    out.write(LENGTH.pack(len(answer)) + answer)
    out.flush()


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


def _limit(what: int, most: int) -> None:
    # Where the system already allows less, less holds.
    with suppress(ValueError, OSError):
        resource.setrlimit(what, (most, most))


def _allow_time() -> None:
    """Give the next document its CPU time: the limit counts from the process's beginning."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + CPU_SECONDS + 1
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    main()
