"""The distance between polls: short after a find, growing while nothing comes, always within its bounds."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.polling import PUSHED, SLOWEST, STANDARD, next_interval

BOUNDED = settings(max_examples=100, deadline=None)
durations = st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(days=30))
anything = st.timedeltas(min_value=timedelta(0), max_value=timedelta.max)


def test_an_idle_mailbox_is_asked_less_and_less_often_until_ten_times_the_shortest():
    current, seen = STANDARD, []
    for _ in range(8):
        current = next_interval(current, found=False)
        seen.append(current.total_seconds())
    assert seen == [45, 67.5, 101.25, 151.875, 227.8125, 300, 300, 300]


def test_with_healthy_push_the_ceiling_is_twice_as_far_and_comes_back_when_push_fails():
    pushed = next_interval(STANDARD * 19, found=False, is_pushed=True)
    assert pushed == STANDARD * SLOWEST * PUSHED
    assert next_interval(pushed, found=False) == STANDARD * SLOWEST


@BOUNDED
@given(anything, durations, st.booleans())
def test_a_find_leads_to_the_shortest(current, shortest, is_pushed):
    assert next_interval(current, found=True, is_pushed=is_pushed, shortest=shortest) == shortest


@BOUNDED
@given(anything, durations, st.booleans())
def test_the_distance_stays_within_its_bounds(current, shortest, is_pushed):
    found = next_interval(current, found=False, is_pushed=is_pushed, shortest=shortest)
    assert shortest <= found <= shortest * SLOWEST * (PUSHED if is_pushed else 1)


@BOUNDED
@given(durations, durations, durations, st.booleans())
def test_a_longest_below_the_shortest_never_wins(current, shortest, longest, is_pushed):
    found = next_interval(current, found=False, is_pushed=is_pushed, shortest=shortest, longest=longest)
    assert shortest <= found <= max(shortest, longest * 2)


@BOUNDED
@given(anything, anything, durations, st.booleans())
def test_whoever_was_asked_less_often_is_not_asked_more_often(one, other, shortest, is_pushed):
    near, far = sorted((one, other))
    options = {"found": False, "is_pushed": is_pushed, "shortest": shortest}
    assert next_interval(near, **options) <= next_interval(far, **options)
