"""A day's problem in VROOM's words, and its answer as routes. Only `pipeline.adapters.route_child` imports it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta

import vroom

from models.enums import DispatchPriority
from pipeline.core.plan_routes import Board, Day, anchored
from pipeline.core.plans import Job, Problem, Span, Stop, Worker

#: VROOM leaves out what has the least priority in all; the same steps as `plans.LEFT_OUT`.
_PRIORITY = {DispatchPriority.ROUTINE: 1, DispatchPriority.URGENT: 10, DispatchPriority.EMERGENCY: 100}


def solve(problem: Problem, *, limit: timedelta, threads: int, exploration: int, is_due_kept: bool) -> list[Day]:
    """Return the plan that VROOM finds within a limit, its times made anew by our own rules.

    It knows travel and constraints alone, neither lateness nor who was there before. With `is_due_kept`, what can
    begin before it is due must.
    """
    asked = vroom.Input()
    asked.set_durations_matrix("car", [list(row) for row in problem.travel])
    owners = [(number, *part) for number, worker in enumerate(problem.workers) for part in _parts(worker)]
    groups: dict[frozenset[int], int] = {}
    for number, job in enumerate(problem.jobs):
        windows = list(_windows(job, is_due_kept=is_due_kept))
        if windows and job.able:
            asked.add_job(_job(number, job, windows, groups.setdefault(job.able, len(groups))))
    for vehicle in _vehicles(problem, owners, groups):
        asked.add_vehicle(vehicle)
    answer = asked.solve(exploration_level=exploration, nb_threads=threads, timeout=limit)
    return _days(problem, owners, answer)


def _parts(worker: Worker) -> Iterator[tuple[Span, int, int]]:
    """Return a technician's day in parts, each with its first and last place: visits that stand divide it."""
    if not worker.stretches:
        return
    begin, place = worker.stretches[0][0], worker.home
    for anchor in worker.anchors:
        yield (begin, anchor.begins), place, anchor.place
        begin, place = max(begin, anchor.ends), anchor.place
    yield (begin, worker.stretches[-1][1]), place, worker.home


def _vehicles(
    problem: Problem, owners: list[tuple[int, Span, int, int]], groups: dict[frozenset[int], int]
) -> Iterator[vroom.Vehicle]:
    for identity, (number, (begin, end), first, last) in enumerate(owners, start=1):
        worker = problem.workers[number]
        if begin >= end or worker.most == 0:
            continue
        pauses = [
            (max(begin, a), min(end, b))
            for a, b in zip((b for _, b in worker.stretches), (a for a, _ in worker.stretches[1:]), strict=False)
            if a < end and b > begin
        ]
        more = {} if worker.most is None else {"max_tasks": worker.most}
        yield vroom.Vehicle(
            identity,
            start=first,
            end=last,
            time_window=(begin, end),
            skills={group for able, group in groups.items() if number in able},
            breaks=[
                vroom.Break(place, time_windows=[vroom.TimeWindow(a, a)], service=b - a)
                for place, (a, b) in enumerate(pauses, start=1)
            ],
            **more,
        )


def _job(number: int, job: Job, windows: list[Span], group: int) -> vroom.Job:
    return vroom.Job(
        number,
        location=job.place,
        default_service=job.seconds,
        skills={group},
        priority=_PRIORITY[job.priority],
        time_windows=[vroom.TimeWindow(first, last) for first, last in windows],
    )


def _windows(job: Job, *, is_due_kept: bool) -> Iterator[Span]:
    """Return from when to when a visit may begin."""
    spans = [(begin, end - job.seconds) for begin, end in job.windows if begin <= end - job.seconds]
    timely = [(first, min(last, job.due)) for first, last in spans if job.due is not None and first <= job.due]
    return iter(timely if is_due_kept and timely else spans)


def _days(problem: Problem, owners: list[tuple[int, Span, int, int]], answer: vroom.Solution) -> list[Day]:
    """Return the answer as days; what a technician cannot do after all is left out."""
    steps = answer.routes
    jobs = steps[steps["type"] == "job"]
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for vehicle, arrival, job in zip(jobs["vehicle_id"], jobs["arrival"], jobs["id"], strict=True):
        found[owners[int(vehicle) - 1][0]].append((int(arrival), int(job)))
    board = Board(problem)
    return [_day(board, day, found[day.worker]) for day in board.empty()]


def _day(board: Board, day: Day, visits: list[tuple[int, int]]) -> Day:
    """Return a day with visits in the order found; where that cannot be kept, with as many of them as can."""
    stops = [Stop(job, arrival) for arrival, job in visits]
    try:
        return day.with_items(anchored(board.problem.workers[day.worker].anchors, stops))
    except ValueError:
        for _, job in sorted(visits):
            place = board.cheapest(job, [day])
            day = day if place is None else day.inserted(job, place.position)
        return day
