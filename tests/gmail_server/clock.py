"""The server's time source: wall time that can run faster or be moved forward."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class TimeSource:
    """Seconds since 1970, advancing `speed` times as fast as the machine's clock.

    Windows, expiries and delays are counted in this time, so a speed of 60 turns a quota minute into one real second.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self._epoch = time.time()
        self._mark = time.monotonic()
        self._speed = 1.0
        self.set_speed(speed)

    @property
    def speed(self) -> float:
        """How many seconds of this clock pass in one real second."""
        return self._speed

    def now(self) -> float:
        """The current time of this clock, seconds since 1970."""
        return self._epoch + (time.monotonic() - self._mark) * self._speed

    def now_ms(self) -> int:
        """The current time of this clock, milliseconds since 1970."""
        return int(self.now() * 1000)

    def set_speed(self, speed: float) -> None:
        """Change the pace from now on; time itself does not jump. ValueError unless positive."""
        if not speed > 0:
            raise ValueError("speed must be above 0")
        self._epoch, self._mark = self.now(), time.monotonic()
        self._speed = speed

    def advance(self, seconds: float) -> None:
        """Jump forward. ValueError when negative: time of a provider never runs backwards."""
        if seconds < 0:
            raise ValueError("time only moves forward")
        self._epoch += seconds

    def real(self, seconds: float) -> float:
        """How long a client has to wait, in real seconds, for `seconds` of this clock to pass."""
        return seconds / self._speed

    def client_timestamp(self, seconds: float) -> str:
        """The moment `seconds` of this clock ahead as a client's own clock shows it, like 2026-05-01T12:00:00.000Z."""
        moment = datetime.fromtimestamp(time.time() + self.real(seconds), UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
