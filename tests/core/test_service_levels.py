"""Deadlines by priority, their pause, and how they stand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.enums import TicketPriority
from pipeline.core.service_levels import (
    DispatchPriority,
    Standing,
    dispatch_priority,
    pause,
    remaining_minutes,
    resume,
    standing,
    start_clock,
)

BOUNDED = settings(max_examples=50, deadline=None)
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("priority", "minutes"),
    [
        (DispatchPriority.EMERGENCY, 60),
        (DispatchPriority.URGENT, 240),
        (DispatchPriority.ROUTINE, 1440),
        (TicketPriority.URGENT, 60),
        (TicketPriority.HIGH, 240),
        (TicketPriority.NORMAL, 1440),
        (TicketPriority.LOW, 1440),
    ],
)
def test_a_clock_starts_with_the_minutes_of_its_priority(priority, minutes):
    deadlines = start_clock(priority, NOW)
    assert deadlines.response_at == NOW + timedelta(minutes=minutes)
    assert deadlines.resolution_at == NOW + timedelta(minutes=4 * minutes)
    assert deadlines.paused_at is None


def test_every_priority_has_a_class():
    assert {dispatch_priority(priority) for priority in TicketPriority} == set(DispatchPriority)


@pytest.mark.parametrize("word", ["urgent", "URGENT", ""])
def test_a_plain_word_is_refused_because_its_case_would_decide(word):
    with pytest.raises(TypeError, match="not a priority"):
        start_clock(word, NOW)


@pytest.mark.parametrize(
    ("remaining", "expected"),
    [(-1, Standing.BREACH), (0, Standing.WARNING), (45, Standing.WARNING), (46, Standing.HEALTHY)],
)
def test_standing_follows_the_known_vectors(remaining, expected):
    assert standing(remaining) is expected


@pytest.mark.parametrize(
    ("left", "minutes"),
    [
        (timedelta(seconds=-1), -1),
        (timedelta(0), 0),
        (timedelta(seconds=59), 0),
        (timedelta(minutes=45, seconds=59), 45),
        (timedelta(minutes=46), 46),
    ],
)
def test_minutes_are_rounded_down(left, minutes):
    assert remaining_minutes(NOW + left, NOW) == minutes


def test_waiting_for_the_customer_moves_both_deadlines():
    started = start_clock(DispatchPriority.URGENT, NOW)
    waiting = pause(started, NOW + timedelta(minutes=10))
    resumed = resume(waiting, NOW + timedelta(minutes=100))
    assert resumed.response_at - started.response_at == timedelta(minutes=90)
    assert resumed.resolution_at - started.resolution_at == timedelta(minutes=90)
    assert resumed.paused_at is None


def test_pausing_twice_counts_from_the_first_pause():
    waiting = pause(start_clock(DispatchPriority.URGENT, NOW), NOW)
    assert pause(waiting, NOW + timedelta(hours=1)) == waiting


def test_resuming_a_running_clock_changes_nothing():
    started = start_clock(DispatchPriority.URGENT, NOW)
    assert resume(started, NOW + timedelta(hours=1)) == started


@BOUNDED
@given(st.timedeltas(min_value=timedelta(days=-3), max_value=timedelta(days=3)))
def test_a_pause_never_brings_a_deadline_nearer(moved):
    started = start_clock(DispatchPriority.ROUTINE, NOW)
    assert resume(pause(started, NOW), NOW + moved).response_at >= started.response_at
