"""Hours of business: which time of a calendar counts, across time zones, clock changes and holidays.

A moment counts when the clock on the wall then shows a time within a span of its day, and that day is no holiday. So an
hour that the wall shows twice in autumn counts twice, and one that it never shows in spring does not count. Time is
reckoned in whole microseconds, so that what is added can be taken away again exactly.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

#: A deadline further away than this is as good as none: a search ends here.
HORIZON = timedelta(days=3660)
#: Bounds of what a person may write down.
MOST_SPANS, LEAST_WEEK, MOST_HOLIDAYS = 12, 60, 2_000

Span = tuple[int, int]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.date().toordinal()
_MICRO = timedelta(microseconds=1)
_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_DAY = 1440 * _MINUTE
_LOOK = 3 * 60 * _MINUTE
_TIME = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")


class Calendar:
    """Weekly hours in one time zone, without the holidays; it remembers the days that were asked for."""

    def __init__(self, zone: ZoneInfo, hours: Mapping[int, Sequence[Span]], holidays: Collection[date] = ()) -> None:
        """Make a calendar from spans in minutes of the day, by weekday (Monday is 0), in order and apart.

        Call `read` for what a person wrote: it checks.
        """
        self._zone, self._hours = zone, {day: tuple(spans) for day, spans in hours.items()}
        self._holidays = frozenset(holidays)
        self._known: dict[int, tuple[Span, ...]] = {}

    @classmethod
    def read(cls, timezone: str, hours: Mapping[str, Sequence[Sequence[str]]], holidays: Collection[date]) -> Calendar:
        """Return the calendar as it is stored and written: `{"0": [["08:00", "12:00"], ["13:00", "17:00"]]}`.

        Raises ValueError with words for a zone that nobody knows, spans that overlap or end before they begin, and for
        less than an hour a week.
        """
        spans = {_weekday(day): _spans(day, written) for day, written in hours.items()}
        if sum(end - begin for day in spans.values() for begin, end in day) < LEAST_WEEK:
            raise ValueError(f"a calendar has at least {LEAST_WEEK} minutes of work a week; give hours to some day")
        if len(holidays) > MOST_HOLIDAYS:
            raise ValueError(f"a calendar has at most {MOST_HOLIDAYS} holidays; take out those that are over")
        return cls(zone_of(timezone), spans, holidays)

    def elapsed(self, since: datetime, until: datetime) -> timedelta:
        """Return how much time between two moments counts; nothing when they are in the other order."""
        begin, end = _micros(since), _micros(until)
        total = 0
        for day in range(begin // _DAY, (end - 1) // _DAY + 1):
            for opens, closes in self._windows(day):
                total += max(0, min(closes, end) - max(opens, begin))
        return timedelta(microseconds=total)

    def add(self, start: datetime, duration: timedelta) -> datetime:
        """Return the first moment by which `duration` has counted; `HORIZON` after the start when that is never."""
        left, begin = duration // _MICRO, _micros(start)
        if left <= 0:
            return start
        first = begin // _DAY
        for day in range(first, first + HORIZON.days):
            for opens, closes in self._windows(day):
                since = max(opens, begin)
                if closes - since >= left:
                    return _moment(since + left)
                left -= max(0, closes - since)
        return start + HORIZON

    def subtract(self, end: datetime, duration: timedelta) -> datetime:
        """Return the last moment since which `duration` has counted; `HORIZON` before the end when that is never."""
        left, until = duration // _MICRO, _micros(end)
        if left <= 0:
            return end
        last = until // _DAY
        for day in range(last, last - HORIZON.days, -1):
            for opens, closes in reversed(self._windows(day)):
                to = min(closes, until)
                if to - opens >= left:
                    return _moment(to - left)
                left -= max(0, to - opens)
        return end - HORIZON

    def _windows(self, day: int) -> tuple[Span, ...]:
        """Return what counts of a day of UTC, in order and apart."""
        found = self._known.get(day)
        if found is None:
            found = self._known[day] = tuple(_joined(self._pieces(day * _DAY, (day + 1) * _DAY)))
        return found

    def _pieces(self, begin: int, end: int) -> Iterator[Span]:
        for since, until, offset in self._stretches(begin, end):
            for local in range((since + offset) // _DAY, (until + offset - 1) // _DAY + 1):
                for opens, closes in self._of_day(local):
                    midnight = local * _DAY - offset
                    piece = (max(since, midnight + opens * _MINUTE), min(until, midnight + closes * _MINUTE))
                    if piece[0] < piece[1]:
                        yield piece

    def _of_day(self, local: int) -> tuple[Span, ...]:
        day = date.fromordinal(_EPOCH_DAY + local)
        return () if day in self._holidays else self._hours.get(day.weekday(), ())

    def _stretches(self, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield the parts of a day in which the zone keeps one offset from UTC."""
        since, offset = begin, self._offset(begin)
        for at in range(begin, end, _LOOK):
            after = self._offset(at + _LOOK)
            if after != offset:
                change = self._change(at, at + _LOOK, offset)
                yield since, change, offset
                since, offset = change, after
        if since < end:
            yield since, end, offset

    def _change(self, low: int, high: int, before: int) -> int:
        """Return the first second with another offset: halved until found."""
        while high - low > _SECOND:
            middle = (low + high) // 2 // _SECOND * _SECOND
            low, high = (middle, high) if self._offset(middle) == before else (low, middle)
        return high

    def _offset(self, at: int) -> int:
        offset = _moment(at).astimezone(self._zone).utcoffset()
        assert offset is not None
        return offset // _MICRO


