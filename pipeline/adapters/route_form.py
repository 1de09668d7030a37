"""Problems and plans of a day as they go to the process that solves them, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from models.enums import DispatchPriority
from pipeline.core.plans import Anchor, Job, Problem, Routes, Stop, Weights, Worker


def problem_as_json(problem: Problem) -> dict[str, Any]:
    """Return a problem as JSON."""
    jobs = [{**asdict(job), "able": sorted(job.able), "known": sorted(job.known)} for job in problem.jobs]
    return {
        "jobs": jobs,
        "workers": [asdict(worker) for worker in problem.workers],
        "travel": problem.travel,
        "opens": problem.opens,
        "closes": problem.closes,
        "weights": asdict(problem.weights),
    }


def problem_of(said: Mapping[str, Any]) -> Problem:
    """Return the problem that was written so."""
    return Problem(
        jobs=tuple(_job(one) for one in said["jobs"]),
        workers=tuple(_worker(one) for one in said["workers"]),
        travel=said["travel"],
        opens=said["opens"],
        closes=said["closes"],
        weights=Weights(**said["weights"]),
    )


def routes_as_json(routes: Routes) -> list[list[tuple[int, int]]]:
    """Return a plan as JSON."""
    return [[(stop.job, stop.begins) for stop in route] for route in routes]


def routes_of_json(said: Sequence[Sequence[Sequence[int]]]) -> Routes:
    """Return the plan that was written so. Raises ValueError or TypeError for what is none."""
    return tuple(tuple(Stop(int(job), int(begins)) for job, begins in route) for route in said)


def _job(said: Mapping[str, Any]) -> Job:
    windows = tuple((begin, end) for begin, end in said["windows"])
    sets = {name: frozenset(said[name]) for name in ("able", "known")}
    return Job(**{**said, **sets, "windows": windows, "priority": DispatchPriority(said["priority"])})


def _worker(said: Mapping[str, Any]) -> Worker:
    return Worker(
        stretches=tuple((begin, end) for begin, end in said["stretches"]),
        home=said["home"],
        anchors=tuple(Anchor(**one) for one in said["anchors"]),
        most=said["most"],
    )
