"""The Parser port: ordinary mail is read in this process, suspicious mail in a child that may die of it."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from pydantic import TypeAdapter, ValidationError

from pipeline.adapters import children
from pipeline.adapters.parsing_answer import LENGTH, READY, Answer, Outcome
from pipeline.core import mime
from pipeline.core.mime import Parsed
from pipeline.core.suspicion import is_suspicious
from pipeline.runtime.errors import ParserDied, ReaderBusy, Transient
from pipeline.runtime.settings import harmless_environment

CHILD = "pipeline.adapters.parsing_child"
_ANSWER = TypeAdapter(Answer)
#: No answer is longer; a child that says otherwise is not believed.
_TOLD_LIMIT = 64 * 1024 * 1024
_STARTS_WITHIN = timedelta(seconds=60)
_DIES_WITHIN = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the reading of one mail may cost (reliability, section 4)."""

    memory_bytes: int = 1024 * 1024 * 1024
    cpu: timedelta = timedelta(seconds=20)
    wall: timedelta = timedelta(seconds=30)


class IsolatingParser:
    """The Parser port; safe to call from many threads, of which one at a time has mail read in the child.

    So no two very large mails are in this process's hands at once. The child is started when it is first needed, stays
    warm, and is replaced when it dies or has grown.
    """

    def __init__(self, limits: Limits | None = None, child: str = CHILD) -> None:
        self._limits, self._module = limits or Limits(), child
        self._turn = threading.Lock()
        self._child: _Child | None = None

    def parse(self, raw: bytes, *, isolated: bool = False, patience: timedelta | None = None) -> Parsed:
        """Return what is understood of a mail; `isolated` has it read in the child whatever it looks like.

        Raises `mime.Unreadable` for an empty mail, `ParserDied` when the child died of it, `ReaderBusy` when it has
        others to read for longer than `patience`, and `Transient` when no child can be started.
        """
        if not isolated and not is_suspicious(raw):
            return mime.parse(raw)
        if not self._turn.acquire(timeout=-1 if patience is None else patience.total_seconds()):
            raise ReaderBusy("other mail is read apart for longer than this one can wait")
        try:
            answer = self._ask(raw)
        finally:
            self._turn.release()
        if answer.outcome is Outcome.UNREADABLE:
            raise mime.Unreadable(answer.said)
        if answer.parsed is None:
            raise ParserDied(f"reading it alone failed: {answer.said}")
        return answer.parsed

    def _ask(self, raw: bytes) -> Answer:
        child = self._child or _Child(self._module, self._limits)
        self._child = None
        answer = child.ask(raw)
        if answer.is_last:
            child.close()
        else:
            self._child = child
        return answer

    def close(self) -> None:
        """End the child; waits for a mail that it is reading."""
        with self._turn:
            child, self._child = self._child, None
        if child is not None:
            child.close()


class _Child:
    """One child process that waits for mail."""

    def __init__(self, module: str, limits: Limits) -> None:
        self._limits, self._is_late = limits, False
        argv = (
            sys.executable,
            "-P",
            "-m",
            module,
            str(limits.memory_bytes),
            str(math.ceil(limits.cpu.total_seconds())),
        )
        try:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=harmless_environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise Transient(f"no process to read a mail in could be started: {error}") from error
        # Nobody is left to close it when its owner just goes, as in tests.
        weakref.finalize(self, children.end, self._process)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        with self._no_longer_than(_STARTS_WITHIN):
            is_ready = self._output.read(len(READY)) == READY
        if not is_ready:
            raise Transient(f"the process to read a mail in {self._end()} before it could begin")

    def ask(self, raw: bytes) -> Answer:
        """Return the answer for one mail. Raises `ParserDied` when there is none; the child has ended then."""
        try:
            with self._no_longer_than(self._limits.wall):
                self._input.write(LENGTH.pack(len(raw)))
                self._input.write(raw)
                self._input.flush()
                return self._receive(len(raw))
        except (OSError, EOFError, ValidationError) as error:
            raise ParserDied(f"the process that read it {self._end()}") from error

    def close(self) -> None:
        """End the child, whatever it does."""
        self._process.kill()
        self._end()

    @contextmanager
    def _no_longer_than(self, patience: timedelta) -> Iterator[None]:
        timer = threading.Timer(patience.total_seconds(), self._give_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _give_up(self) -> None:
        self._is_late = True
        self._process.kill()

    def _receive(self, most: int) -> Answer:
        """Return the next answer; contents that are longer than the mail, `most`, are not believed."""
        (length,) = LENGTH.unpack(self._read(LENGTH.size, LENGTH.size))
        answer = _ANSWER.validate_json(self._read(length, _TOLD_LIMIT))
        if answer.parsed is None:
            return answer
        parts = []
        for part in answer.parsed.attachments:
            parts.append(replace(part, payload=self._read(part.size, most)))
            most -= part.size
        return replace(answer, parsed=replace(answer.parsed, attachments=tuple(parts)))

    def _read(self, length: int, most: int) -> bytes:
        found = self._output.read(length) if 0 <= length <= most else b""
        if len(found) != length:
            raise EOFError
        return found

    def _end(self) -> str:
        """See the child to its end and return what became of it; one that lives on without sense is killed."""
        try:
            code = self._process.wait(_DIES_WITHIN.total_seconds())
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        for pipe in (self._input, self._output):
            with suppress(OSError):  # what was not sent is nobody's loss
                pipe.close()
        return self._told(code)

    def _told(self, code: int) -> str:
        if self._is_late:
            return f"took longer than {self._limits.wall.total_seconds():g} s"
        if code == -signal.SIGXCPU:
            return f"used more than {self._limits.cpu.total_seconds():g} s of CPU"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
