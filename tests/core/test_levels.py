"""Levels: the vectors of seed-behaviours 8, what weeks do, and when a week begins."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from math import ceil
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.enums import LevelStatus
from pipeline.core import levels
from pipeline.core.levels import Standing, Verdict, judge, level_of
from pipeline.core.workshop_rules import Progression

RULES = Progression()
THRESHOLDS = RULES.level_thresholds
_STATUS = LevelStatus


@pytest.mark.parametrize(
    ("points", "level"),
    [(199, 1), (200, 2), (449, 2), (450, 3), (749, 3), (750, 4), (1099, 4), (1100, 5), (0, 1), (-50, 1), (10**9, 5)],
)
def test_points_are_worth_a_level(points: int, level: int) -> None:
    assert level_of(points, THRESHOLDS) == level


@pytest.mark.parametrize(
    ("standing", "week", "total", "verdict"),
    [
        (Standing(1), 100, 200, Verdict(_STATUS.LEVEL_UP, 2, is_warned=False)),
        (Standing(1), 100, 1100, Verdict(_STATUS.LEVEL_UP, 5, is_warned=False)),
        # Who met the target is never lowered, though their points map lower (seed-behaviours, 3.7).
        (Standing(4), 100, 200, Verdict(_STATUS.MAINTAINED, 4, is_warned=False)),
        (Standing(2, is_warned=True), 100, 300, Verdict(_STATUS.MAINTAINED, 2, is_warned=False)),
        (Standing(2, is_warned=True), 150, 450, Verdict(_STATUS.LEVEL_UP, 3, is_warned=False)),
        # A level is kept at the first miss, however many points there are in all.
        (Standing(3), 99, 5000, Verdict(_STATUS.WARNING, 3, is_warned=True)),
        (Standing(3, is_warned=True), 99, 5000, Verdict(_STATUS.RESET, 1, is_warned=False)),
        (Standing(1, is_warned=True), -5, -5, Verdict(_STATUS.RESET, 1, is_warned=False)),
    ],
)
def test_a_week_does_to_a_level_what_it_must(standing: Standing, week: int, total: int, verdict: Verdict) -> None:
    assert judge(standing, week, total, RULES) == verdict


def test_a_warning_counts_for_the_very_next_week() -> None:
    """The first implementation read it a week late (seed-behaviours, 3.8.13)."""
    first = judge(Standing(3), 0, 500, RULES)
    second = judge(Standing(first.level, first.is_warned), 0, 500, RULES)
    third = judge(Standing(second.level, second.is_warned), 0, 500, RULES)
    assert [one.status for one in (first, second, third)] == [_STATUS.WARNING, _STATUS.RESET, _STATUS.WARNING]


@given(
    level=st.integers(1, 5),
    is_warned=st.booleans(),
    week=st.integers(-500, 500),
    total=st.integers(-500, 3000),
)
def test_no_week_lowers_a_level_but_the_second_that_is_missed(
    level: int, is_warned: bool, week: int, total: int
) -> None:
    found = judge(Standing(level, is_warned), week, total, RULES)
    met = week >= RULES.weekly_target_xp
    assert 1 <= found.level <= 5
    assert found.level >= level or (found.status is _STATUS.RESET and is_warned and not met)
    assert found.is_warned == (not met and not is_warned)
    assert found.is_up == (found.level > level)
    assert found.level == level or met or found.status is _STATUS.RESET


@given(days=st.integers(1, 366), weekly=st.integers(0, 1000))
def test_the_target_of_some_days_is_rounded_up(days: int, weekly: int) -> None:
    assert levels.target(days, weekly) == ceil(Fraction(weekly * days, 7))


@pytest.mark.parametrize(("days", "points"), [(1, 15), (7, 100), (8, 115), (14, 200), (30, 429), (366, 5229)])
def test_the_target_of_days_by_hand(days: int, points: int) -> None:
    assert levels.target(days, 100) == points


@pytest.mark.parametrize(
    ("at", "zone", "monday"),
    [
        # Monday 5 January 2026 in Tashkent (UTC+5) begins on Sunday at 19:00 UTC; five minutes later its week is over.
        ("2026-01-04T19:04:59", "Asia/Tashkent", "2025-12-22"),
        ("2026-01-04T19:05:00", "Asia/Tashkent", "2025-12-29"),
        ("2026-01-11T18:59:00", "Asia/Tashkent", "2025-12-29"),
        ("2026-01-05T00:04:00", "UTC", "2025-12-22"),
        ("2026-01-05T00:05:00", "UTC", "2025-12-29"),
        ("2026-01-04T18:20:00", "Asia/Kathmandu", "2025-12-29"),
        ("2026-01-04T18:19:00", "Asia/Kathmandu", "2025-12-22"),
    ],
)
def test_a_week_is_judged_five_minutes_after_its_local_end(at: str, zone: str, monday: str) -> None:
    now = datetime.fromisoformat(at).replace(tzinfo=UTC)
    assert levels.last_week(now, ZoneInfo(zone)) == date.fromisoformat(monday)


def test_weeks_are_made_up_for_in_order_and_not_for_ever() -> None:
    last = date(2026, 3, 2)
    week = timedelta(days=7)
    assert levels.first_due(last, last) is None
    assert levels.first_due(last + week, last) is None
    assert levels.first_due(last - week, last) == last
    assert levels.first_due(last - 3 * week, last) == last - 2 * week
    assert levels.first_due(date(2020, 1, 6), last) == last - 7 * week
