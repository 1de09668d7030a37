"""A plan made better bit by bit: neighbouring visits are taken out and put back where they cost least.

Slack induction by string removals (Christiaens, Vanden Berghe: Transportation Science 54(2), 2020): strings of visits
near one another leave the days they are in, and each goes back where it is cheapest, now and then not quite. What is
worse is kept for a while, the less so the longer it lasts.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from contextlib import suppress

from pipeline.core.plan_routes import Board, Day, anchored, routes_of
from pipeline.core.plans import LEFT_OUT, Problem, Routes

#: Visits that leave at once on average, and the longest string that leaves one day.
_OUT, _STRING = 10, 10
#: Of the mean price of a visit: how much worse a plan may be at the beginning, and at the end.
_WARM, _COLD = 0.3, 0.003
#: How often a good place is passed over.
_BLINK = 0.01


def days_of(board: Board, routes: Routes) -> list[Day]:
    """Return a plan's visits as days. Raises ValueError for one whose order cannot be kept."""
    workers = board.problem.workers
    return [Day(board, number, anchored(workers[number].anchors, route)) for number, route in enumerate(routes)]


def improve(problem: Problem, routes: Routes, spent: Callable[[], float], *, seed: int = 0) -> Routes:
    """Return a plan that costs no more, found while `spent`, from 0, is below 1: the share of the time that is over."""
    search = _Search(problem, routes, seed)
    while (share := spent()) < 1:
        search.step(share)
    return routes_of(search.best)


class _Search:
    """One search: where it stands, and the best plan that it met."""

    def __init__(self, problem: Problem, routes: Routes, seed: int) -> None:
        self._board = Board(problem)
        self._drawn = random.Random(seed)  # noqa: S311 - a search, not a secret
        self._days = self.best = days_of(self._board, routes)
        self._out = set(range(len(problem.jobs))) - {stop.job for route in routes for stop in route}
        self._price = self._best_price = self._board.total(self._days)
        self._near = [_by_distance(problem, number) for number in range(len(problem.jobs))]
        self._warmth = self._price / max(1, len(problem.jobs))

    def step(self, share: float) -> None:
        """Try one change; `share` of the time is over."""
        days, out = self._ruined()
        days, left = self._recreated(days, out)
        price = sum(day.price for day in days) + sum(self._board.leaving[job] for job in left)
        heat = self._warmth * _WARM * (_COLD / _WARM) ** share
        # As with the Metropolis rule, in Schrimpf's form.
        if price < self._price - heat * math.log(1 - self._drawn.random()):
            self._days, self._out, self._price = days, left, price
        if price < self._best_price:
            self.best, self._best_price = days, price

    def _ruined(self) -> tuple[list[Day], set[int]]:
        """Return the days without some strings of visits that are near one another, and all that is out."""
        days, out = list(self._days), set(self._out)
        sizes = [len(day.jobs) for day in days if day.jobs]
        if not sizes:
            return days, out
        longest = min(_STRING, max(1, sum(sizes) // len(sizes)))
        strings = int(self._drawn.uniform(1, 4 * _OUT / (1 + longest)))
        where = {job: day.worker for day in days for job in day.jobs}
        touched: set[int] = set()
        for job in self._near[self._drawn.randrange(len(self._near))]:
            if len(touched) >= strings:
                break
            worker = where.get(job)
            if worker is None or worker in touched:
                continue
            gone = self._string(days[worker].jobs, job, longest)
            touched.add(worker)
            # The way past a place of unknown position may be longer than the way through it.
            with suppress(ValueError):
                days[worker] = days[worker].without(gone)
                out.update(gone)
        return days, out

    def _string(self, jobs: Sequence[int], job: int, longest: int) -> Sequence[int]:
        """Return visits in a row, of which `job` is one."""
        size = self._drawn.randint(1, min(longest, len(jobs)))
        at = jobs.index(job)
        begin = self._drawn.randint(max(0, at - size + 1), min(at, len(jobs) - size))
        return jobs[begin : begin + size]

    def _recreated(self, days: list[Day], out: set[int]) -> tuple[list[Day], set[int]]:
        left: set[int] = set()
        for job in self._order(out):
            seen = [day for day in days if self._drawn.random() >= _BLINK]
            found = self._board.cheapest(job, seen, below=self._board.leaving[job])
            if found is None:
                left.add(job)
            else:
                days[found.worker] = days[found.worker].inserted(job, found.position)
        return days, left

    def _order(self, out: set[int]) -> list[int]:
        """Return what is out, the urgent first, else by one of four rules."""
        jobs = self._board.problem.jobs
        tie = {job: self._drawn.random() for job in sorted(out)}
        rule = self._drawn.choices(
            (
                lambda job: tie[job],
                lambda job: -jobs[job].seconds,
                lambda job: len(jobs[job].able),
                lambda job: sum(last - first for first, last in jobs[job].windows),
            ),
            (4, 2, 2, 1),
        )[0]
        return sorted(out, key=lambda job: (-LEFT_OUT[jobs[job].priority], rule(job), tie[job]))


def _by_distance(problem: Problem, number: int) -> list[int]:
    way = problem.travel[problem.jobs[number].place]
    return sorted(range(len(problem.jobs)), key=lambda other: (other != number, way[problem.jobs[other].place], other))
