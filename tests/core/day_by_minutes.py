"""A technician's pauses as somebody would watch them who looks at the clock on the wall once a minute, and only that.

Knows nothing of the product's reckoning: it counts minutes one by one. What is decided at a minute holds until the
next.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)
#: No clock of these tests went further back than an hour from a minute after midnight.
_BACK = 61


def moment(minute: int) -> datetime:
    """Return a minute since 1970 as a time."""
    return _EPOCH + minute * _MINUTE


def minute_of(at: datetime) -> int:
    """Return a time as a minute since 1970."""
    return (at - _EPOCH) // _MINUTE


@cache
def wall(zone: str, minute: int) -> date:
    """Return the date on the calendar of a zone."""
    return moment(minute).astimezone(ZoneInfo(zone)).date()


@cache
def calendar_day(zone: str, minute: int) -> date:
    """Return the latest date that a calendar has shown: no earlier one when its clock goes back over midnight."""
    return max(wall(zone, one) for one in range(minute - _BACK, minute + 1))


class Watched:
    """One technician, minute by minute."""

    def __init__(self, minute: int, zone: str, limit: int) -> None:
        """Begin at a minute, with minutes of pause on each day of a zone."""
        self.minute, self.zone, self.limit, self.state = minute, zone, limit, "stopped"
        #: When pauses were over by themselves.
        self.over: list[int] = []
        #: Minutes worked since the session began.
        self.worked = 0
        self._paused: list[int] = []
        self._by_day: Counter[date] = Counter()

    def used(self) -> int:
        """Return the minutes of pause on the day that it is now."""
        return self._by_day[calendar_day(self.zone, self.minute)]

    def change(self, zone: str, limit: int) -> None:
        """Let other rules hold from this minute on."""
        self.zone, self.limit = zone, limit
        self._by_day = Counter(calendar_day(zone, one) for one in self._paused)

    def look(self) -> None:
        """End a pause that may not go on for this minute."""
        if self.state == "paused" and self.used() >= self.limit:
            self.state = "running"
            self.over.append(self.minute)

    def pass_by(self, minutes: int) -> None:
        """Let minutes pass; nobody has looked at the last one."""
        for _ in range(minutes):
            self.look()
            if self.state == "paused":
                self._paused.append(self.minute)
                self._by_day[calendar_day(self.zone, self.minute)] += 1
            elif self.state == "running":
                self.worked += 1
            self.minute += 1
