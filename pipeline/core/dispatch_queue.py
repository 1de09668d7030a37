"""The dispatcher's queue: how a deadline stands, and which of equals comes first (seed-behaviours, 1.8)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TypeVar

from models.enums import DispatchPriority
from pipeline.core.service_levels import WARNING_MINUTES, Standing, remaining_minutes, standing

_MINUTE = timedelta(minutes=1)
_RANK = MappingProxyType({one: rank for rank, one in enumerate(DispatchPriority)})
_NO_REGION = 500

Queued = TypeVar("Queued")


@dataclass(frozen=True, slots=True)
class Due:
    """How a deadline stands: whole minutes that are left, what that is called, and `-HH:MM` for people."""

    remaining_minutes: int
    standing: Standing
    display: str


@dataclass(frozen=True, slots=True)
class Between:
    """A stretch of deadlines; the first is in it, the last is not, and None is no bound."""

    since: datetime | None
    before: datetime | None


ANY_TIME = Between(None, None)


@dataclass(frozen=True, slots=True)
class Urgency:
    """What decides which of two tickets comes first."""

    remaining_minutes: int
    priority: DispatchPriority
    region: str | None
    updated_at: datetime
    name: str


def due(due_at: datetime, now: datetime) -> Due:
    """Return how a deadline stands."""
    left = remaining_minutes(due_at, now)
    hours, minutes = divmod(abs(left), 60)
    return Due(left, standing(left), f"{'-' if left < 0 else ''}{hours:02}:{minutes:02}")


def stretch_of(wanted: Standing, now: datetime) -> Between:
    """Return the deadlines that stand so: those for which `due` says it, and no others."""
    healthy_from = now + (WARNING_MINUTES + 1) * _MINUTE
    return {
        Standing.BREACH: Between(None, now),
        Standing.WARNING: Between(now, healthy_from),
        Standing.HEALTHY: Between(healthy_from, None),
    }[wanted]


def region_weight(region: str | None) -> int:
    """Return the weight of a region's name: 10 to 990 by its letters, 500 without one."""
    if region is None or not region.strip():
        return _NO_REGION
    found = 0
    for letter in region.strip():
        found = found * 31 + ord(letter)
    return 10 + found % 100_000 % 981


def in_order(queued: Iterable[tuple[Urgency, Queued]]) -> list[Queued]:
    """Return tickets as they are shown: minutes left, priority, weight of the region, newest change, name."""
    return [one for _, one in sorted(queued, key=lambda pair: _key(pair[0]))]


def _key(one: Urgency) -> tuple[int, int, int, float, str]:
    weight = region_weight(one.region)
    return (one.remaining_minutes, _RANK[one.priority], weight, -one.updated_at.timestamp(), one.name)
