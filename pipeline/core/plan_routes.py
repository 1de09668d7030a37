"""Technicians' days while a plan is made: when each visit begins at the earliest, and what one more would cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pipeline.core.plans import (
    Anchor,
    Job,
    Problem,
    Routes,
    Span,
    Stop,
    fair_shares,
    late,
    price_of_face,
    price_of_leaving,
)


def advance(stretches: Sequence[Span], at: int, way: int) -> int:
    """Return when somebody arrives who sets out at a moment and is on the way in working hours alone.

    After the last hours the way goes on, so that whoever asks sees by how much it is too long.
    """
    for begin, end in stretches:
        if end <= at:
            continue
        at = max(at, begin)
        if at + way <= end:
            return at + way
        at, way = end, way - (end - at)
    return at + way


@dataclass(frozen=True, slots=True)
class Insertion:
    """Where a job would go, and what the plan would cost more for it."""

    worker: int
    position: int
    price: int


class Day:
    """One technician's visits in order, each as early as can be. An item is a job's number, or ~n for the n-th anchor.

    Costs are kept up with every change.
    """

    __slots__ = ("_board", "begins", "ends", "items", "jobs", "legs", "places", "price", "spots", "work", "worker")

    def __init__(self, board: Board, worker: int, items: list[int]) -> None:
        self._board, self.worker, self.items = board, worker, items
        self.jobs = [item for item in items if item >= 0]
        self.spots = [(worker, position) for position in range(len(items) + 1)]
        if not self._time():
            raise ValueError(f"technician {worker} cannot keep these times")

    def with_items(self, items: list[int]) -> Day:
        """Return the day with other items. Raises ValueError when its times cannot be kept."""
        return Day(self._board, self.worker, items)

    def without(self, jobs: Iterable[int]) -> Day:
        """Return the day without some jobs."""
        gone = set(jobs)
        return self.with_items([item for item in self.items if item not in gone])

    def inserted(self, job: int, position: int) -> Day:
        """Return the day with a job put before the item at a position."""
        return self.with_items([*self.items[:position], job, *self.items[position:]])

    def stops(self) -> tuple[Stop, ...]:
        """Return the jobs with their times."""
        return tuple(Stop(item, begins) for item, begins in zip(self.items, self.begins, strict=True) if item >= 0)

    def floors(self, job: int) -> list[int]:
        """Return what a job costs at least at each position: all but what it makes late."""
        board, worker = self._board, self.worker
        asked, weights = board.problem.jobs[job], board.problem.weights
        share, to = board.shares[worker], board.problem.travel[asked.place]
        more = max(0, self.work + asked.seconds - share) - max(0, self.work - share)
        fixed, way = more * weights.imbalance + board.faces(job, worker), weights.travel
        return [(to[here] + to[there] - leg) * way + fixed for here, there, leg in self.legs]

    def lateness(self, job: int, position: int) -> int | None:
        """Return by how many seconds more visits are late with a job at a position; None when times cannot be kept."""
        board, problem = self._board, self._board.problem
        worker, travel = problem.workers[self.worker], problem.travel
        at = self.ends[position - 1] if position else worker.stretches[0][0]
        place, found = self.places[position], 0
        for item, before in self._from(job, position):
            there = worker.home if item is None else board.place(self.worker, item)
            arrived = advance(worker.stretches, at, travel[place][there])
            if item is None:
                return found if arrived <= worker.stretches[-1][1] else None
            if item < 0:
                return found if arrived <= worker.anchors[~item].begins else None
            begins = board.earliest(self.worker, item, arrived)
            if begins is None:
                return None
            if begins == before:
                return found
            found += late(problem, problem.jobs[item], begins)
            found -= 0 if before is None else late(problem, problem.jobs[item], before)
            at, place = begins + problem.jobs[item].seconds, there
        return found

    def _from(self, job: int, position: int) -> Iterator[tuple[int | None, int | None]]:
        """Return what follows from a position on, with the time it had; None for the way home."""
        yield job, None
        yield from zip(self.items[position:], self.begins[position:], strict=True)
        yield None, None

    def _time(self) -> bool:
        """Set the times and the price; return whether they can be kept."""
        board, problem = self._board, self._board.problem
        worker, travel = problem.workers[self.worker], problem.travel
        places = [worker.home, *(board.place(self.worker, item) for item in self.items), worker.home]
        self.places, self.begins, self.ends, self.work = places, [], [], 0
        at, was_job = worker.stretches[0][0] if worker.stretches else 0, False
        lateness = faces = 0
        for item, (here, there) in zip(self.items, pairwise(places), strict=False):
            arrived = advance(worker.stretches, at, travel[here][there])
            begins = self._begins(item, arrived, was_job=was_job)
            if begins is None:
                return False
            if item >= 0:
                job = problem.jobs[item]
                lateness += late(problem, job, begins)
                faces += board.faces(item, self.worker)
                self.work += job.seconds
            was_job = item >= 0
            at = begins + problem.jobs[item].seconds if was_job else worker.anchors[~item].ends
            self.begins.append(begins)
            self.ends.append(at)
        self.legs = [(here, there, travel[here][there]) for here, there in pairwise(places)]
        on_the_way = sum(leg for _, _, leg in self.legs)
        self.price = board.priced(self.worker, on_the_way, lateness, faces, self.work)
        is_home = (
            not was_job or advance(worker.stretches, at, travel[places[-2]][worker.home]) <= worker.stretches[-1][1]
        )
        return is_home and self._has_room()

    def _begins(self, item: int, arrived: int, *, was_job: bool) -> int | None:
        if item >= 0:
            return self._board.earliest(self.worker, item, arrived)
        anchor = self._board.problem.workers[self.worker].anchors[~item]
        # What stood before may be closer to another visit than the way is long: it is nobody's doing here.
        return None if was_job and arrived > anchor.begins else anchor.begins

    def _has_room(self) -> bool:
        most = self._board.problem.workers[self.worker].most
        return most is None or len(self.jobs) <= most

    @property
    def is_full(self) -> bool:
        """True when no further visit may be given to the technician."""
        worker = self._board.problem.workers[self.worker]
        return not worker.stretches or (worker.most is not None and len(self.jobs) >= worker.most)


class Board:
    """What is looked up again and again while a plan of one problem is made."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.shares = fair_shares(problem)
        self.leaving = [price_of_leaving(problem, job) for job in problem.jobs]
        self._spans: dict[tuple[int, int], tuple[Span, ...]] = {}

    def empty(self) -> list[Day]:
        """Return the days with what stands already."""
        return [
            Day(self, number, [~anchor for anchor in range(len(worker.anchors))])
            for number, worker in enumerate(self.problem.workers)
        ]

    def place(self, worker: int, item: int) -> int:
        """Return where an item is."""
        return self.problem.jobs[item].place if item >= 0 else self.problem.workers[worker].anchors[~item].place

    def faces(self, job: int, worker: int) -> int:
        """Return what it costs that this technician comes."""
        return price_of_face(self.problem, self.problem.jobs[job], worker)

    def priced(self, worker: int, on_the_way: int, lateness: int, faces: int, work: int) -> int:
        """Return what a day costs."""
        weights = self.problem.weights
        over = max(0, work - self.shares[worker])
        return on_the_way * weights.travel + lateness * weights.lateness + faces + over * weights.imbalance

    def earliest(self, worker: int, job: int, arrived: int) -> int | None:
        """Return when a visit begins if its technician arrives at a moment; None when no time is left for it."""
        for first, last in self.begins_within(worker, job):
            if arrived <= last:
                return max(first, arrived)
        return None

    def begins_within(self, worker: int, job: int) -> tuple[Span, ...]:
        """Return from when to when, both included, a technician may begin a job: its windows in their hours."""
        found = self._spans.get((worker, job))
        if found is None:
            found = _common(self.problem.jobs[job], self.problem.workers[worker].stretches)
            self._spans[worker, job] = found
        return found

    def cheapest(self, job: int, days: Sequence[Day], below: int | None = None) -> Insertion | None:
        """Return where a job costs the least, the first of equals; None where it cannot go, or costs `below` or more.

        What it costs at least is known at once, so that times are tried for few positions.
        """
        able, by_worker = self.problem.jobs[job].able, {day.worker: day for day in days}
        floors: list[int] = []
        spots: list[tuple[int, int]] = []
        for day in days:
            if day.worker in able and not day.is_full:
                floors += day.floors(job)
                spots += day.spots
        found, best = None, below
        for number in sorted(range(len(floors)), key=floors.__getitem__):
            if best is not None and floors[number] >= best:
                break
            worker, position = spots[number]
            lateness = by_worker[worker].lateness(job, position)
            if lateness is None:
                continue
            price = floors[number] + lateness * self.problem.weights.lateness
            if best is None or price < best:
                found, best = Insertion(worker, position, price), price
        return found

    def total(self, days: Sequence[Day]) -> int:
        """Return what a plan costs."""
        done = {job for day in days for job in day.jobs}
        return sum(day.price for day in days) + sum(price for job, price in enumerate(self.leaving) if job not in done)


def routes_of(days: Sequence[Day]) -> Routes:
    """Return the plan that days make."""
    return tuple(day.stops() for day in days)


def _common(job: Job, stretches: Sequence[Span]) -> tuple[Span, ...]:
    both = ((max(a, c), min(b, d) - job.seconds) for a, b in stretches for c, d in job.windows)
    return tuple(sorted((first, last) for first, last in both if first <= last))


def anchored(anchors: Sequence[Anchor], jobs: Sequence[Stop]) -> list[int]:
    """Return jobs and anchors as the items of a day, by time."""
    items = [(stop.begins, stop.job) for stop in jobs] + [(one.begins, ~n) for n, one in enumerate(anchors)]
    return [item for _, item in sorted(items)]
