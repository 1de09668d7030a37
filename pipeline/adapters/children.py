"""Child processes that read what strangers sent: how they are asked, watched and ended."""

from __future__ import annotations

import subprocess
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from pipeline.adapters.confined import LENGTH, READY
from pipeline.runtime.errors import ReaderBusy, Transient
from pipeline.runtime.settings import harmless_environment

_STARTS_WITHIN = timedelta(seconds=60)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a child, whatever it does, and let go of its pipes; harmless for one that has ended."""
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # what was not sent is nobody's loss
                pipe.close()
    process.wait()


@dataclass(frozen=True, slots=True)
class Program:
    """A program that serves as `pipeline.adapters.confined` does, and what is expected of it."""

    command: Sequence[str]
    #: What it reads, for people.
    reads: str
    #: Its own limit is CPU time; one that waits for ever is ended by the clock.
    patience: timedelta
    #: Bytes; a longer answer is not believed.
    longest_answer: int
    #: After so many questions a child makes room for a new one: what libraries leave in memory does not add up.
    most: int


class _Child:
    """One living process. Raises `Transient` when it cannot begin."""

    def __init__(self, program: Program) -> None:
        self.asked, self._program = 0, program
        try:
            # In a session of its own: a signal that stops its owner must not look like a file that kills its reader.
            self._process = subprocess.Popen(
                program.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=harmless_environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise Transient(f"no process to read {program.reads} in could be started: {error}") from error
        self.end = weakref.finalize(self, end, self._process)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        with self._no_longer_than(_STARTS_WITHIN):
            is_ready = self._output.read(len(READY)) == READY
        if not is_ready:
            self.end()
            raise Transient(f"the process to read {program.reads} in ended before it could begin")

    def read(self, pieces: Sequence[bytes]) -> bytes | None:
        """Return its answer; None when it died, had to be ended, or said what cannot be an answer."""
        self.asked += 1
        with self._no_longer_than(self._program.patience), suppress(OSError):
            self._input.write(LENGTH.pack(sum(map(len, pieces))))
            self._input.writelines(pieces)
            self._input.flush()
            head = self._output.read(LENGTH.size)
            length = LENGTH.unpack(head)[0] if len(head) == LENGTH.size else 0
            answer = self._output.read(length) if length <= self._program.longest_answer else b""
            return answer if answer and len(answer) == length else None
        return None

    @contextmanager
    def _no_longer_than(self, patience: timedelta) -> Iterator[None]:
        watch = threading.Timer(patience.total_seconds(), self._process.kill)
        watch.daemon = True
        watch.start()
        try:
            yield
        finally:
            watch.cancel()


class Readers:
    """Keeps one child of a program warm; safe to call from many threads, of which one at a time is served."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._guard = threading.Lock()
        self._child: _Child | None = None

    def ask(self, *pieces: bytes, turn: timedelta | None = None) -> bytes | None:
        """Return the answer to a content, given in pieces; None when the process that read it died of it.

        A death is only believed to be the content's doing of a process that was new: one that read others before may
        have been killed while it waited, or have no memory left for their sake. Raises `Transient` when no process
        can be started, and `ReaderBusy` when its `turn` does not come in time.
        """
        if not self._guard.acquire(timeout=-1 if turn is None else turn.total_seconds()):
            raise ReaderBusy(f"other {self._program.reads} are read for longer than this one can wait")
        try:
            if self._child is not None and self._child.asked >= self._program.most:
                self._let_go()
            is_new = self._child is None
            answer = self._answer(pieces)
            return self._answer(pieces) if answer is None and not is_new else answer
        finally:
            self._guard.release()

    def close(self) -> None:
        """End the child; the next content starts another one."""
        with self._guard:
            self._let_go()

    def _answer(self, pieces: Sequence[bytes]) -> bytes | None:
        self._child = self._child or _Child(self._program)
        answer = self._child.read(pieces)
        if answer is None:
            self._let_go()
        return answer

    def _let_go(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None
