"""Plans of a day: what holds, what it costs, and that plans are made so that they hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings

from models.enums import DispatchPriority
from pipeline.core.greedy import greedy
from pipeline.core.plan_routes import Board, routes_of
from pipeline.core.plan_search import days_of, improve
from pipeline.core.plans import Anchor, Job, Problem, Routes, Stop, Weights, Worker, cost, on_the_way, violations
from tests.core.day_strategies import STEP, day_problems
from tests.day_problems import day_problem

HOUR = 3_600
_DAY = 24 * HOUR
#: Home, and two places a quarter of an hour from it and from each other.
_TRAVEL = [[0, 900, 900], [900, 0, 900], [900, 900, 0]]
_WORKER = Worker(((8 * HOUR, 12 * HOUR), (13 * HOUR, 17 * HOUR)), home=0)


def job(place: int = 1, **said: object) -> Job:
    known = {"seconds": HOUR, "windows": ((0, _DAY),), "able": frozenset({0})}
    return Job(place, **{**known, **said})  # type: ignore[arg-type]


def problem(*jobs: Job, worker: Worker = _WORKER) -> Problem:
    return Problem(jobs, (worker,), _TRAVEL, 0, _DAY)


def steps(number: int) -> Callable[[], float]:
    """Return a measure of time that is over after so many steps."""
    left = iter(range(number))
    return lambda: next(left, number) / number


@given(day_problems())
def test_the_greedy_plan_holds_and_is_always_the_same(day: Problem) -> None:
    found = greedy(day)
    assert violations(day, found) == []
    assert greedy(day) == found


@settings(deadline=None)
@given(day_problems())
def test_what_days_count_while_they_are_made_is_what_the_plan_costs(day: Problem) -> None:
    board, found = Board(day), greedy(day)
    days = days_of(board, found)
    assert routes_of(days) == found
    assert board.total(days) == cost(day, found).total


@settings(max_examples=40)
@given(day_problems())
def test_the_search_never_ends_dearer_and_its_plans_hold(day: Problem) -> None:
    start = greedy(day)
    found = improve(day, start, steps(25))
    assert violations(day, found) == []
    assert cost(day, found).total <= cost(day, start).total


@pytest.mark.parametrize("seed", range(3))
def test_a_town_of_twenty_jobs_is_planned_better_by_the_search(seed: int) -> None:
    day = day_problem(seed, 20, 5)
    start = greedy(day)
    found = improve(day, start, steps(150))
    assert violations(day, found) == []
    assert cost(day, found).total < cost(day, start).total


def test_a_day_begins_and_ends_at_home_and_rests_at_noon() -> None:
    day = problem(*(job(1 + number % 2) for number in range(9)))
    (route,) = greedy(day)
    assert violations(day, (route,)) == []
    first, last = route[0].begins, route[-1].begins + HOUR
    assert (first, last <= 17 * HOUR - 900) == (8 * HOUR + 900, True)
    assert not [one for one in route if one.begins < 13 * HOUR and one.begins + HOUR > 12 * HOUR]
    assert len(route) == 6


def test_the_most_urgent_goes_first_when_not_all_can_be_done() -> None:
    jobs = [job(windows=((9 * HOUR, 10 * HOUR),)) for _ in range(3)]
    jobs[2] = replace(jobs[2], priority=DispatchPriority.EMERGENCY)
    assert [one.job for one in greedy(problem(*jobs))[0]] == [2]


def test_whoever_was_there_before_comes_again_unless_that_costs_more() -> None:
    two = frozenset({0, 1})
    known = job(able=two, known=frozenset({1}))
    workers = (_WORKER, replace(_WORKER, home=0))
    near = Problem((known,), workers, _TRAVEL, 0, _DAY)
    assert [len(route) for route in greedy(near)] == [0, 1]
    far = [[0, 0, 0, 9_000], [0, 0, 0, 9_000], [0, 0, 0, 0], [9_000, 9_000, 0, 0]]
    away = Problem((known,), (_WORKER, replace(_WORKER, home=3)), far, 0, _DAY)
    assert [len(route) for route in greedy(away)] == [1, 0]
    assert cost(away, greedy(away)).continuity == Weights().continuity


def test_work_is_shared_out() -> None:
    jobs = [job(0, able=frozenset({0, 1})) for _ in range(6)]
    day = Problem(tuple(jobs), (_WORKER, _WORKER), _TRAVEL, 0, _DAY)
    assert sorted(map(len, greedy(day))) == [3, 3]


def test_costs_are_counted_in_parts() -> None:
    day = problem(job(due=8 * HOUR), job(2), job(able=frozenset()), worker=replace(_WORKER, most=1))
    routes: Routes = ((Stop(0, 9 * HOUR),),)
    found = cost(day, routes)
    assert on_the_way(day, 0, routes[0]) == 1_800
    assert (found.travel, found.lateness) == (18_000, 36_000)
    assert found.left_out == 2 * 144_000
    assert found.total == sum((found.travel, found.lateness, found.left_out, found.imbalance, found.continuity))


@pytest.mark.parametrize(
    ("stops", "said"),
    [
        ([Stop(0, 8 * HOUR)], "no time between what stands and job 0"),
        ([Stop(0, 7 * HOUR)], "outside working hours"),
        ([Stop(0, 16 * HOUR)], "no time between job 0 and it"),
        ([Stop(0, 11 * HOUR + 1_800)], "outside working hours"),
        ([Stop(1, 9 * HOUR)], "may not do job 1"),
        ([Stop(2, 9 * HOUR)], "job 2 is outside its windows"),
        ([Stop(0, 9 * HOUR), Stop(0, 13 * HOUR)], "job 0 is done twice"),
        ([Stop(9, 9 * HOUR)], "job 9 is not there"),
        ([Stop(0, 9 * HOUR), Stop(3, 10 * HOUR + 899)], "no time between job 0 and job 3"),
        ([Stop(0, 9 * HOUR), Stop(3, 9 * HOUR)], "no time between job 0 and job 3"),
        # The way over noon is in working hours alone.
        ([Stop(0, 11 * HOUR), Stop(3, 13 * HOUR + 899)], "no time between job 0 and job 3"),
        ([Stop(0, 13 * HOUR), Stop(3, 14 * HOUR + 900), Stop(4, 9 * HOUR)], "3 visits, of 2 at most"),
    ],
)
def test_what_breaks_a_constraint_is_found(stops: list[Stop], said: str) -> None:
    windows = ((14 * HOUR, 16 * HOUR),)
    jobs = (job(), job(able=frozenset()), job(windows=windows), job(2), job())
    day = problem(*jobs, worker=replace(_WORKER, most=2))
    assert any(said in one for one in violations(day, (tuple(stops),))), violations(day, (tuple(stops),))


def test_what_stood_before_is_nobodys_fault_but_left_its_time() -> None:
    close = (Anchor(9 * HOUR, 10 * HOUR, 1), Anchor(10 * HOUR, 11 * HOUR, 2))
    day = problem(job(2), worker=replace(_WORKER, anchors=close))
    assert violations(day, ((),)) == []
    assert violations(day, ((Stop(0, 11 * HOUR),),)) == []
    assert violations(day, ((Stop(0, 11 * HOUR - 1),),)) != []
    assert violations(day, ((Stop(0, 8 * HOUR + 1_800),),)) != []
    (route,) = greedy(day)
    assert route == (Stop(0, 11 * HOUR),)


def test_a_plan_for_other_people_is_none() -> None:
    assert violations(problem(job()), ()) == ["there are 0 routes for 1 technicians"]


def test_the_grid_of_the_strategies_is_the_one_of_these_rules() -> None:
    assert STEP * 12 == HOUR
