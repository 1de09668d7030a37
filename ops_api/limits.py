"""What one client may ask for: sizes, times, and how often."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass
from datetime import timedelta

from pipeline.ports import Clock

_WINDOW_SECONDS = 60.0
#: More clients than this are not remembered at once: the memory of the limit is bounded too.
_MOST_CLIENTS = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one API process."""

    body_bytes: int = 1_048_576
    auth_per_minute: int = 10
    #: A statement, waiting for a lock included, ends after this long; well inside `deadline`.
    statement: timedelta = timedelta(seconds=5)
    #: Whatever hangs, the client has an answer by then.
    deadline: timedelta = timedelta(seconds=15)
    #: How long readiness waits for the database.
    probe: timedelta = timedelta(seconds=3)


class RateLimit:
    """So many requests a minute per client and kind, in fixed windows of this process. Used on the event loop only."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._most, self._clock = per_minute, clock
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}

    def take(self, address: str | None, kind: str) -> int | None:
        """Count one request; return None when it may go on, else the seconds after which to try again."""
        key, now = (_client(address), kind), self._clock.monotonic()
        began, count = self._windows.get(key, (now, 0))
        if now - began >= _WINDOW_SECONDS:
            began, count = now, 0
        if count >= self._most:
            return math.ceil(began + _WINDOW_SECONDS - now)
        if key not in self._windows and len(self._windows) >= _MOST_CLIENTS:
            self._forget(now)
        self._windows[key] = (began, count + 1)
        return None

    def _forget(self, now: float) -> None:
        over = [key for key, (began, _) in self._windows.items() if now - began >= _WINDOW_SECONDS]
        for key in over or [min(self._windows, key=lambda key: self._windows[key][0])]:
            del self._windows[key]


def _client(address: str | None) -> str:
    """Return who an address stands for: an IPv6 client owns its whole /64."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return "local"
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)
