"""Days to plan, drawn at random: a town, technicians who differ, and jobs that not everybody may do."""

from __future__ import annotations

import random

from models.enums import DispatchPriority
from pipeline.core.plans import Anchor, Job, Problem, Worker
from pipeline.core.travel import Position, matrix

HOUR = 3_600
_SKILLS = 6
_CENTRE = Position(48.14, 11.58)
_PRIORITIES = (DispatchPriority.ROUTINE,) * 85 + (DispatchPriority.URGENT,) * 12 + (DispatchPriority.EMERGENCY,) * 3


def day_problem(seed: int, jobs: int, workers: int, *, minutes: tuple[int, ...] = (15, 20, 30, 30, 45)) -> Problem:
    """Return a day; the same seed makes the same one."""
    drawn = random.Random(seed)
    places = [_somewhere(drawn) for _ in range(workers + jobs)]
    skills = [frozenset(drawn.sample(range(_SKILLS), 3)) for _ in range(workers)]
    return Problem(
        jobs=tuple(_job(drawn, workers + number, skills, minutes) for number in range(jobs)),
        workers=tuple(_worker(drawn, number, len(places)) for number in range(workers)),
        travel=matrix(places),
        opens=0,
        closes=24 * HOUR,
    )


def _somewhere(drawn: random.Random) -> Position | None:
    if drawn.random() < 0.01:
        return None
    return Position(drawn.gauss(_CENTRE.lat, 0.06), drawn.gauss(_CENTRE.lon, 0.09))


def _worker(drawn: random.Random, home: int, places: int) -> Worker:
    begins = drawn.choice((7, 8, 8, 9)) * HOUR
    noon = begins + 4 * HOUR
    anchors = ()
    if drawn.random() < 0.3:
        at = begins + drawn.randrange(1, 7) * HOUR
        anchors = (Anchor(at, at + HOUR // 2, drawn.randrange(places)),)
    most = drawn.choice((None, None, 15, 20))
    return Worker(((begins, noon), (noon + HOUR // 2, begins + 9 * HOUR)), home, anchors, most)


def _job(drawn: random.Random, place: int, skills: list[frozenset[int]], minutes: tuple[int, ...]) -> Job:
    skill = drawn.randrange(_SKILLS)
    able = frozenset(number for number, own in enumerate(skills) if skill in own)
    begins = drawn.choice((8, 10, 12, 14)) * HOUR
    windows = ((begins, begins + 3 * HOUR),) if drawn.random() < 0.3 else ((0, 24 * HOUR),)
    due = drawn.randrange(8 * HOUR, 40 * HOUR) if drawn.random() < 0.6 else None
    known = frozenset(drawn.sample(sorted(able), 1)) if able and drawn.random() < 0.2 else frozenset()
    return Job(place, drawn.choice(minutes) * 60, windows, able, due, drawn.choice(_PRIORITIES), known)
