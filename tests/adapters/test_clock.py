"""The machine's clocks."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from pipeline.adapters.clock import SystemClock
from pipeline.ports import Clock


def test_the_wall_clock_is_aware_and_in_utc() -> None:
    clock: Clock = SystemClock()
    before = datetime.fromtimestamp(time.time(), UTC)
    now = clock.now()
    assert now.tzinfo is UTC
    assert before <= now <= datetime.fromtimestamp(time.time(), UTC)


def test_the_other_clock_only_grows_and_counts_the_waits() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    clock.wait(timedelta(milliseconds=2))
    clock.wait(timedelta(seconds=-5))
    assert clock.monotonic() - before >= 0.002
