"""The process that solves one day; `pipeline.adapters.route_solver` begins, asks and ends it.

The problem comes on its input, routes go on its output, a line for each plan that is better than those before; its
owner may end it at any time and has the last line. What a solver in C++ does when it goes wrong it does here.
"""

from __future__ import annotations

import importlib
import math
import os
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, BinaryIO

import orjson

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.route_form import problem_of, routes_as_json, routes_of_json
from pipeline.core.greedy import fill
from pipeline.core.plan_routes import Board, routes_of
from pipeline.core.plan_search import improve
from pipeline.core.plans import Problem, Routes, cost
from pipeline.ports import Clock

_MEMORY = 4_000_000_000
#: The solver's share of the time; the rest goes to `plan_search`, which knows all costs.
_SOLVER = 0.15
#: VROOM's own measure of how hard it looks, 0 to 5: the least was as good as more within such times.
_EXPLORATION = 1
#: Steps of the search for each job: a small day is done long before its time is.
_STEPS = 100


def main() -> None:
    """Read one question, answer it, and end."""
    clock = SystemClock()
    began = clock.monotonic()
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not stand between answers
    for what, most in ((resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):
            resource.setrlimit(what, (most, most))
    asked = orjson.loads(sys.stdin.buffer.read())
    problem, seconds = problem_of(asked["problem"]), float(asked["seconds"])
    start, until = routes_of_json(asked["start"]), began + seconds
    most_steps = math.inf if asked["unhurried"] else _STEPS * len(problem.jobs)
    beside = _beside(lambda: improve(problem, start, _spent(clock, until, most_steps), seed=1))
    best = _start(problem, start, seconds, target)
    found = [improve(problem, best, _spent(clock, until, most_steps)), *_said(beside)]
    _say(target, {"routes": routes_as_json(min(found, key=lambda routes: cost(problem, routes).total))})


def _beside(search: Callable[[], Routes]) -> int:
    """Search from the greedy plan on in a process of its own, for the second core; return where its answer comes."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        with os.fdopen(writing, "wb") as answer, suppress(Exception):
            answer.write(orjson.dumps(routes_as_json(search())))
            answer.flush()
            os._exit(0)
        os._exit(1)
    os.close(writing)
    return reading


def _said(beside: int) -> list[Routes]:
    """Return the plan that came from beside; nothing when none did."""
    with os.fdopen(beside, "rb") as answer, suppress(ValueError):
        return [routes_of_json(orjson.loads(answer.read()))]
    return []


def _start(problem: Problem, start: Routes, seconds: float, target: BinaryIO) -> Routes:
    """Return the cheaper of a plan and VROOM's."""
    try:
        found = _vroom(problem, timedelta(seconds=seconds * _SOLVER))
    except Exception as error:  # noqa: BLE001 - a solver that fails is told of; the search goes on without it
        _say(target, {"note": f"VROOM failed: {type(error).__name__}: {error}"[:300]})
        return start
    best = min(start, found, key=lambda routes: cost(problem, routes).total)
    _say(target, {"routes": routes_as_json(best)})
    return best


def _spent(clock: Clock, until: float, most_steps: float) -> Callable[[], float]:
    """Return what tells, step by step, how much of the time or of the steps is over."""
    steps, since = 0, clock.monotonic()
    whole = max(0.1, until - since)

    def spent() -> float:
        nonlocal steps
        steps += 1
        return max((clock.monotonic() - since) / whole, steps / most_steps)

    return spent


def _vroom(problem: Problem, limit: timedelta) -> Routes:
    # Here, since the import takes most of a second, and may fail.
    vroom_routes = importlib.import_module("pipeline.adapters.vroom_routes")
    # The other cores have the search that goes on beside.
    threads = max(1, (os.cpu_count() or 1) - 1)
    days = vroom_routes.solve(problem, limit=limit, threads=threads, exploration=_EXPLORATION, is_due_kept=True)
    done = {job for day in days for job in day.jobs}
    filled = fill(Board(problem), days, set(range(len(problem.jobs))) - done)
    return routes_of(filled)


def _say(target: BinaryIO, what: dict[str, Any]) -> None:
    target.write(orjson.dumps(what) + b"\n")
    target.flush()


if __name__ == "__main__":
    main()
