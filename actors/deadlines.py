"""One moment by which several things must have ended, whichever of them takes its time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from pipeline.ports import Clock

#: Says how much time is left, never less than none.
Left = Callable[[], timedelta]


def deadline(clock: Clock, within: timedelta) -> Left:
    """Return what says how much is left of `within`, which begins now."""
    until = clock.monotonic() + within.total_seconds()
    return lambda: max(timedelta(seconds=until - clock.monotonic()), timedelta(0))
