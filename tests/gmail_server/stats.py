"""Counts of what clients did."""

from __future__ import annotations

import time
from collections import Counter, defaultdict

from tests.gmail_server.errors import ApiError


class Stats:
    """Calls and units by method and status, bytes, and calls made while the client had been told to wait."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin again at zero."""
        self._calls: dict[str, Counter[str]] = defaultdict(Counter)
        self._by_mailbox: dict[str, Counter[str]] = defaultdict(Counter)
        self._units: Counter[str] = Counter()
        self._units_by_mailbox: Counter[str] = Counter()
        self._bytes_out = 0
        self._too_early: Counter[str] = Counter()
        self._wait_until: dict[str, float] = {}

    def record(self, method: str, mailbox: str, status: str, units: int, size: int) -> None:
        """Count one answered (or dropped) call."""
        self._calls[method][status] += 1
        self._by_mailbox[mailbox][status] += 1
        self._units[method] += units
        self._units_by_mailbox[mailbox] += units
        self._bytes_out += size

    def arrived(self, mailbox: str) -> None:
        """Count a call that comes before an announced wait is over."""
        until = self._wait_until.get(mailbox)
        if until is not None and time.monotonic() < until:
            self._too_early[mailbox] += 1

    def told_to_wait(self, mailbox: str, error: ApiError) -> None:
        """Remember the wait announced by `Retry-After`, if any."""
        for name, value in error.headers:
            if name == "Retry-After":
                self._wait_until[mailbox] = time.monotonic() + float(value)

    def as_dict(self) -> dict[str, object]:
        """Plain dicts: `calls` {method: {status: n}}, `units`, `units_by_mailbox`, `calls_by_mailbox`, `bytes_out`,
        `calls_during_wait` {mailbox: n}."""
        return {
            "calls": {method: dict(counts) for method, counts in self._calls.items()},
            "calls_by_mailbox": {mailbox: dict(counts) for mailbox, counts in self._by_mailbox.items()},
            "units": dict(self._units),
            "units_by_mailbox": dict(self._units_by_mailbox),
            "bytes_out": self._bytes_out,
            "calls_during_wait": dict(self._too_early),
        }
