"""The solver's process: it finds better plans, and whatever becomes of it, a plan is had."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from pipeline.adapters.route_form import problem_as_json, problem_of, routes_as_json, routes_of_json
from pipeline.adapters.route_solver import ChildPlanner
from pipeline.core.greedy import greedy
from pipeline.core.plans import Problem, Routes, cost, violations
from pipeline.ports import Solved
from pipeline.runtime.planning import solve
from tests.day_problems import day_problem

SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def day() -> Problem:
    return day_problem(1, 20, 5)


def child(code: str, grace: timedelta = 20 * SECOND) -> ChildPlanner:
    """Return a planner whose child runs other code."""
    return ChildPlanner((sys.executable, "-c", code), grace)


def test_problems_and_plans_come_back_as_they_were(day: Problem) -> None:
    assert problem_of(problem_as_json(day)) == day
    assert routes_of_json(routes_as_json(greedy(day))) == greedy(day)


def test_the_solver_finds_a_cheaper_plan_that_holds(day: Problem) -> None:
    # It ends by its number of steps, long before its time.
    outcome = solve(day, ChildPlanner(grace=timedelta(seconds=60)), 20 * SECOND)
    assert violations(day, outcome.routes) == []
    assert (outcome.solved_by, outcome.note) == ("solver", None)
    assert cost(day, outcome.routes) == outcome.cost
    assert outcome.cost.total < outcome.greedy_cost.total == cost(day, greedy(day)).total


@pytest.mark.parametrize(
    ("code", "note"),
    [
        ("import sys; sys.exit(3)", "the solver died (status 3)"),
        ("import os; os.kill(os.getpid(), 9)", "the solver died (status -9)"),
        ("print('{\"routes\": [[')", None),
        ("print('nonsense'); print('{\"note\": \"no memory\"}')", "no memory"),
    ],
)
def test_a_solver_that_fails_leaves_the_greedy_plan_and_a_note(day: Problem, code: str, note: str | None) -> None:
    outcome = solve(day, child(code), SECOND)
    assert (outcome.routes, outcome.solved_by) == (greedy(day), "greedy")
    assert outcome.note == note


def test_a_solver_that_does_not_end_is_stopped_and_what_it_said_is_taken(day: Problem) -> None:
    said = routes_as_json(greedy(day))
    line = orjson.dumps({"routes": said}).decode()
    stubborn = ChildPlanner(("sh", "-c", f"echo '{line}'; exec sleep 600"), timedelta(0))
    found = stubborn.solve(day, greedy(day), SECOND)
    assert found == Solved(greedy(day), "the solver did not end in time and was stopped")


def test_a_solver_that_cannot_be_started_leaves_the_greedy_plan(day: Problem, tmp_path: Path) -> None:
    outcome = solve(day, ChildPlanner((str(tmp_path / "none"),)), SECOND)
    assert (outcome.routes, outcome.solved_by) == (greedy(day), "greedy")
    assert outcome.note is not None
    assert outcome.note.startswith("the solver could not be started")


class Says:
    """A RoutePlanner that answers one plan."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    def solve(self, problem: Problem, start: Routes, limit: timedelta) -> Solved:
        return Solved(self._routes)


def test_a_plan_that_breaks_a_constraint_is_refused(day: Problem) -> None:
    start = greedy(day)
    crowded = (tuple(stop for route in start for stop in route), *(() for _ in start[1:]))
    outcome = solve(day, Says(crowded), SECOND)
    assert (outcome.routes, outcome.solved_by) == (start, "greedy")
    assert outcome.note is not None
    assert "breaks a constraint and was refused" in outcome.note


def test_a_dearer_plan_is_not_taken(day: Problem) -> None:
    outcome = solve(day, Says(tuple(() for _ in day.workers)), SECOND)
    assert (outcome.routes, outcome.note) == (greedy(day), "the solver found nothing cheaper than the greedy plan")
