"""What stands around triage while a history is replayed: who answers questions, and who drives; with reasons.

Like the rates of the fleet, these were written down before any policy was measured (decision 52).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from random import Random

from models.enums import TaskResult


@dataclass(frozen=True, slots=True)
class Answering:
    """Those who answer questions: they call the site, look at the meter or a camera."""

    #: Half of the answers come within twelve minutes, one in twenty after three quarters of an hour.
    delay: timedelta = timedelta(minutes=12)
    spread: float = 0.8
    #: How often they are right: of what is really down, and of what is not. A caller may stand before the wrong one.
    right_when_real: float = 0.93
    right_when_not: float = 0.90
    #: Nobody picked up: asked again.
    no_answer: float = 0.08

    def draw(self, random: Random, *, is_real: bool) -> TaskResult:
        """Draw what is answered."""
        unanswered, right = random.random() < self.no_answer, random.random()
        if unanswered:
            return TaskResult.NEEDS_MORE_DATA
        is_right = right < (self.right_when_real if is_real else self.right_when_not)
        return TaskResult.CONFIRMED_ISSUE if is_right is is_real else TaskResult.FALSE_ALARM

    def draw_delay(self, random: Random) -> timedelta:
        """Draw how long an answer takes."""
        return self.delay * math.exp(self.spread * random.gauss(0, 1))


@dataclass(frozen=True, slots=True)
class Driving:
    """Those who drive: what is due first is served first, by whoever is free."""

    #: One technician on duty for so many assets; None: always enough of them.
    assets_each: int | None = 150
    #: Through a city: half an hour, seldom more than one and a half.
    travel: timedelta = timedelta(minutes=32)
    spread: float = 0.45
    #: To repair, and to find that there is nothing to repair.
    repair: timedelta = timedelta(minutes=75)
    look: timedelta = timedelta(minutes=20)

    def technicians(self, assets: int) -> int | None:
        """Return how many are on duty for a fleet; None: always enough."""
        return None if self.assets_each is None else max(1, round(assets / self.assets_each))

    def draw_travel(self, random: Random) -> timedelta:
        """Draw how long it takes to get there."""
        return self.travel * math.exp(self.spread * random.gauss(0, 1))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything around triage; the seed makes the same draws for every policy."""

    answering: Answering = Answering()
    driving: Driving = Driving()
    #: Within this somebody must stand before a critical asset, from the first report of it on: the longer one of the
    #: two that contract 003's deadlines give to what it calls critical (a priority of 80 and more).
    critical_within: timedelta = timedelta(hours=4)
    #: What became critical so shortly before the end of a history is not counted: nobody could have come.
    settling: timedelta = timedelta(days=1)
    seed: int = 0

    def random(self, *about: object) -> Random:
        """Return the numbers that belong to one question or one drive, whoever asks first."""
        return Random(":".join(map(str, (self.seed, *about))))  # noqa: S311 - a replay must be repeatable
