"""What the order of one seed is made of and comes to: its dice, its doorbells, what was asked for and claimed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pipeline.runtime.errors import Permanent
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.ledger import Line
from pipeline.stage import Again, Blocked
from tests.faults.simulated_stages import WAIT, emit

#: Small: faults meet each other, and a run takes milliseconds.
_GROUPS = 2
#: So many keys are asked for at most.
_KEYS = 4


class Order:
    """The dice, the doorbells and the notes that all share; each run begins them anew."""

    def __init__(self) -> None:
        self.chance = random.Random()
        self.begin(0)

    def begin(self, seed: int) -> None:
        """Begin the order of a seed."""
        self.chance.seed(seed)
        self.bells: list[Line] = []
        self.turns = 0
        self.is_peaceful = False
        self.asked: set[str] = set()
        self.resolved: Counter[str] = Counter()
        self._keys = 0
        self._attempts: dict[int, int] = {}

    def ring(self, lines: set[Line]) -> None:
        """Ring the doorbells of some lines."""
        self.bells += sorted(lines)

    def some_bell(self) -> Line:
        """Return the line of a doorbell that rings, and let it ring no more."""
        return self.bells.pop(self.chance.randrange(len(self.bells)))

    def claimed(self, jobs: Sequence[Job]) -> None:
        """Note committed claims; AssertionError for an attempt that did not grow."""
        for job in jobs:
            before = self._attempts.get(job.job_id, 0)
            assert job.attempt > before, f"job {job.job_id} was claimed as attempt {job.attempt} after {before}"
            self._attempts[job.job_id] = job.attempt

    def some_steps(self) -> list[Emit]:
        """Return one or two steps to ask for: a new first one, or the second of a group once more."""
        groups = [f"g{self.chance.randrange(_GROUPS)}" for _ in range(self.chance.randint(1, 2))]
        return [self._some_step(group) for group in groups]

    def _some_step(self, group: str) -> Emit:
        if self._keys >= _KEYS or self.chance.random() < 0.4:
            return emit("second", group)
        self._keys += 1
        return emit("first", f"{group}/{self._keys}")

    def fate(self, item: Any) -> Any:
        """Return what becomes of an item: most succeed, and in peace all do."""
        if self.is_peaceful:
            return item
        fates = (item, Again(WAIT, "not yet"), ValueError("broken"), Permanent("never"), Blocked("a person must act"))
        return self.chance.choices(fates, [70, 8, 10, 7, 5])[0]
