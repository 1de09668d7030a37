"""The process that reads suspicious mail: `python -m pipeline.adapters.parsing_child MEMORY_BYTES CPU_SECONDS`.

On its input come mails, each behind its length; on its output goes one answer for each. It has no secrets, writes no
file, and ends with its input. What it needs more than its limits for kills it, and nobody else.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pipeline.adapters import parsing_answer
from pipeline.adapters.parsing_answer import LENGTH, READY, Answer, Outcome
from pipeline.core import mime

#: A child whose address space stays larger than this makes room for a fresh one.
_GROWN_BYTES = 400_000_000
_MEMORY = Path("/proc/self/statm")


def main(arguments: Sequence[str]) -> None:
    """Read and answer until the input ends."""
    memory, cpu = map(int, arguments)
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not stand between answers
    _limit(resource.RLIMIT_AS, memory)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    target.write(READY)
    target.flush()
    while (raw := _next(source)) is not None:
        _limit(resource.RLIMIT_CPU, int(time.process_time()) + 1 + cpu)
        answer = _answer(raw)
        parsing_answer.write(target, answer)
        if answer.is_last:
            return


def _next(source: BinaryIO) -> bytes | None:
    length = source.read(LENGTH.size)
    return source.read(*LENGTH.unpack(length)) if len(length) == LENGTH.size else None


def _answer(raw: bytes) -> Answer:
    try:
        parsed = mime.parse(raw)
    except mime.Unreadable as error:
        return Answer(Outcome.UNREADABLE, str(error))
    except MemoryError:
        return Answer(Outcome.FAILED, "it ran out of memory", is_last=True)
    except Exception as error:  # noqa: BLE001 - whatever a mail raises is that mail's outcome
        return Answer(Outcome.FAILED, f"{type(error).__name__}: {error}"[:1_000], is_last=True)
    return Answer(Outcome.PARSED, is_last=_has_grown(), parsed=parsed)


def _has_grown() -> bool:
    # `ru_maxrss` would begin with what the parent had. Where there is no such file, a child may grow to its limit.
    try:
        pages = _MEMORY.read_text(encoding="ascii").split()[0]
    except OSError:
        return False
    return int(pages) * resource.getpagesize() > _GROWN_BYTES


def _limit(what: int, most: int) -> None:
    """Set a soft limit, as far as the hard one allows; not every system knows every limit."""
    _, hard = resource.getrlimit(what)
    with suppress(OSError, ValueError):
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    main(sys.argv[1:])
