"""What one client may ask for: sizes, times, and how often."""

from __future__ import annotations

import ipaddress
import math
from collections import deque
from dataclasses import dataclass
from datetime import timedelta

from pipeline.ports import Clock
from pipeline.runtime.settings import Settings

#: A limit counts the requests of the last minute, whenever one looks.
WINDOW = timedelta(minutes=1)
_WINDOW_SECONDS = WINDOW.total_seconds()
#: More clients than this are not remembered at once: the memory of the limit is bounded too.
_MOST_CLIENTS = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one API process. Rates are per minute and person; see `ops_api.rate_limits` for who else counts."""

    #: Of a body without a limit of its own (`ops_api.body_limits`).
    body_bytes: int = 1_048_576
    #: A larger body is waited for as long as it comes this fast on average.
    upload_bytes_per_second: int = 65_536
    #: The address with its query, as it was sent.
    address_bytes: int = 8_192
    #: All headers together; one more and the server closes the connection.
    header_bytes: int = 32_768
    headers: int = 100
    #: Open connections of one process.
    connections: int = 2_000
    #: Lists and objects in a body, one inside the other.
    json_depth: int = 64
    auth_per_minute: int = 10
    read_per_minute: int = 600
    write_per_minute: int = 120
    search_per_minute: int = 120
    download_per_minute: int = 120
    stray_per_minute: int = 120
    #: A connection that has not said its whole head by then is closed.
    head: timedelta = timedelta(seconds=10)
    #: A statement, waiting for a lock included, ends after this long; well inside `deadline`.
    statement: timedelta = timedelta(seconds=5)
    #: Whatever hangs, the client has an answer by then.
    deadline: timedelta = timedelta(seconds=15)
    #: A count in Valkey is worth no more waiting than this.
    count: timedelta = timedelta(milliseconds=250)
    #: How long readiness waits for the database.
    probe: timedelta = timedelta(seconds=3)

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return the limits with the rates that the settings give."""
        return cls(
            auth_per_minute=settings.rate_auth_per_minute,
            read_per_minute=settings.rate_read_per_minute,
            write_per_minute=settings.rate_write_per_minute,
            search_per_minute=settings.rate_search_per_minute,
            download_per_minute=settings.rate_download_per_minute,
            stray_per_minute=settings.rate_stray_per_minute,
        )


class RateLimit:
    """So many requests a minute per client and kind, counted by this process. Used on the event loop only."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._most, self._clock = per_minute, clock
        #: When the newest requests were let through, oldest first: never more than `per_minute` of them.
        self._windows: dict[tuple[str, str], deque[float]] = {}

    def take(self, address: str | None, kind: str) -> int | None:
        """Count one request; return None when it may go on, else the seconds after which to try again."""
        return self.take_for(client_of(address), kind)

    def take_for(self, who: str, kind: str, most: int | None = None) -> int | None:
        """As `take`, for anything that has a name and, perhaps, a limit of its own."""
        key, now, most = (who, kind), self._clock.monotonic(), most or self._most
        times = self._windows.get(key)
        if times is None:
            if len(self._windows) >= _MOST_CLIENTS:
                self._forget(now)
            times = self._windows[key] = deque()
        while times and now - times[0] >= _WINDOW_SECONDS:
            times.popleft()
        if len(times) >= most:
            return math.ceil(times[0] + _WINDOW_SECONDS - now)
        times.append(now)
        return None

    def _forget(self, now: float) -> None:
        over = [key for key, times in self._windows.items() if not times or now - times[-1] >= _WINDOW_SECONDS]
        # The first that is left came longest ago.
        for key in over or [next(iter(self._windows))]:
            del self._windows[key]


def client_of(address: str | None) -> str:
    """Return who an address stands for: an IPv6 client owns its whole /64.

    An IPv4 address within an IPv6 one, as two-way sockets write it, is an IPv4 client: else all of them were one.
    """
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return "local"
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)
