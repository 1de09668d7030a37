"""Child processes of a benchmark: they say lines on stdout, and do the next thing when they get SIGUSR1."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from deploy.local.processes import Launch, Spawner, end, tail
from pipeline.adapters.clock import SystemClock

CHECKOUT = Path(__file__).resolve().parents[2]
NEXT = signal.SIGUSR1
_PATIENCE = 300.0
#: Begins each line that is an answer.
MARK = "figures "
_POLL = timedelta(milliseconds=2)
_STOP = ((signal.SIGTERM, timedelta(seconds=40)),)
_CLOCK = SystemClock()


class Child:
    """One process of this package; what it says are lines of `MARK` and a JSON value, among the lines of its log."""

    def __init__(self, spawner: Spawner, module: str, arguments: Sequence[str], env: Mapping[str, str], log: Path):
        self._log, self._said = log, 0
        argv = (sys.executable, "-m", f"tests.bench.{module}", *arguments)
        self._process = spawner.spawn(Launch(argv, env, log, death_signal=signal.SIGKILL, cwd=CHECKOUT))

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def go_on(self) -> None:
        """Ask for the next thing."""
        self._process.send_signal(NEXT)

    def hear(self) -> Any:
        """Return what it says next. Raises AssertionError with its last words when it ended or says nothing."""
        deadline = _CLOCK.monotonic() + _PATIENCE
        while True:
            lines = [line for line in self._log.read_text().splitlines(keepends=True) if line.startswith(MARK)]
            if len(lines) > self._said and lines[self._said].endswith("\n"):
                self._said += 1
                return json.loads(lines[self._said - 1].removeprefix(MARK))
            if self._process.poll() is not None or _CLOCK.monotonic() > deadline:
                raise AssertionError(f"a process ended or fell silent:\n{tail(self._log)}")
            _CLOCK.wait(_POLL)

    def ask(self) -> Any:
        """Ask for the next thing, and return what it says to that."""
        self.go_on()
        return self.hear()

    def stop(self) -> None:
        """Send SIGTERM and wait."""
        end(self._process, _STOP)


@contextmanager
def children(
    module: str, arguments: Sequence[Sequence[str]], env: Mapping[str, str], logs: Path
) -> Iterator[list[Child]]:
    """Run one child for each argument list for the length of the block; each has said its first line."""
    logs.mkdir(parents=True, exist_ok=True)
    spawner = Spawner()
    found: list[Child] = []
    try:
        for number, one in enumerate(arguments):
            found.append(Child(spawner, module, one, env, logs / f"{module}-{number}.log"))
        for child in found:
            child.hear()
        yield found
    finally:
        for child in found:
            child.stop()
        spawner.close()
