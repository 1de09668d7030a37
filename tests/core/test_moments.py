"""Moments: over as soon as either clock is past them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.core.moments import LONG_AGO, Moment

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@dataclass
class Clocks:
    """What both clocks show, in seconds after they were started."""

    grown: float = 0.0
    passed: float = 0.0

    def monotonic(self) -> float:
        return 100.0 + self.grown

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.passed)


@pytest.mark.parametrize(
    ("grown", "passed", "is_over"),
    [(20, 20, False), (21, 21, True), (21, 0, True), (0, 21, True), (19, -3600, False), (21, -3600, True)],
)
def test_a_moment_is_over_when_either_clock_is_past_it(grown: float, passed: float, *, is_over: bool):
    limit = Moment.of(Clocks()).after(timedelta(seconds=20))
    assert limit.is_over(Clocks(grown, passed)) is is_over


def test_what_counts_from_long_ago_is_over():
    assert LONG_AGO.after(timedelta(hours=1)).is_over(Clocks())
