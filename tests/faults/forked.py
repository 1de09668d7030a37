"""Processes of tests that are there at once: forked from one that has imported everything, so each costs milliseconds.

A worker started as a program reads two seconds of modules first; a test that lets a hundred of them die has no time
for that. What runs in the child is the same: the product, as a plan says (`tests.faults.failpoints`).
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from deploy.local import processes
from pipeline.runtime.settings import Settings
from tests.faults import failing_worker
from tests.faults.failpoints import Plan
from tests.worker_process import WorkerProcesses, until

_PRELOADED = ["tests.faults.preloaded"]


class Child:
    """A forked process, with the part of `subprocess.Popen` that tests use."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process
        assert process.pid is not None
        self.pid = process.pid

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait for the end, at most so long; return the exit code."""
        self._process.join(seconds)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


class Forked(WorkerProcesses):
    """The children of one test: `tests.worker_process` with forked workers."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        super().__init__(settings, folder)
        self._settings = settings

    def start(self, module: str = "actors", *arguments: str) -> Any:
        """Start a worker, or a failing one with its plan; any other module is started as a program."""
        if module == "actors":
            return self.follow(Plan())
        if module == failing_worker.__name__:
            return self.follow(Plan.of(arguments[0]))
        return super().start(module, *arguments)

    def kill(self, child: Any) -> None:
        """End a child by SIGKILL, at once, and what it started."""
        child.send_signal(signal.SIGKILL)
        super().kill(child)

    def stacks(self) -> str:
        """Return what every thread of every child that runs is doing, newest call first."""
        found = []
        for number, child in enumerate(self._children):
            if child.poll() is None and not self.is_frozen(child):
                found.append(f"--- stacks of worker-{number}\n{_stacks(child, self.log_of(number))}")
        return "\n".join(found)

    def follow(self, plan: Plan, target: Callable[..., None] = failing_worker.run, *arguments: object) -> Any:
        """Start a process that follows a plan."""
        log = self.log_of(len(self._children))
        log.touch()
        values = (target, self._settings, str(plan), str(log), *arguments)
        process = _context().Process(target=_run, args=values, daemon=True)
        process.start()
        child: Any = Child(process)
        self._children.append(child)
        return child


def _stacks(child: Any, log: Path) -> str:
    """Ask a child for its stacks; return them when its main thread, which comes last, has told from where it began."""
    begin = log.stat().st_size

    def said() -> str:
        return log.read_bytes()[begin:].decode(errors="replace")

    child.send_signal(signal.SIGUSR1)
    until(lambda: said().endswith(" in <module>\n"), "the stacks of a worker", 10)
    return said()


@contextmanager
def forked(settings: Settings, folder: Path) -> Iterator[Forked]:
    """Give the block its processes; their last words are printed at its end, which shows when the test failed."""
    found = Forked(settings, folder)
    try:
        yield found
    finally:
        found.close()
        print(found.words())


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def _run(target: Callable[..., None], settings: Settings, words: str, log: str, *arguments: object) -> None:
    """Become a process of its own, as `deploy.local.processes` starts them, and run."""
    os.setsid()
    processes._in_child(signal.SIGKILL, os.getppid())
    with open(log, "ab", buffering=0) as output:  # noqa: PTH123 - its descriptor is what counts
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    # Whoever wonders where it hangs sends this, and finds the stacks of all threads in the log.
    faulthandler.register(signal.SIGUSR1)
    target(settings, Plan.of(words), *arguments)
