"""Levels: which one points are worth, what a week does to it, and when a week begins in the workshop.

Seed-behaviours, 3.4; decision 47 tells what it left open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import takewhile
from uuid import UUID
from zoneinfo import ZoneInfo

from models.enums import LevelStatus
from pipeline.core.workshop_rules import Progression

LOWEST, HIGHEST = 1, 5
#: Days that an overview tells of at most.
MOST_DAYS = 366
#: Nothing else is a day of work; days around these can be counted in every time zone.
YEARS = range(2000, 3000)
#: A week is judged so long after it ended, so that what was under way at midnight is in the ledger.
JUDGED_AFTER = timedelta(minutes=5)
WEEK = timedelta(days=7)
#: Weeks that nobody judged in time are made up for, so many at most.
MOST_WEEKS = 8
_LARGEST, _SMALLEST = 2**31 - 1, -(2**31)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where somebody stands."""

    level: int = LOWEST
    is_warned: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a week did."""

    status: LevelStatus
    level: int
    is_warned: bool

    @property
    def is_up(self) -> bool:
        """True when it earned a coupon."""
        return self.status is LevelStatus.LEVEL_UP


def level_of(points: int, thresholds: Sequence[int]) -> int:
    """Return the level that points are worth; thresholds ascend, the first is 0, and fewer than that is the lowest."""
    return max(LOWEST, sum(1 for _ in takewhile(lambda one: one <= points, thresholds)))


def judge(standing: Standing, week_points: int, all_points: int, rules: Progression) -> Verdict:
    """Return what a week does to a level.

    The target met: up to what all points are worth, never down, and no warning is left. Missed: first a warning, and
    with that in force the lowest level, which uses the warning up.
    """
    if week_points >= rules.weekly_target_xp:
        level = max(standing.level, level_of(all_points, rules.level_thresholds))
        status = LevelStatus.LEVEL_UP if level > standing.level else LevelStatus.MAINTAINED
        return Verdict(status, level, is_warned=False)
    if standing.is_warned:
        return Verdict(LevelStatus.RESET, LOWEST, is_warned=False)
    return Verdict(LevelStatus.WARNING, standing.level, is_warned=True)


def target(days: int, weekly_target: int) -> int:
    """Return what a number of days asks for: the week's target in proportion, rounded up."""
    return -(-weekly_target * days // 7)


def bounded(points: int) -> int:
    """Return a sum of points as a column of 32 bits takes it."""
    return max(_SMALLEST, min(_LARGEST, points))


def coupon_reference(week_start: date, person_id: UUID) -> str:
    """Return what a coupon is given once for."""
    return f"level_up_coupon:{week_start.isoformat()}:{person_id}"


def monday_of(day: date) -> date:
    """Return the Monday of a day's week."""
    return day - timedelta(days=day.weekday())


def last_week(now: datetime, zone: ZoneInfo) -> date:
    """Return the Monday of the newest week that may be judged at a moment (aware)."""
    return monday_of((now - JUDGED_AFTER).astimezone(zone).date()) - WEEK


def first_due(judged: date, last: date) -> date | None:
    """Return the oldest week that is to be judged: after `judged`, up to `last`, which is over; None when none is."""
    return None if judged >= last else max(judged + WEEK, last - (MOST_WEEKS - 1) * WEEK)
