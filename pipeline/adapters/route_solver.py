"""The RoutePlanner port: each day is solved in a child process of its own, which ends when its time is over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

import orjson

from pipeline.adapters.route_form import problem_as_json, routes_as_json, routes_of_json
from pipeline.core.plans import Problem, Routes
from pipeline.ports import Solved
from pipeline.runtime.settings import harmless_environment

#: To begin, to import the solver, and to answer; beyond this the child is ended.
_GRACE = timedelta(seconds=4)

# -P: a file in the folder where the server runs is no module.
COMMAND = (sys.executable, "-P", "-m", "pipeline.adapters.route_child")


class ChildPlanner:
    """The RoutePlanner port; safe to call from many threads, each with a child of its own.

    `unhurried` lets it use all of its time even where little is left to find: for measurements.
    """

    def __init__(self, command: Sequence[str] = COMMAND, grace: timedelta = _GRACE, *, unhurried: bool = False) -> None:
        self._command, self._grace, self._unhurried = command, grace, unhurried

    def solve(self, problem: Problem, start: Routes, limit: timedelta) -> Solved:
        """Return the best plan that was found within a limit, and what went wrong. Never raises for a problem."""
        seconds = limit.total_seconds()
        asked = {
            "problem": problem_as_json(problem),
            "start": routes_as_json(start),
            "seconds": seconds,
            "unhurried": self._unhurried,
        }
        try:
            # In a session of its own: Ctrl-C goes to its owner, which ends it.
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=harmless_environment(),
                start_new_session=True,
            )
        except OSError as error:
            return Solved(None, f"the solver could not be started: {error}")
        with process:
            try:
                answer, is_ended = _ask(process, orjson.dumps(asked), seconds + self._grace.total_seconds())
            finally:
                if process.poll() != 0:
                    _end_group(process)
        return _solved(answer, process.returncode, is_ended=is_ended)


def _ask(process: subprocess.Popen[bytes], asked: bytes, seconds: float) -> tuple[bytes, bool]:
    """Return all that a child said, and whether it had to be ended."""
    try:
        return process.communicate(asked, timeout=seconds)[0], False
    except subprocess.TimeoutExpired:
        _end_group(process)
        return process.communicate()[0], True


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a child and what it began; harmless for one that has ended."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _solved(answer: bytes, status: int, *, is_ended: bool) -> Solved:
    routes: Routes | None = None
    notes = []
    for line in answer.splitlines():
        with suppress(ValueError, TypeError, KeyError):  # the last line of one that was killed may be a half
            said = orjson.loads(line)
            if "note" in said:
                notes.append(str(said["note"]))
            else:
                routes = routes_of_json(said["routes"])
    if is_ended:
        notes.append("the solver did not end in time and was stopped")
    elif status != 0:
        notes.append(f"the solver died (status {status})")
    return Solved(routes, "; ".join(notes) or None)
