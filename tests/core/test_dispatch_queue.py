"""How a deadline stands, and which of equals comes first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.enums import DispatchPriority
from pipeline.core.dispatch_queue import Urgency, due, in_order, region_weight, stretch_of
from pipeline.core.service_levels import Standing

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("left", "minutes", "standing", "display"),
    [
        (timedelta(0), 0, Standing.WARNING, "00:00"),
        (timedelta(seconds=-1), -1, Standing.BREACH, "-00:01"),
        (timedelta(minutes=-65), -65, Standing.BREACH, "-01:05"),
        (timedelta(minutes=45, seconds=59), 45, Standing.WARNING, "00:45"),
        (timedelta(minutes=46), 46, Standing.HEALTHY, "00:46"),
        (timedelta(hours=100), 6_000, Standing.HEALTHY, "100:00"),
    ],
)
def test_a_deadline_stands_as_the_contract_says(
    left: timedelta, minutes: int, standing: Standing, display: str
) -> None:
    found = due(NOON + left, NOON)
    assert (found.remaining_minutes, found.standing, found.display) == (minutes, standing, display)


@given(st.timedeltas(timedelta(days=-3), timedelta(days=3)))
def test_a_stretch_holds_exactly_the_deadlines_that_stand_so(left: timedelta) -> None:
    at = NOON + left
    stretches = {standing: stretch_of(standing, NOON) for standing in Standing}
    holding = [
        standing
        for standing, one in stretches.items()
        if (one.since is None or one.since <= at) and (one.before is None or at < one.before)
    ]
    assert holding == [due(at, NOON).standing]


@pytest.mark.parametrize(("region", "weight"), [("CA", 190), ("TX", 740), ("NY", 555), (None, 500), (" ", 500)])
def test_regions_have_the_known_weights(region: str | None, weight: int) -> None:
    assert region_weight(region) == weight


@given(st.text(min_size=1).filter(str.strip))
def test_a_region_weighs_10_to_990(region: str) -> None:
    assert 10 <= region_weight(region) <= 990


def test_of_equals_the_priority_decides_then_the_region_then_the_newest_change_then_the_name() -> None:
    emergency, routine = DispatchPriority.EMERGENCY, DispatchPriority.ROUTINE
    later = NOON + timedelta(hours=1)
    wanted = [
        Urgency(-5, routine, None, NOON, "f"),
        Urgency(3, emergency, "TX", NOON, "e"),
        Urgency(3, routine, "CA", NOON, "d"),
        Urgency(3, routine, None, later, "b"),
        Urgency(3, routine, None, NOON, "a"),
        Urgency(3, routine, None, NOON, "c"),
        Urgency(3, routine, "NY", later, "0"),
    ]
    assert in_order((one, one) for one in reversed(wanted)) == wanted
