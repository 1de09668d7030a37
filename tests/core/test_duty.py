"""Duty: shifts by the clocks on the wall, over midnight and over changes of the clocks; leave."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.duty import Leave, Shift, away_until, is_on_shift, next_begin

BOUNDED = settings(max_examples=80, deadline=None)
BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia")


def shift(weekday: int, begins: str, ends: str, timezone: str = "UTC") -> Shift:
    return Shift(weekday, time.fromisoformat(begins), time.fromisoformat(ends), timezone)


@pytest.mark.parametrize(
    ("begins", "ends", "at", "expected"),
    [
        ("08:00", "17:00", "2026-03-02 07:59", False),
        ("08:00", "17:00", "2026-03-02 08:00", True),
        ("08:00", "17:00", "2026-03-02 16:59", True),
        ("08:00", "17:00", "2026-03-02 17:00", False),
        ("08:00", "17:00", "2026-03-03 09:00", False),
        ("22:00", "06:00", "2026-03-02 21:59", False),
        ("22:00", "06:00", "2026-03-02 23:00", True),
        ("22:00", "06:00", "2026-03-03 05:59", True),
        ("22:00", "06:00", "2026-03-03 06:00", False),
        ("22:00", "06:00", "2026-03-02 05:00", False),
        ("12:00", "00:00", "2026-03-02 23:59", True),
        ("12:00", "00:00", "2026-03-03 00:00", False),
    ],
)
def test_a_shift_goes_on_from_its_beginning_to_just_before_its_end(begins, ends, at, expected):
    assert shift(0, begins, ends).covers(datetime.fromisoformat(at).replace(tzinfo=UTC)) is expected


def test_a_night_from_sunday_ends_on_monday():
    assert shift(6, "22:00", "06:00").covers(datetime(2026, 3, 2, 3, tzinfo=UTC))


def test_a_shift_is_meant_by_the_clocks_of_its_own_zone():
    early = shift(0, "08:00", "09:00", "Asia/Kolkata")
    assert early.covers(datetime(2026, 3, 2, 2, 30, tzinfo=UTC))
    assert not early.covers(datetime(2026, 3, 2, 8, 30, tzinfo=UTC))


def test_when_clocks_are_put_forward_the_hour_left_out_is_nobodys():
    # 29 March 2026, Berlin: 02:00 becomes 03:00.
    night = shift(6, "02:00", "03:00", "Europe/Berlin")
    begin = datetime(2026, 3, 29, 0, tzinfo=BERLIN).astimezone(UTC)
    assert not any(night.covers(begin + timedelta(minutes=number)) for number in range(0, 24 * 60, 7))


def test_when_clocks_are_put_back_the_hour_that_comes_twice_counts_twice():
    # 25 October 2026, Berlin: 03:00 becomes 02:00.
    night = shift(6, "02:00", "03:00", "Europe/Berlin")
    begin = datetime(2026, 10, 25, 0, tzinfo=BERLIN).astimezone(UTC)
    assert sum(night.covers(begin + timedelta(minutes=number)) for number in range(24 * 60)) == 120


@pytest.mark.parametrize("timezone", ["Mars/Base", "", "../etc/passwd", "/etc/passwd", "Europe", "x" * 300])
def test_a_zone_that_is_none_is_refused_in_words(timezone):
    with pytest.raises(ValueError, match="no time zone"):
        shift(0, "08:00", "17:00", timezone)


@pytest.mark.parametrize(
    ("weekday", "begins", "ends"), [(7, "08:00", "09:00"), (-1, "08:00", "09:00"), (0, "08:00", "08:00")]
)
def test_a_shift_on_no_day_or_of_no_length_is_refused(weekday, begins, ends):
    with pytest.raises(ValueError, match=r"weekday|cannot end"):
        shift(weekday, begins, ends)


def test_somebody_without_shifts_is_always_on_duty():
    assert is_on_shift([], MONDAY)
    assert not is_on_shift([shift(1, "08:00", "17:00")], MONDAY)


times = st.times().map(lambda one: one.replace(second=0, microsecond=0))
shifts = st.builds(
    lambda weekday, ends, zone: Shift(weekday, ends[0], ends[1], zone),
    st.integers(0, 6),
    st.lists(times, min_size=2, max_size=2, unique=True),
    st.sampled_from(ZONES),
)
moments = st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds


def model(one: Shift, at: datetime) -> bool:
    """Say the same by going through the minutes of the week on the wall."""
    local = at.astimezone(ZoneInfo(one.timezone))
    minute = (local.weekday() * 24 + local.hour) * 60 + local.minute
    begin = (one.weekday * 24 + one.begins.hour) * 60 + one.begins.minute
    end = (one.weekday * 24 + one.ends.hour) * 60 + one.ends.minute + (24 * 60 if one.ends < one.begins else 0)
    return any(begin <= minute + week * 7 * 24 * 60 < end for week in (0, 1))


@BOUNDED
@given(shifts, moments)
def test_a_shift_agrees_with_the_minutes_on_the_wall(one, at):
    assert one.covers(at) is model(one, at)


@BOUNDED
@given(st.lists(shifts, min_size=1, max_size=4), moments)
def test_the_next_beginning_is_after_now_within_a_week_and_a_day_and_begins_a_shift(given_shifts, at):
    begin = next_begin(given_shifts, at)
    assert begin is not None
    assert at < begin <= at + timedelta(days=8)
    # It begins a shift, but for one meant in an hour that the clocks leave out.
    is_left_out = all(begin.astimezone(ZoneInfo(one.timezone)).time() != one.begins for one in given_shifts)
    assert any(one.covers(begin) for one in given_shifts) or is_left_out
    assert next_begin([], at) is None


leaves = st.builds(
    lambda begin, hours: Leave(MONDAY + timedelta(hours=begin), MONDAY + timedelta(hours=begin + hours)),
    st.integers(0, 40),
    st.integers(1, 20),
)


@BOUNDED
@given(st.lists(leaves, max_size=6), st.integers(-5, 70))
def test_somebody_is_away_while_a_leave_covers_the_moment_and_back_when_none_does(given_leaves, hour):
    at = MONDAY + timedelta(hours=hour)
    back = away_until(given_leaves, at)
    assert (back is not None) is any(leave.covers(at) for leave in given_leaves)
    if back is not None:
        assert back > at
        passing = [at + timedelta(hours=number) for number in range(int((back - at) / timedelta(hours=1)))]
        assert all(any(leave.covers(moment) for leave in given_leaves) for moment in passing)
        assert not any(leave.covers(back) for leave in given_leaves)
