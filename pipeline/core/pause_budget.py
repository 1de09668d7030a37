"""How long a technician may still pause: so much on each local calendar day, and when that runs out, exactly.

A day of a zone begins at the first moment at which its date, or a later one, is on the calendar there: at midnight; at
the end of the gap where a clock change leaves midnight out; and a day that a zone left out has no time at all. So each
moment is of exactly one day, whatever clocks do, and a day may have 23 or 25 hours. Spans are half open: at midnight
the budget is new, and a pause that its budget would end at midnight goes on. All is reckoned in UTC, by microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

#: What counts today began at most so long ago: a day had 47 hours where a zone went over the date line.
LONGEST_DAY = timedelta(days=2)
#: Nobody looks further ahead: a budget of a whole day runs out on a day of 25 hours only, once a year.
_DAYS_AHEAD = 400
_NONE = timedelta(0)
_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pause:
    """A time that somebody did not work in, up to its end and without it; an end of None: it goes on."""

    began_at: datetime
    ended_at: datetime | None = None

    def within(self, since: datetime, until: datetime) -> timedelta:
        """Return how much of it lies in a span."""
        end = until if self.ended_at is None else min(self.ended_at, until)
        return max(end - max(self.began_at, since), _NONE)


@dataclass(frozen=True, slots=True)
class Terms:
    """How long one may pause on a local day, in force since a moment until the next terms are."""

    since: datetime
    limit: timedelta
    zone: ZoneInfo


def remaining(pauses: Sequence[Pause], now: datetime, limit: timedelta, zone: ZoneInfo) -> timedelta:
    """Return what is left today of the budget, never less than nothing. `pauses` are one person's, in any order."""
    begin, _ = day_around(now, zone)
    return max(limit - _used(pauses, begin, _utc(now)), _NONE)


def runs_out_at(pauses: Sequence[Pause], now: datetime, limit: timedelta, zone: ZoneInfo) -> datetime | None:
    """Return the first moment, from now on, at which nothing is left, were a pause to go on from now without an end.

    None when that is never: on each day there is as much budget as there is time.
    """
    at = _utc(now)
    day = _day_of(at, zone)
    begin, end = first_moment(day, zone), first_moment(day + _DAY, zone)
    runs_out = at + max(limit - _used(pauses, begin, at), _NONE)
    if runs_out < end:
        return runs_out
    return next((since + limit for since, until in _days_after(day, zone) if since + limit < until), None)


def ends_at(pauses: Sequence[Pause], began_at: datetime, terms: Sequence[Terms]) -> datetime | None:
    """Return when the pause that goes on since `began_at` is over; None when its budget never runs out.

    `terms` in the order in which they came into force, of which the first were when the pause began. So it is always
    the same moment, whoever looks and however late; new terms end a pause when they come, and not before.
    """
    untils = [*(after.since for _, after in pairwise(terms)), None]
    for one, until in zip(terms, untils, strict=True):
        since = max(_utc(one.since), _utc(began_at))
        if until is not None and _utc(until) <= since:
            continue
        found = runs_out_at(pauses, since, one.limit, one.zone)
        if found is not None and (until is None or found < _utc(until)):
            return found
    return None


def day_around(at: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return when the local day of a moment began and when the next one does, in UTC."""
    day = _day_of(_utc(at), zone)
    return first_moment(day, zone), first_moment(day + _DAY, zone)


def first_moment(day: date, zone: ZoneInfo) -> datetime:
    """Return the first moment, in UTC, at which a date or a later one is on the calendar of a zone."""
    midnight = datetime.combine(day, time(), zone)
    found = midnight.astimezone(UTC)
    if found.astimezone(zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return found
    # There is no such midnight: the clock went over it, at some second between its two readings.
    low, high = midnight.replace(fold=1).astimezone(UTC), found
    while high - low > _SECOND:
        middle = low + (high - low) // _SECOND // 2 * _SECOND
        low, high = (low, middle) if middle.astimezone(zone).date() >= day else (middle, high)
    return high


def _used(pauses: Sequence[Pause], since: datetime, until: datetime) -> timedelta:
    return sum((pause.within(since, until) for pause in pauses), _NONE)


def _day_of(at: datetime, zone: ZoneInfo) -> date:
    day = at.astimezone(zone).date()
    # Some clocks went back over midnight a minute after it: the next day had begun.
    while first_moment(day + _DAY, zone) <= at:
        day += _DAY
    return day


def _days_after(day: date, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
    """Yield the days after one, in order; those that a zone left out begin and end at once."""
    return pairwise(first_moment(day + ahead * _DAY, zone) for ahead in range(1, _DAYS_AHEAD))


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC)