def add(calendar: Calendar | None, start: datetime, duration: timedelta) -> datetime:
    """Return when `duration` has counted since `start`; without a calendar every moment counts."""
    return start + max(duration, timedelta(0)) if calendar is None else calendar.add(start, duration)


def subtract(calendar: Calendar | None, end: datetime, duration: timedelta) -> datetime:
    """Return since when `duration` has counted until `end`."""
    return end - max(duration, timedelta(0)) if calendar is None else calendar.subtract(end, duration)


def elapsed(calendar: Calendar | None, since: datetime, until: datetime) -> timedelta:
    """Return how much time between two moments counts; never negative."""
    return max(until - since, timedelta(0)) if calendar is None else calendar.elapsed(since, until)


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name. Raises ValueError with words for any other."""
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # a folder's name, a path, or no zone at all
        raise ValueError(f"{name[:60]!r} is no time zone; write an IANA name, such as Europe/Berlin") from None


def days_of_feed(feed: str) -> dict[date, str]:
    """Return the days of an iCalendar feed (RFC 5545), with their names: every event, from its first to its last day.

    Only events of at most a month are days off. Raises ValueError when there is none at all.
    """
    unfolded = re.sub(r"\r?\n[ \t]", "", feed)
    days: dict[date, str] = {}
    for event in re.findall(r"BEGIN:VEVENT(.*?)END:VEVENT", unfolded, re.DOTALL | re.IGNORECASE):
        days |= _days_of_event(event)
    if not days:
        raise ValueError("there is no event with a date in it; is it an iCalendar file (.ics)?")
    return days


def _days_of_event(event: str) -> dict[date, str]:
    first, after = _day(event, "DTSTART"), _day(event, "DTEND")
    if first is None:
        return {}
    named = re.search(r"^SUMMARY[^:\r\n]*:(.*?)\r?$", event, re.MULTILINE | re.IGNORECASE)
    name = re.sub(r"\\([,;\\])", r"\1", named.group(1)).strip()[:200] if named else ""
    length = min(max((after - first).days if after else 1, 1), 31)
    return {first + timedelta(days=number): name for number in range(length)}


def _day(event: str, name: str) -> date | None:
    found = re.search(rf"^{name}[^:\r\n]*:(\d{{4}})(\d\d)(\d\d)", event, re.MULTILINE | re.IGNORECASE)
    try:
        return date(*map(int, found.groups())) if found else None
    except ValueError:
        return None


def _weekday(day: str) -> int:
    if day not in tuple("0123456"):
        raise ValueError(f"{day[:20]!r} is no day: 0 is Monday, 6 is Sunday")
    return int(day)


def _spans(day: str, written: Sequence[Sequence[str]]) -> tuple[Span, ...]:
    if len(written) > MOST_SPANS:
        raise ValueError(f"day {day} has more than {MOST_SPANS} spans")
    spans: list[Span] = []
    for one in written:
        if len(one) != 2:
            raise ValueError(f"a span of day {day} has two times, as in ['08:00', '12:00']")
        begin, end = (_minutes(time) for time in one)
        if end <= begin:
            raise ValueError(f"{one[0]} to {one[1]} of day {day} ends before it begins; a night takes two days")
        spans.append((begin, end))
    spans.sort()
    for before, after in pairwise(spans):
        if after[0] < before[1]:
            raise ValueError(f"two spans of day {day} overlap")
    return tuple(spans)


def _minutes(time: str) -> int:
    found = _TIME.fullmatch(time)
    minutes = int(found.group(1)) * 60 + int(found.group(2)) if found else 1441
    if minutes > 1440:
        raise ValueError(f"{time[:20]!r} is no time of day; write it like 08:30, the end of a day as 24:00")
    return minutes


def _joined(pieces: Iterator[Span]) -> Iterator[Span]:
    """Join what touches."""
    before: Span | None = None
    for piece in pieces:
        if before is not None and before[1] == piece[0]:
            before = (before[0], piece[1])
            continue
        if before is not None:
            yield before
        before = piece
    if before is not None:
        yield before


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICRO


def _moment(at: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at)
