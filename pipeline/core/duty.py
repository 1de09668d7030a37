"""Who is on duty when: weekly shifts in their own time zone, also over midnight, and leave."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

_WEEK = 7
_DAY = timedelta(days=1)


def zone(name: str) -> tzinfo:
    """Return the IANA time zone of that name; raises ValueError for one that is not known here."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{name[:60]!r} is no time zone; write one like Europe/Berlin or UTC") from error


@dataclass(frozen=True, slots=True)
class Shift:
    """Hours of one weekday (Monday is 0) by the clocks on the wall in a time zone.

    It begins with `begins` and is over at `ends`, on the next day where that is not later: 22:00 to 06:00 is a night,
    and 00:00 to 00:00 cannot be written. When clocks are put back, an hour inside it counts twice; when they are put
    forward, the hour that is left out does not exist. Raises ValueError for a weekday, time or zone that is none.
    """

    weekday: int
    begins: time
    ends: time
    timezone: str

    def __post_init__(self) -> None:
        if not 0 <= self.weekday < _WEEK:
            raise ValueError(f"a weekday is 0 (Monday) to 6, not {self.weekday}")
        if self.begins == self.ends:
            raise ValueError("a shift cannot end at the time it begins; two shifts make a whole day")
        zone(self.timezone)

    @property
    def is_over_midnight(self) -> bool:
        """True when it ends on the day after it began."""
        return self.ends < self.begins

    def covers(self, at: datetime) -> bool:
        """Say whether it goes on at a moment (with its offset)."""
        local = at.astimezone(zone(self.timezone))
        now, today = local.time(), local.weekday()
        if not self.is_over_midnight:
            return today == self.weekday and self.begins <= now < self.ends
        return (today == self.weekday and now >= self.begins) or (
            today == (self.weekday + 1) % _WEEK and now < self.ends
        )


@dataclass(frozen=True, slots=True)
class Leave:
    """When somebody is away: from its beginning to just before its end."""

    begins_at: datetime
    ends_at: datetime

    def covers(self, at: datetime) -> bool:
        """Say whether it goes on at a moment."""
        return self.begins_at <= at < self.ends_at


def is_on_shift(shifts: Iterable[Shift], at: datetime) -> bool:
    """Say whether one of the shifts goes on; somebody without any is always on duty."""
    given = list(shifts)
    return not given or any(shift.covers(at) for shift in given)


def away_until(leaves: Iterable[Leave], at: datetime) -> datetime | None:
    """Return the end of the leave that goes on, through those that follow it without a gap; None for somebody here."""
    end = None
    for leave in sorted(leaves, key=lambda one: one.begins_at):
        if leave.covers(end or at):
            end = leave.ends_at
    return end


def next_begin(shifts: Iterable[Shift], at: datetime) -> datetime | None:
    """Return when the next shift begins after a moment, None without shifts.

    A beginning in the hour that clocks leave out is an hour later by them; one that comes twice is meant once.
    """
    found = [begin for shift in shifts for begin in _begins(shift, at) if begin > at]
    return min(found, default=None)


def _begins(shift: Shift, at: datetime) -> Iterable[datetime]:
    local = at.astimezone(zone(shift.timezone))
    ahead = (shift.weekday - local.weekday()) % _WEEK
    for days in (ahead, ahead + _WEEK):
        day = local.date() + days * _DAY
        yield datetime.combine(day, shift.begins, zone(shift.timezone)).astimezone(at.tzinfo)
