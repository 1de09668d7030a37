"""When somebody came, by the clock on the workshop's wall: which day it is, what that is called, what it is worth.

Seed-behaviours, 3.4. Minutes decide, not seconds: 10:00:59 is 10:00.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from pipeline.core.workshop_rules import Attendance

#: Whoever came so long ago may still leave, though the local day is another: a night shift is one day's work.
LONGEST_SHIFT = timedelta(hours=16)


class Punctuality(StrEnum):
    """What a time of coming is called; at the last minute of being on time, "on time" and no longer "early"."""

    EARLY = "early"
    ON_TIME = "on_time"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody came."""

    work_date: date
    called: Punctuality
    xp: int


def day_of(now: datetime, zone: ZoneInfo) -> date:
    """Return the local day of a moment (aware)."""
    return now.astimezone(zone).date()


def arrival(now: datetime, zone: ZoneInfo, rules: Attendance) -> Arrival:
    """Return the day, the name and the points of coming at a moment (aware)."""
    local = now.astimezone(zone)
    minute = local.time().replace(second=0, microsecond=0, fold=0)
    if minute <= rules.on_time_until:
        called = Punctuality.EARLY if minute < rules.on_time_until else Punctuality.ON_TIME
        return Arrival(local.date(), called, rules.on_time_xp)
    if minute <= rules.grace_until:
        return Arrival(local.date(), Punctuality.ON_TIME, rules.grace_xp)
    return Arrival(local.date(), Punctuality.LATE, rules.late_xp)
