"""Simulated fleets, replayed under policies by as many processes as there are cores."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

from pipeline.core import fleet
from pipeline.core.fleet import Size
from pipeline.core.histories import History, Stretches
from pipeline.core.outcomes import Outcome
from pipeline.core.replaying import replay
from pipeline.core.surroundings import Surroundings
from pipeline.core.triage_policy import TriagePolicy

#: What is taken unless something else is asked for.
SIZE, AROUND = Size(), Surroundings()


@dataclass(frozen=True, slots=True)
class Fleets:
    """The fleets of some seeds; each is built once per process."""

    seeds: tuple[int, ...]
    size: Size = SIZE
    around: Surroundings = AROUND
    executor: Executor | None = None

    def replay(self, policy: TriagePolicy, first: int | None = None) -> list[Outcome]:
        """Return what a policy costs over each fleet, or the `first` so many of them."""
        seeds = self.seeds[:first]
        told = [(seed, self.size, self.around, policy) for seed in seeds]
        return list((self.executor.map if self.executor else map)(_replay, told))

    def stretches(self) -> list[int]:
        """Return how many stretches of trouble each fleet has."""
        return [len(Stretches(_built(seed, self.size).reports).all()) for seed in self.seeds]


@contextmanager
def fleets(
    seeds: Sequence[int], size: Size = SIZE, around: Surroundings = AROUND, *, processes: int = 1
) -> Iterator[Fleets]:
    """Yield the fleets of some seeds; the processes end with the block."""
    if processes <= 1:
        yield Fleets(tuple(seeds), size, around)
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield Fleets(tuple(seeds), size, around, executor)


@lru_cache(maxsize=64)
def _built(seed: int, size: Size) -> History:
    return fleet.build(seed, size)


def _replay(asked: tuple[int, Size, Surroundings, TriagePolicy]) -> Outcome:
    seed, size, around, policy = asked
    technicians = around.driving.technicians(size.assets)
    return replay(_built(seed, size), policy, replace(around, seed=seed), technicians=technicians)
