"""The machine's clocks behind the Clock port: the only place that reads them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class SystemClock:
    """The Clock port over the machine's own clocks."""

    def now(self) -> datetime:
        """Return the wall clock as an aware UTC datetime; it may jump when the machine's clock is set."""
        return datetime.now(UTC)  # noqa: TID251

    def monotonic(self) -> float:
        """Return seconds that only grow, counted from an arbitrary start."""
        return time.monotonic()

    def wait(self, duration: timedelta) -> None:
        """Block the calling thread for `duration`; a negative one does not wait."""
        time.sleep(max(0.0, duration.total_seconds()))
