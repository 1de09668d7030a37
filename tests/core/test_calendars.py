"""Hours of business, compared with a model that looks at the clock on the wall at every minute."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.core import calendars
from pipeline.core.calendars import HORIZON, Calendar, days_of_feed

BOUNDED = settings(max_examples=60, deadline=None)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
OFFICE = {str(day): [["08:00", "12:00"], ["13:00", "17:00"]] for day in range(5)}
BERLIN = Calendar.read("Europe/Berlin", OFFICE, [date(2026, 12, 25)])

#: Moments around which clocks change: by an hour, by half of one, over midnight, and a day that never was.
CHANGES = [
    ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    ("America/St_Johns", datetime(2010, 11, 7, 2, 31, tzinfo=UTC)),
    ("America/Havana", datetime(2026, 11, 1, 5, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ("Asia/Kolkata", datetime(2026, 7, 1, tzinfo=UTC)),
    ("UTC", datetime(2026, 1, 1, tzinfo=UTC)),
]


@st.composite
def days(draw: st.DrawFn) -> list[tuple[int, int]]:
    edges = sorted(draw(st.sets(st.integers(0, 1440), min_size=0, max_size=6)))
    return list(zip(edges[::2], edges[1::2], strict=False))


@st.composite
def stretches(draw: st.DrawFn) -> tuple[Calendar, ZoneInfo, dict[int, list[tuple[int, int]]], set[date], datetime]:
    name, change = draw(st.sampled_from(CHANGES))
    hours = {day: draw(days()) for day in range(7)}
    start = change + draw(st.integers(-2 * 1440, 1440)) * MINUTE
    holidays = draw(st.sets(st.integers(-2, 3).map(lambda number: change.date() + timedelta(days=number)), max_size=2))
    zone = ZoneInfo(name)
    return Calendar(zone, hours, holidays), zone, hours, holidays, start


def counts(zone: ZoneInfo, hours: dict[int, list[tuple[int, int]]], holidays: set[date], at: datetime) -> bool:
    wall = at.astimezone(zone)
    minute = wall.hour * 60 + wall.minute
    spans = () if wall.date() in holidays else hours[wall.weekday()]
    return any(begin <= minute < end for begin, end in spans)


@BOUNDED
@given(stretches(), st.integers(0, 2 * 1440))
def test_what_counts_is_what_the_clock_on_the_wall_says_at_every_minute(made, minutes):
    calendar, zone, hours, holidays, start = made
    expected = sum(counts(zone, hours, holidays, start + number * MINUTE) for number in range(minutes))
    assert calendar.elapsed(start, start + minutes * MINUTE) == expected * MINUTE


@BOUNDED
@given(stretches(), st.integers(1, 2 * 1440))
def test_what_is_added_is_the_first_moment_by_which_so_many_minutes_counted(made, minutes):
    calendar, zone, hours, holidays, start = made
    due = calendar.add(start, minutes * MINUTE)
    if due == start + HORIZON:
        return
    assert calendar.elapsed(start, due) == minutes * MINUTE
    assert counts(zone, hours, holidays, due - MINUTE)


durations = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=4))


@BOUNDED
@given(stretches(), durations, durations)
def test_adding_in_two_steps_is_adding_once_to_the_microsecond(made, one, other):
    calendar, *_, start = made
    once = calendar.add(start, one + other)
    if once < start + HORIZON - timedelta(days=30):
        assert calendar.add(calendar.add(start, one), other) == once


@BOUNDED
@given(stretches(), durations, durations, durations)
def test_time_that_counts_adds_up_and_never_runs_backwards(made, one, two, three):
    calendar, *_, start = made
    at, later, last = start + one, start + one + two, start + one + two + three
    assert calendar.elapsed(at, later) + calendar.elapsed(later, last) == calendar.elapsed(at, last)
    assert timedelta(0) <= calendar.elapsed(at, later) <= two
    assert calendar.elapsed(later, at) == timedelta(0)
    assert calendar.add(at, two) <= calendar.add(later, two)
    assert calendar.add(at, two) <= calendar.add(at, two + three)


@BOUNDED
@given(stretches(), durations)
def test_what_is_taken_away_was_there(made, duration):
    calendar, *_, end = made
    start = calendar.subtract(end, duration)
    if start > end - HORIZON:
        assert calendar.elapsed(start, end) == duration


@pytest.mark.parametrize(
    ("start", "hours", "due"),
    [
        # Friday afternoon goes on on Monday, behind the lunch break; in winter Berlin is an hour ahead of UTC.
        ("2026-01-09T15:00", 2, "2026-01-12T08:00"),
        ("2026-01-09T15:00", 6, "2026-01-12T13:00"),
        ("2026-01-12T10:30", 1, "2026-01-12T12:30"),
        # The night and the lunch break count for nothing, and neither does Christmas.
        ("2026-12-24T15:00", 2, "2026-12-28T08:00"),
        # Over the change of clocks the office opens at eight by the wall.
        ("2026-03-27T15:00", 2, "2026-03-30T07:00"),
    ],
)
def test_an_office_in_berlin_is_open_when_its_people_are_there(start, hours, due):
    moment = datetime.fromisoformat(start).replace(tzinfo=UTC)
    assert BERLIN.add(moment, hours * HOUR) == datetime.fromisoformat(due).replace(tzinfo=UTC)


def test_an_hour_that_the_wall_shows_twice_counts_twice_and_one_that_it_never_shows_not_at_all():
    night = Calendar.read("Europe/Berlin", {"6": [["02:00", "03:00"]]}, [])
    for day, counted in ((date(2026, 10, 25), 2), (date(2026, 3, 29), 0), (date(2026, 6, 7), 1)):
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) - 6 * HOUR
        assert night.elapsed(midnight, midnight + timedelta(days=1.5)) == counted * HOUR


def test_without_a_calendar_every_moment_counts():
    start = datetime(2026, 1, 9, 15, tzinfo=UTC)
    assert calendars.add(None, start, 2 * HOUR) == start + 2 * HOUR
    assert calendars.subtract(None, start, 2 * HOUR) == start - 2 * HOUR
    assert calendars.elapsed(None, start, start + HOUR) == HOUR
    assert calendars.elapsed(None, start, start - HOUR) == timedelta(0)


@pytest.mark.parametrize(
    ("zone", "hours", "said"),
    [
        ("Mars/Olympus", OFFICE, "is no time zone"),
        ("../../etc/passwd", OFFICE, "is no time zone"),
        ("Europe", OFFICE, "is no time zone"),
        ("", OFFICE, "is no time zone"),
        ("UTC", {}, "at least 60 minutes"),
        ("UTC", {"0": [["08:00", "08:59"]]}, "at least 60 minutes"),
        ("UTC", {"7": [["08:00", "12:00"]]}, "is no day"),
        ("UTC", {"0": [["12:00", "08:00"]]}, "ends before it begins"),
        ("UTC", {"0": [["08:00", "12:00"], ["11:59", "13:00"]]}, "overlap"),
        ("UTC", {"0": [["08:00", "24:01"]]}, "no time of day"),
        ("UTC", {"0": [["8", "12:00"]]}, "no time of day"),
        ("UTC", {"0": [["08:00"]]}, "two times"),
        ("UTC", {"0": [[f"{hour:02}:00", f"{hour:02}:30"] for hour in range(13)]}, "more than 12 spans"),
    ],
)
def test_a_calendar_that_makes_no_sense_is_refused_with_words(zone, hours, said):
    with pytest.raises(ValueError, match=said):
        Calendar.read(zone, hours, [])


def test_too_many_holidays_are_refused():
    with pytest.raises(ValueError, match="at most 2000 holidays"):
        Calendar.read("UTC", OFFICE, [date(2000, 1, 1) + timedelta(days=number) for number in range(2001)])


def test_a_calendar_of_nothing_but_holidays_ends_a_search_at_its_horizon():
    off = [date(2026, 1, 1) + timedelta(days=number) for number in range(1, 2_000)]
    start = datetime(2040, 1, 1, tzinfo=UTC)
    never = Calendar(ZoneInfo("UTC"), {}, off)
    assert never.add(start, HOUR) == start + HORIZON
    assert never.subtract(start, HOUR) == start - HORIZON


_FEED = """BEGIN:VCALENDAR\r
BEGIN:VEVENT\r
DTSTART;VALUE=DATE:20261225\r
DTEND;VALUE=DATE:20261227\r
SUMMARY:Christmas\\, both\r
  days\r
