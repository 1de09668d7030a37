"""A day planned: the greedy plan and the solver's, both checked, the cheaper one taken and explained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from pipeline.core.greedy import greedy
from pipeline.core.plan_days import DayProblem
from pipeline.core.plan_reasons import LeftOut, Placed, left_out, placed
from pipeline.core.plans import Cost, Problem, Routes, Stop, cost, on_the_way, violations
from pipeline.ports import RoutePlanner

_BROKEN = "the solver's plan breaks a constraint and was refused: {}"
_DEARER = "the solver found nothing cheaper than the greedy plan"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The plan that was taken, whose it is, what it and the greedy one cost, and what is worth to know."""

    routes: Routes
    solved_by: str
    cost: Cost
    greedy_cost: Cost
    note: str | None


def solve(problem: Problem, planner: RoutePlanner, limit: timedelta) -> Outcome:
    """Return the cheaper of the greedy plan and the solver's; one that breaks a constraint is never taken."""
    start = greedy(problem)
    price = cost(problem, start)
    if not problem.jobs or not problem.workers:
        return Outcome(start, "greedy", price, price, None)
    solved = planner.solve(problem, start, limit)
    notes = [solved.note] if solved.note else []
    if solved.routes is not None:
        broken = violations(problem, solved.routes)
        found = None if broken else cost(problem, solved.routes)
        if found is not None and found.total < price.total:
            return Outcome(solved.routes, "solver", found, price, solved.note)
        notes.append(_BROKEN.format(broken[0]) if broken else _DEARER)
    return Outcome(start, "greedy", price, price, "; ".join(notes) or None)


def as_asked(day: DayProblem, limit: timedelta, timezone: str) -> dict[str, Any]:
    """Return what was planned with, as it is kept."""
    return {
        "timezone": timezone,
        "time_limit_seconds": int(limit.total_seconds()),
        "weights": asdict(day.problem.weights),
        "tickets": {str(one.asked.ticket_id): one.version for one in day.wanted},
        "technicians": [str(one.person_id) for one in day.technicians],
    }


def as_result(day: DayProblem, outcome: Outcome) -> dict[str, Any]:
    """Return a plan with its reasons, as it is kept."""
    routes, left = placed(day, outcome.routes), left_out(day, outcome.routes)
    return {
        "summary": {
            "tickets": len(day.wanted),
            "planned": len(day.wanted) - len(left),
            "left_out": len(left),
            "technicians": sum(bool(route) for route in routes),
            "cost": outcome.cost.total,
            "greedy_cost": outcome.greedy_cost.total,
            "solved_by": outcome.solved_by,
            "note": outcome.note,
        },
        "cost": asdict(outcome.cost),
        "greedy_cost": asdict(outcome.greedy_cost),
        "routes": [_route(day, route, outcome.routes) for route in routes if route],
        "left_out": [_left(day, one) for one in left],
    }


def routes_again(day: DayProblem, result: Mapping[str, Any]) -> Routes | None:
    """Return a kept plan's routes in the numbers of the same day read anew; None when somebody of it is gone."""
    people = {str(one.person_id): number for number, one in enumerate(day.technicians)}
    jobs = {str(one.asked.ticket_id): number for number, one in enumerate(day.wanted)}
    routes: list[tuple[Stop, ...]] = [()] * len(people)
    for route in result["routes"]:
        stops = [(jobs.get(stop["ticket_id"]), stop["begins"]) for stop in route["stops"]]
        number = people.get(route["technician_id"])
        if number is None or any(job is None for job, _ in stops):
            return None
        routes[number] = tuple(Stop(job, begins) for job, begins in stops if job is not None)
    return tuple(routes)


def _route(day: DayProblem, route: list[Placed], routes: Routes) -> dict[str, Any]:
    worker = route[0].worker
    return {
        "technician_id": str(day.technicians[worker].person_id),
        "travel_seconds": on_the_way(day.problem, worker, routes[worker]),
        "work_seconds": sum(one.ends - one.begins for one in route),
        "stops": [{"begins": one.begins, **one.as_stored(day)} for one in route],
    }


def _left(day: DayProblem, one: LeftOut) -> dict[str, Any]:
    wanted = day.wanted[one.job]
    return {
        "ticket_id": str(wanted.asked.ticket_id),
        "code": wanted.code,
        "reason": one.reason.value,
        "said": one.said,
        "filters": one.filters,
    }
