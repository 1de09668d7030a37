"""Reasons of plans are true: held against trying everything."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given, settings

from models.enums import DispatchPriority, DispatchState
from pipeline.core.greedy import greedy
from pipeline.core.matching import Filter, Verdict
from pipeline.core.plan_days import DayProblem, Frame, Wanted
from pipeline.core.plan_reasons import Reason, left_out, placed
from pipeline.core.plans import Job, Problem, Routes, Stop, Worker, cost, violations
from pipeline.core.technicians import Job as Asked
from pipeline.core.technicians import Technician
from tests.core.day_strategies import CLOSES, STEP, day_problems

_NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def named(problem: Problem) -> DayProblem:
    """Return a problem with names; what its jobs' `able` leaves out is ruled out by a skill."""
    wanted = tuple(
        Wanted(Asked(UUID(int=n), _NOON), f"t-{n}", 1, DispatchState.READY_TO_SCHEDULE, DispatchPriority.ROUTINE)
        for n in range(len(problem.jobs))
    )
    lacks = (Verdict(Filter.SKILL, False, "lacks X"),)
    against = tuple({n: lacks for n in range(len(problem.workers)) if n not in job.able} for job in problem.jobs)
    people = tuple(Technician(UUID(int=n)) for n in range(len(problem.workers)))
    return DayProblem(Frame(_NOON.date(), UTC, _NOON - timedelta(days=1)), wanted, people, against, problem)


def grid(problem: Problem) -> range:
    return range(0, problem.closes, STEP)


def fits(problem: Problem, routes: Routes, job: int) -> list[Routes]:
    """Return the plans that come of putting a job anywhere, all later visits as early as they can be."""
    found = []
    for worker, route in enumerate(routes):
        for position in range(len(route) + 1):
            order = [*(one.job for one in route[:position]), job, *(one.job for one in route[position:])]
            timed = earliest(problem, worker, order)
            if timed is not None:
                found.append((*routes[:worker], timed, *routes[worker + 1 :]))
    return found


def earliest(problem: Problem, worker: int, order: list[int]) -> tuple[Stop, ...] | None:
    """Return a day with its visits in an order, each at the first time at which nothing is broken; None if none is."""
    done: tuple[Stop, ...] = ()
    for job in order:
        free = ((*done, Stop(job, at)) for at in grid(problem) if not done or at > done[-1].begins)
        done = next((one for one in free if not _broken(problem, worker, one)), ())
        if not done:
            return None
    return done


def _broken(problem: Problem, worker: int, route: tuple[Stop, ...]) -> list[str]:
    return violations(problem, tuple(route if n == worker else () for n in range(len(problem.workers))))


@settings(max_examples=60, deadline=None)
@given(day_problems(most_jobs=4, most_workers=2))
def test_a_job_is_left_out_for_a_reason_that_trying_everything_confirms(problem: Problem) -> None:
    routes = greedy(problem)
    nothing: Routes = tuple(() for _ in problem.workers)
    for one in left_out(named(problem), routes):
        job = problem.jobs[one.job]
        alone, beside = fits(problem, nothing, one.job), fits(problem, routes, one.job)
        able = [problem.workers[n] for n in job.able]
        truth = {
            Reason.NO_WINDOW: all(end - begin < job.seconds for begin, end in job.windows),
            Reason.NO_TECHNICIAN: not able,
            Reason.OFF_DUTY: not any(worker.stretches for worker in able),
            Reason.NO_CAPACITY: all(worker.most == 0 for worker in able if worker.stretches),
            Reason.NO_TIME_IN_SHIFT: not alone,
            Reason.DAY_FULL: bool(alone) and not beside,
            Reason.NOT_WORTH_IT: bool(beside)
            and min(cost(problem, other).total for other in beside) >= cost(problem, routes).total,
        }
        assert truth[one.reason], one


@given(day_problems())
def test_each_visit_says_its_way_and_who_may(problem: Problem) -> None:
    day, routes = named(problem), greedy(problem)
    told = placed(day, routes)
    assert [[one.job for one in route] for route in told] == [[stop.job for stop in route] for route in routes]
    for route in told:
        for one in route:
            able = len(problem.jobs[one.job].able)
            assert one.why[0].startswith("the only technician" if able == 1 else f"one of {able} of")
            assert ("was there before" in one.why) == (one.worker in problem.jobs[one.job].known)
            assert (one.late > 0) == any("after it is due" in said for said in one.why)


def test_the_filter_that_nobody_passes_is_named() -> None:
    job = Job(0, STEP, ((0, CLOSES),), frozenset())
    worker = Worker(((0, CLOSES),), 0)
    day = named(Problem((job,), (worker, worker), [[0]], 0, CLOSES))
    (one,) = left_out(day, ((), ()))
    assert (one.reason, one.filters) == (Reason.NO_TECHNICIAN, {"skill": 2})
    assert one.said == "no technician passes the filter skill: each lacks X"
    mixed = ({0: day.against[0][0], 1: (Verdict(Filter.ZONE, False, "does not serve North"),)},)
    (one,) = left_out(replace(day, against=mixed), ((), ()))
    assert one.said == "each of the 2 technicians is ruled out: 1 by skill, 1 by zone"
    offered = (replace(day.wanted[0], only=day.technicians[1].person_id),)
    (one,) = left_out(replace(day, wanted=offered), ((), ()))
    assert one.said == "the technician whose time was offered lacks X"
    (one,) = left_out(replace(day, technicians=(), problem=replace(day.problem, workers=())), ())
    assert one.said == "there is no technician to plan for"