END:VEVENT\r
BEGIN:VEVENT\r
SUMMARY;LANGUAGE=en:New Year\r
DTSTART:20270101T000000Z\r
END:VEVENT\r
BEGIN:VEVENT\r
SUMMARY:no day at all\r
END:VEVENT\r
END:VCALENDAR\r
"""


def test_the_days_of_a_feed_are_those_of_its_events():
    assert days_of_feed(_FEED) == {
        date(2026, 12, 25): "Christmas, both days",
        date(2026, 12, 26): "Christmas, both days",
        date(2027, 1, 1): "New Year",
    }


@pytest.mark.parametrize("feed", ["", "BEGIN:VEVENT\nDTSTART:20261345\nEND:VEVENT", "<html>not found</html>"])
def test_what_is_no_feed_is_refused(feed):
    with pytest.raises(ValueError, match="no event"):
        days_of_feed(feed)


@BOUNDED
@given(st.text(max_size=300))
@example("BEGIN:VEVENT\nDTSTART:99991231\nDTEND:99991231\nEND:VEVENT")
@example("BEGIN:VEVENT\nDTSTART:99991231\nDTEND:00010101\nEND:VEVENT")
@example("BEGIN:VEVENT\nDTSTART:20200101\nDTEND:99991231\nEND:VEVENT")
def test_a_feed_of_anything_is_read_or_refused(said):
    try:
        found = days_of_feed(said)
    except ValueError:
        return
    assert 1 <= len(found) <= 31
