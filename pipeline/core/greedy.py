"""The plan that nobody needs a solver for: job after job, each where it costs least; the same for the same day."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.core.plan_routes import Board, Day, routes_of
from pipeline.core.plans import LEFT_OUT, Problem, Routes


def greedy(problem: Problem) -> Routes:
    """Return a plan that holds: the most urgent first, then those that fewest can do, then those that are due first."""
    board = Board(problem)
    return routes_of(fill(board, board.empty(), range(len(problem.jobs))))


def fill(board: Board, days: list[Day], jobs: Iterable[int]) -> list[Day]:
    """Put jobs into days, each where it costs least, unless leaving it out costs less. Return the days."""
    days = list(days)
    for job in sorted(jobs, key=lambda number: _rank(board, number)):
        found = board.cheapest(job, days, below=board.leaving[job])
        if found is not None:
            days[found.worker] = days[found.worker].inserted(job, found.position)
    return days


def _rank(board: Board, number: int) -> tuple[int, ...]:
    job, problem = board.problem.jobs[number], board.problem
    due = problem.closes if job.due is None else job.due
    return (-LEFT_OUT[job.priority], len(job.able), due, -job.seconds, number)
