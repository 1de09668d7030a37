"""The inside of a process that reads what strangers sent, one content after the other, under limits.

Whatever a hostile file does to a library it does there: endless loops end by the limit of CPU time, memory by that of
the address space, and the owner (`pipeline.adapters.children`) only sees a process that died.
"""

from __future__ import annotations

import logging
import os
import resource
import struct
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import BinaryIO

#: Said when it has its limits and waits for contents.
READY = b"ready\n"
#: Before each content and each answer: its length.
LENGTH = struct.Struct(">Q")


def serve(answer: Callable[[bytes], Iterable[bytes]], *, memory_bytes: int, cpu_seconds: int) -> None:
    """Answer each content from the standard input, until that ends; an answer's pieces are written one by one.

    `cpu_seconds` are those of one content. No file can be written.
    """
    logging.disable(logging.CRITICAL)
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not stand between answers
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    target.write(READY)
    target.flush()
    while (head := sys.stdin.buffer.read(LENGTH.size)) and len(head) == LENGTH.size:
        (length,) = LENGTH.unpack(head)
        _allow_time(cpu_seconds)
        _write(target, list(answer(sys.stdin.buffer.read(length))))


def _write(out: BinaryIO, pieces: list[bytes]) -> None:
    out.write(LENGTH.pack(sum(map(len, pieces))))
    out.writelines(pieces)
    out.flush()


def _limit(what: int, most: int) -> None:
    # Where the system already allows less, less holds.
    with suppress(ValueError, OSError):
        resource.setrlimit(what, (most, most))


def _allow_time(seconds: int) -> None:
    """Give the next content its CPU time: the limit counts from the process's beginning."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + seconds + 1
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))
