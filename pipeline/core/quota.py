"""What Gmail calls cost, what a project may spend, and how fast a budget fills (mission-peers, 1.1 and 1.2)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType
from zoneinfo import ZoneInfo

from models.enums import QuotaProfile

#: The length of a provider's minute; tests against a provider whose clock runs faster shorten it.
MINUTE = timedelta(minutes=1)
#: With a limit below this the dearest call would not fit beside the share kept for live mail.
LEAST_UNITS = 1_000
#: Beyond this Gmail refuses "too many concurrent requests" whatever the mailbox (mission-peers, 1.2).
MOST_AT_ONCE = 10

#: What may be spent at once, as a share of a minute's limit. It is taken off the rate, so that no window of a minute
#: holds more than the limit, wherever it begins: burst + rate x minute = limit.
_BURST_SHARE = 0.03
_LEAST_BURST = 160.0
#: The share of the burst that only live mail may draw.
_RESERVED_SHARE = 0.25
#: The share of a day's limits that only live mail may spend: backfill must not leave a day without new mail.
_RESERVED_DAY = 0.05
#: The pace after a rest, and how much of a minute it takes to double.
_SLOWEST, _DOUBLING = 0.1, 0.5

#: Google's day of a quota ends at midnight Pacific time.
_QUOTA_ZONE = ZoneInfo("America/Los_Angeles")
_DAY = timedelta(days=1)

_COSTS = {
    "getProfile": 1,
    "history.list": 2,
    "labels.list": 1,
    "labels.get": 1,
    "messages.list": 5,
    "messages.get": 5,
    "messages.send": 100,
    "watch": 100,
    "stop": 50,
}
COSTS: Mapping[QuotaProfile, Mapping[str, int]] = MappingProxyType(
    {
        QuotaProfile.BEFORE_2026_05: MappingProxyType(_COSTS),
        QuotaProfile.SINCE_2026_05: MappingProxyType(_COSTS | {"messages.get": 20}),
    }
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a project and each mailbox in it may spend; units, bytes, and calls at once."""

    costs: Mapping[str, int]
    units_per_user_minute: int
    units_per_minute: int = 1_200_000
    units_per_day: int = 80_000_000
    bytes_per_user_day: int = 2_500_000_000
    concurrency: int = 4

    def cost(self, method: str) -> int:
        """Return the units of one call; a method without a price counts as one."""
        return self.costs.get(method, 1)

    def units_of_day(self, *, is_live: bool) -> int:
        """Return the units of the project's day that a lane may have spent; live mail may spend all."""
        return self.units_per_day if is_live else int(self.units_per_day * (1 - _RESERVED_DAY))

    def bytes_of_day(self, *, is_live: bool) -> int:
        """Return the bytes of the mailbox's day that a lane may have fetched; live mail may fetch all."""
        return self.bytes_per_user_day if is_live else int(self.bytes_per_user_day * (1 - _RESERVED_DAY))

    def but(self, **overrides: int | None) -> Limits:
        """Return the limits with those that are not None in place of the profile's; unknown names are left out."""
        told = {name: overrides[name] for name in _names() if overrides.get(name) is not None}
        return replace(self, **told)  # type: ignore[arg-type]


def _names() -> list[str]:
    return [field.name for field in fields(Limits)]


LIMITS: Mapping[QuotaProfile, Limits] = MappingProxyType(
    {
        QuotaProfile.BEFORE_2026_05: Limits(COSTS[QuotaProfile.BEFORE_2026_05], 15_000, units_per_day=1_000_000_000),
        QuotaProfile.SINCE_2026_05: Limits(COSTS[QuotaProfile.SINCE_2026_05], 6_000),
    }
)


@dataclass(frozen=True, slots=True)
class Pace:
    """How a budget fills: units per second, the most it holds, and the part of that only live mail may draw."""

    rate: float
    burst: float
    reserved: float

    def refilled(self, level: float, elapsed: timedelta, ramp: float = 1.0) -> float:
        """Return the level after some time at a share `ramp` of the full rate."""
        return min(self.burst, level + max(0.0, elapsed.total_seconds()) * self.rate * ramp)

    def wait(self, level: float, cost: float, *, is_live: bool, ramp: float = 1.0) -> timedelta:
        """Return how long it takes until `cost` can be drawn; zero when it can be now."""
        missing = cost + self.floor(is_live=is_live) - level
        return timedelta(seconds=max(0.0, missing / (self.rate * ramp)))

    def calls(self, level: float, cost: float, *, is_live: bool) -> int:
        """Return how many calls can be paid now."""
        # A level that was refilled for exactly the told wait may miss it by a rounding.
        return max(0, int((level - self.floor(is_live=is_live) + 1e-6) // cost))

    def floor(self, *, is_live: bool) -> float:
        """Return the level below which a lane may not draw; live mail may draw everything."""
        return 0.0 if is_live else self.reserved


def pace(limit: int, dearest: int, minute: timedelta = MINUTE) -> Pace:
    """Return the pace of a limit per minute; `dearest` is what the dearest ordinary call costs."""
    burst = min(max(_BURST_SHARE * limit, _LEAST_BURST), limit / 2)
    reserved = min(max(_RESERVED_SHARE * burst, float(dearest)), burst / 2)
    return Pace((limit - burst) / minute.total_seconds(), burst, reserved)


def ramp(since: timedelta, minute: timedelta = MINUTE) -> float:
    """Return the share of the full pace some time after a rest: a tenth at first, doubled every half minute."""
    doublings = max(0.0, since / (minute * _DOUBLING))
    return min(1.0, _SLOWEST * math.exp2(min(doublings, 10.0)))


def quota_day(now: datetime) -> date:
    """Return the provider's day."""
    return now.astimezone(_QUOTA_ZONE).date()


def next_quota_day(now: datetime) -> datetime:
    """Return when the provider's next day begins, in UTC."""
    return datetime.combine(quota_day(now) + _DAY, time(), _QUOTA_ZONE).astimezone(UTC)
