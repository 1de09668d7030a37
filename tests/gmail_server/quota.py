"""What calls cost and how many a user may have in flight."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum

from tests.gmail_server.clock import TimeSource
from tests.gmail_server.errors import ApiError


class QuotaProfile(StrEnum):
    """Which of Google's tables holds: the one before 1 May 2026 or the one for projects created since."""

    BEFORE_2026_05 = "before_2026_05"
    SINCE_2026_05 = "since_2026_05"


_COSTS = {
    "getProfile": 1,
    "history.list": 2,
    "labels.list": 1,
    "labels.get": 1,
    "labels.create": 5,
    "messages.list": 5,
    "messages.get": 5,
    "messages.attachments.get": 5,
    "messages.modify": 5,
    "messages.batchModify": 50,
    "messages.batchDelete": 50,
    "messages.trash": 5,
    "messages.untrash": 5,
    "messages.delete": 10,
    "messages.insert": 25,
    "messages.import": 25,
    "messages.send": 100,
    "watch": 100,
    "stop": 50,
}
COSTS: dict[QuotaProfile, dict[str, int]] = {
    QuotaProfile.BEFORE_2026_05: _COSTS,
    QuotaProfile.SINCE_2026_05: _COSTS | {"messages.get": 20, "messages.attachments.get": 20, "messages.trash": 20},
}
PER_USER_MINUTE = {QuotaProfile.BEFORE_2026_05: 15_000, QuotaProfile.SINCE_2026_05: 6_000}


@dataclass(slots=True)
class QuotaSettings:
    """The limits; None means none. Costs are always counted, limits refuse only while `enforce` is true.

    `max_concurrent` and `latency` (seconds a call is in flight) hold whether or not quotas are enforced.
    `refusal_code` is 403 or 429; the wait is told by header, inside the message, both or not at all.
    """

    profile: QuotaProfile = QuotaProfile.SINCE_2026_05
    enforce: bool = False
    units_per_user_minute: int | None = None
    units_per_project_minute: int | None = 1_200_000
    units_per_project_day: int | None = None
    bytes_per_user_day: int | None = None
    max_concurrent: int | None = None
    latency: float = 0.0
    refusal_code: int = 403
    retry_after_header: bool = False
    retry_time_in_message: bool = False

    def user_minute(self) -> int:
        """Units one user may spend in a minute."""
        chosen = self.units_per_user_minute
        return PER_USER_MINUTE[self.profile] if chosen is None else chosen


def refusal(
    clock: TimeSource, code: int, reason: str, message: str, *, header: float | None, in_message: float | None
) -> ApiError:
    """A throttling error that announces its wait (seconds of the server's clock) by header, in the message or not."""
    headers: tuple[tuple[str, str], ...] = ()
    if header is not None:
        headers = (("Retry-After", str(math.ceil(clock.real(header)))),)
    if in_message is not None:
        message = f"{message.rstrip('.')}.  Retry after {clock.client_timestamp(in_message)}"
    status = "RESOURCE_EXHAUSTED" if code == 429 else None
    return ApiError(code, reason, message, status=status, headers=headers)


class Quota:
    """Units and bytes spent in the windows that are running now, fixed minutes and days of the server's clock."""

    def __init__(self, clock: TimeSource) -> None:
        self.settings = QuotaSettings()
        self.peak_user_minute: dict[str, int] = defaultdict(int)
        self._clock = clock
        self._windows: dict[tuple[str, str], tuple[int, int]] = {}

    def cost(self, method: str) -> int:
        """Units of one call under the current profile; 0 for a method that has no price."""
        return COSTS[self.settings.profile].get(method, 0)

    def charge(self, address: str, method: str) -> int:
        """Take and answer the cost of a call. ApiError 403 or 429 when a limit is reached; then nothing is taken."""
        settings, units, now = self.settings, self.cost(method), self._clock.now()
        limits = (
            ("user minute", address, 60, settings.user_minute()),
            ("project minute", "", 60, settings.units_per_project_minute),
            ("project day", "", 86_400, settings.units_per_project_day),
        )
        if settings.enforce:
            self._check_bytes(address, now)
            for name, owner, length, limit in limits:
                if limit is not None and self._spent(name, owner, now, length) + units > limit:
                    raise self._refusal(name, length - now % length)
        for name, owner, length, _ in limits:
            spent = self._spend(name, owner, now, length, units)
            if name == "user minute" and spent > self.peak_user_minute[address]:
                self.peak_user_minute[address] = spent
        return units

    def charge_bytes(self, address: str, size: int) -> None:
        """Count bytes sent to a user; the limit refuses the calls after the one that passes it."""
        self._spend("user bytes", address, self._clock.now(), 86_400, size)

    def _check_bytes(self, address: str, now: float) -> None:
        limit = self.settings.bytes_per_user_day
        if limit is not None and self._spent("user bytes", address, now, 86_400) >= limit:
            raise self._throttle(
                429, "rateLimitExceeded", "User-rate limit exceeded (bandwidth).", 86_400 - now % 86_400
            )

    def _refusal(self, name: str, wait: float) -> ApiError:
        if name == "project day":
            return self._throttle(403, "dailyLimitExceeded", "Daily Limit Exceeded", wait)
        metric = "Queries per minute per user" if name == "user minute" else "Queries per minute"
        text = f"Quota exceeded for quota metric 'Queries' and limit '{metric}' of service 'gmail.googleapis.com'."
        return self._throttle(self.settings.refusal_code, "rateLimitExceeded", text, wait)

    def _throttle(self, code: int, reason: str, message: str, wait: float) -> ApiError:
        header = wait if self.settings.retry_after_header else None
        in_message = wait if self.settings.retry_time_in_message else None
        return refusal(self._clock, code, reason, message, header=header, in_message=in_message)

    def _spent(self, name: str, owner: str, now: float, length: int) -> int:
        window, spent = self._windows.get((name, owner), (0, 0))
        return spent if window == int(now // length) else 0

    def _spend(self, name: str, owner: str, now: float, length: int, amount: int) -> int:
        spent = self._spent(name, owner, now, length) + amount
        self._windows[name, owner] = (int(now // length), spent)
        return spent


class Gate:
    """Calls in flight per user. A call is in flight until its answer is written, so it takes latency to fill."""

    def __init__(self) -> None:
        self.peak: dict[str, int] = defaultdict(int)
        self._inside: dict[str, int] = defaultdict(int)

    def enter(self, address: str, limit: int | None) -> None:
        """Count a call in. ApiError 429 when `limit` calls are in flight already."""
        inside = self._inside[address] + 1
        if limit is not None and inside > limit:
            raise ApiError(429, "rateLimitExceeded", "Too many concurrent requests for user.")
        self._inside[address] = inside
        self.peak[address] = max(self.peak[address], inside)

    def leave(self, address: str) -> None:
        """Count a call out."""
        self._inside[address] -= 1
