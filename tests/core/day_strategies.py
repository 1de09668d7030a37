"""Small days to plan, for Hypothesis: times in steps of five minutes, places along one street."""

from __future__ import annotations

from hypothesis import strategies as st

from models.enums import DispatchPriority
from pipeline.core.plans import Anchor, Job, Problem, Span, Worker

STEP = 300
#: Six hours.
CLOSES = 72 * STEP


def _span(least: int, most: int) -> st.SearchStrategy[Span]:
    return st.tuples(st.integers(0, 66), st.integers(least, most)).map(
        lambda drawn: (drawn[0] * STEP, min(CLOSES, (drawn[0] + drawn[1]) * STEP))
    )


def _apart(spans: list[Span]) -> tuple[Span, ...]:
    """Return spans in order, without those that touch one before."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if begin < end and (not found or begin > found[-1][1]):
            found.append((begin, end))
    return tuple(found)


@st.composite
def _worker(draw: st.DrawFn, places: int) -> Worker:
    stretches = _apart(draw(st.lists(_span(12, 60), max_size=3)))
    spans = _apart(draw(st.lists(_span(1, 8), max_size=2)))
    anchors = tuple(Anchor(begin, end, draw(st.integers(0, places - 1))) for begin, end in spans)
    return Worker(stretches, draw(st.integers(0, places - 1)), anchors, draw(st.sampled_from((None, None, 0, 1, 2))))


@st.composite
def _job(draw: st.DrawFn, places: int, workers: int) -> Job:
    everybody = range(workers)
    windows = _apart(draw(st.lists(_span(3, 72), min_size=1, max_size=2)))
    return Job(
        place=draw(st.integers(0, places - 1)),
        seconds=draw(st.integers(1, 12)) * STEP,
        windows=draw(st.sampled_from((windows, ((0, CLOSES),)))),
        able=frozenset(one for one in everybody if draw(st.integers(0, 3))),
        due=draw(st.none() | st.integers(-10, 100).map(lambda one: one * STEP)),
        priority=draw(st.sampled_from(DispatchPriority)),
        known=frozenset(one for one in everybody if not draw(st.integers(0, 4))),
    )


@st.composite
def day_problems(draw: st.DrawFn, most_jobs: int = 8, most_workers: int = 3) -> Problem:
    """Return a day."""
    where = draw(st.lists(st.integers(0, 12), min_size=1, max_size=6))
    workers = draw(st.lists(_worker(len(where)), min_size=1, max_size=most_workers))
    jobs = draw(st.lists(_job(len(where), len(workers)), max_size=most_jobs))
    travel = [[abs(here - there) * STEP for there in where] for here in where]
    return Problem(tuple(jobs), tuple(workers), travel, 0, CLOSES)
