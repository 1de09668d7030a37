"""A moment on both clocks of one process, for limits that must hold however long it stood still."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


class _Clocks(Protocol):
    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Moment:
    """What both clocks showed, or will show: seconds that only grow, and the wall clock (aware, UTC).

    The first stand still while a machine is suspended; the second may be set back. Neither does both at once.
    """

    monotonic: float
    wall: datetime

    @classmethod
    def of(cls, clock: _Clocks) -> Moment:
        """Return what a clock shows now."""
        return cls(clock.monotonic(), clock.now())

    def after(self, duration: timedelta) -> Moment:
        """Return the moment a duration later."""
        return Moment(self.monotonic + duration.total_seconds(), self.wall + duration)

    def is_over(self, clock: _Clocks) -> bool:
        """Say whether either clock is past this moment."""
        return clock.monotonic() > self.monotonic or clock.now() > self.wall


#: Before everything: a limit that counts from it is over.
LONG_AGO = Moment(float("-inf"), datetime.min.replace(tzinfo=UTC))
