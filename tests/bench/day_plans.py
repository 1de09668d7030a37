"""`python -m tests.bench.day_plans`: how cheap a day's plan is in the time that people wait, and in two minutes."""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta

from rich.console import Console
from rich.table import Table

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.route_solver import ChildPlanner
from pipeline.core.greedy import greedy
from pipeline.core.plans import Problem, cost, violations
from pipeline.runtime.planning import Outcome, solve
from tests.day_problems import day_problem

_WITHIN = 1.05


def main() -> int:
    """Print the figures; 0 when every plan holds, comes in time and is within five per cent of the best."""
    options = _options()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    table = Table("seed", "greedy", "left", "plan", "left", "s", "best", "left", "s", "ratio", "travel ratio", box=None)
    is_good = True
    for seed in options.seeds:
        day = day_problem(seed, options.jobs, options.technicians)
        soon, seconds = _solved(day, options.limit)
        best, whole = _solved(day, options.best)
        ratio = soon.cost.total / best.cost.total
        is_good = is_good and ratio <= _WITHIN and seconds <= options.within
        cells = [seed, cost(day, greedy(day)).total, _left(day, greedy(day)), soon.cost.total, _left(day, soon.routes)]
        cells += [f"{seconds:.1f}", best.cost.total, _left(day, best.routes), f"{whole:.1f}", f"{ratio:.3f}"]
        table.add_row(*map(str, cells), f"{soon.cost.travel / best.cost.travel:.3f}")
        console.print(f"[dim]seed {seed}: {soon.cost.total} in {seconds:.1f} s, {best.cost.total} in {whole:.1f} s[/]")
    console.print(table)
    console.print("within five per cent, and in time" if is_good else "NOT within five per cent, or not in time")
    return 0 if is_good else 1


def _solved(day: Problem, limit: int) -> tuple[Outcome, float]:
    clock = SystemClock()
    began = clock.monotonic()
    outcome = solve(day, ChildPlanner(unhurried=True), timedelta(seconds=limit))
    seconds = clock.monotonic() - began
    if broken := violations(day, outcome.routes):
        raise SystemExit(f"the plan breaks constraints: {broken[:3]}")
    return outcome, seconds


def _left(day: Problem, routes: object) -> int:
    assert isinstance(routes, tuple)
    return len(day.jobs) - sum(map(len, routes))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.day_plans", description=main.__doc__)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--technicians", type=int, default=40)
    parser.add_argument("--limit", type=int, default=17, help="seconds that a person waits (%(default)s)")
    parser.add_argument("--within", type=float, default=20, help="seconds it may take in all (%(default)s)")
    parser.add_argument("--best", type=int, default=120, help="seconds for the best (%(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
