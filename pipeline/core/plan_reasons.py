"""Why a plan is as it is: for each visit what speaks for it, for each job left out what stands in its way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any

from pipeline.core.plan_days import DayProblem
from pipeline.core.plan_routes import Board, Day
from pipeline.core.plan_search import days_of
from pipeline.core.plans import Routes, Stop, late


class Reason(StrEnum):
    """Why a job is in no technician's day."""

    NO_WINDOW = "NO_WINDOW"  #: none of its times that day is long enough
    NO_TECHNICIAN = "NO_TECHNICIAN"  #: a filter rules everybody out
    OFF_DUTY = "OFF_DUTY"  #: nobody who may works that day
    NO_CAPACITY = "NO_CAPACITY"  #: those who may have as many visits as they may have
    NO_TIME_IN_SHIFT = "NO_TIME_IN_SHIFT"  #: not even if nothing else were planned
    DAY_FULL = "DAY_FULL"  #: what is planned leaves no time for it
    NOT_WORTH_IT = "NOT_WORTH_IT"  #: it would fit, and cost more than to leave it


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A job that nobody does, by its number, with the reason in words and numbers."""

    job: int
    reason: Reason
    said: str
    #: How many technicians each filter rules out.
    filters: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Placed:
    """A job in a technician's day: the way to it in seconds, how late it is, and why it is here."""

    job: int
    worker: int
    begins: int
    ends: int
    way: int
    late: int
    why: tuple[str, ...]

    def as_stored(self, day: DayProblem) -> dict[str, Any]:
        """Return it as JSON."""
        wanted = day.wanted[self.job]
        return {
            "ticket_id": str(wanted.asked.ticket_id),
            "code": wanted.code,
            "starts_at": _plain(day, self.begins),
            "ends_at": _plain(day, self.ends),
            "travel_seconds": self.way,
            "late_seconds": self.late,
            "why": list(self.why),
        }


def _plain(day: DayProblem, second: int) -> str:
    return day.frame.moment(second).isoformat().replace("+00:00", "Z")


def placed(day: DayProblem, routes: Routes) -> list[list[Placed]]:
    """Return every technician's visits in order."""
    return [list(_route(day, number, route)) for number, route in enumerate(routes)]


def _route(day: DayProblem, worker: int, route: tuple[Stop, ...]) -> Iterator[Placed]:
    problem = day.problem
    home, anchors = problem.workers[worker].home, problem.workers[worker].anchors
    visits: list[tuple[int, int, Stop | None]] = [(stop.begins, problem.jobs[stop.job].place, stop) for stop in route]
    visits += [(anchor.begins, anchor.place, None) for anchor in anchors]
    chain = [(-1, home, None), *sorted(visits, key=lambda one: one[0])]
    for (_, here, _), (begins, there, stop) in pairwise(chain):
        if stop is not None:
            job, way = problem.jobs[stop.job], problem.travel[here][there]
            lateness = late(problem, job, begins)
            why = tuple(_why(day, stop, worker, way, lateness))
            yield Placed(stop.job, worker, begins, begins + job.seconds, way, lateness, why)


def _why(day: DayProblem, stop: Stop, worker: int, way: int, lateness: int) -> Iterator[str]:
    problem, job, wanted = day.problem, day.problem.jobs[stop.job], day.wanted[stop.job]
    able, people = len(job.able), len(problem.workers)
    yield f"one of {able} of {people} technicians who may" if able > 1 else "the only technician who may"
    if worker in job.known:
        yield "was there before"
    elif job.known:
        yield "somebody else was there before; sending them would cost more"
    yield f"{way // 60} minutes on the way" if way else "already there"
    if wanted.windows:
        yield "within the time agreed with the customer"
    if lateness:
        yield f"{-(-lateness // 60)} minutes after it is due"
    elif job.due is not None:
        yield "before it is due" if stop.begins <= job.due else "it was due before the day began"


def left_out(day: DayProblem, routes: Routes) -> list[LeftOut]:
    """Return every job that a plan leaves out, with a reason that is tested, not guessed."""
    board = Board(day.problem)
    days, empty = days_of(board, routes), board.empty()
    done = {stop.job for route in routes for stop in route}
    return [_reason(day, board, days, empty, job) for job in range(len(day.wanted)) if job not in done]


def _reason(day: DayProblem, board: Board, days: list[Day], empty: list[Day], number: int) -> LeftOut:
    job, workers = day.problem.jobs[number], day.problem.workers
    if not any(end - begin >= job.seconds for begin, end in job.windows):
        said = f"no time that it may be done at on that day is {job.seconds // 60} minutes long"
        return LeftOut(number, Reason.NO_WINDOW, said)
    if not job.able:
        return _nobody(day, number)
    on_duty = [worker for worker in job.able if workers[worker].stretches]
    if not on_duty:
        return LeftOut(number, Reason.OFF_DUTY, f"none of the {len(job.able)} technicians who may works that day")
    with_room = [worker for worker in on_duty if workers[worker].most != 0]
    if not with_room:
        said = f"the {len(on_duty)} technicians who may have as many visits as they may have"
        return LeftOut(number, Reason.NO_CAPACITY, said)
    if board.cheapest(number, empty) is None:
        said = (
            f"for none of the {len(with_room)} technicians who may is there time for {job.seconds // 60} minutes and "
            "the way there and back, in their hours, at a time that suits, even with nothing else planned"
        )
        return LeftOut(number, Reason.NO_TIME_IN_SHIFT, said)
    if board.cheapest(number, days) is None:
        said = f"what is planned for the {len(with_room)} technicians who may leaves no time for it"
        return LeftOut(number, Reason.DAY_FULL, said)
    return LeftOut(number, Reason.NOT_WORTH_IT, "it would fit, and cost more than to leave it out")


def _nobody(day: DayProblem, number: int) -> LeftOut:
    """Say which filters rule everybody out."""
    wanted, against = day.wanted[number], day.against[number]
    if not day.technicians:
        return LeftOut(number, Reason.NO_TECHNICIAN, "there is no technician to plan for")
    if wanted.only is not None:
        mine = [n for n, who in enumerate(day.technicians) if who.person_id == wanted.only]
        said = [verdict.said for n in mine for verdict in against.get(n, ())] or ["is not among those planned for"]
        return LeftOut(number, Reason.NO_TECHNICIAN, f"the technician whose time was offered {said[0]}")
    counts = Counter(verdict.filter.value for said in against.values() for verdict in said)
    everybody = [name for name, count in counts.items() if count == len(day.technicians)]
    if everybody:
        words = Counter(v.said for said in against.values() for v in said if v.filter.value == everybody[0])
        said_of_all = f"no technician passes the filter {everybody[0]}: each {words.most_common(1)[0][0]}"
        if len(words) > 1:
            said_of_all = f"no technician passes the filter {everybody[0]}; most of them: {words.most_common(1)[0][0]}"
        return LeftOut(number, Reason.NO_TECHNICIAN, said_of_all, dict(counts))
    told = ", ".join(f"{count} by {name}" for name, count in counts.most_common())
    said_of_each = f"each of the {len(day.technicians)} technicians is ruled out: {told}"
    return LeftOut(number, Reason.NO_TECHNICIAN, said_of_each, dict(counts))
