"""Why a mailbox is slow, in words: what its budgets hold back, until when, and how long the rest takes at this pace."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection

from models.queries import queue
from pipeline.core.budget import Held, at_once
from pipeline.core.quota import next_quota_day
from pipeline.runtime import budgets

_MINUTE = timedelta(minutes=1)


def explain(connection: Connection, mailbox_id: UUID) -> list[str]:
    """Return a sentence for each thing that slows a mailbox down, the weightiest first; none when nothing does."""
    held = budgets.standings(connection, [mailbox_id]).get(mailbox_id)
    waiting = queue.held(connection, [mailbox_id]).get(mailbox_id, 0)
    if held is None:
        return []
    return [*_rests(held), *_day(held), *_pace(held, waiting)]


def _rests(held: Held) -> Iterator[str]:
    for whose, budget in (("project", held.project), ("mailbox", held.mailbox)):
        said = budget.rest_reason or "the provider asked for patience"
        if budget.rest_until is not None:
            yield f"the {whose} rests {_until(budget.rest_until, held.now)}: {said}"
        elif budget.bytes_rest_until is not None:
            yield f"no mail is fetched {_until(budget.bytes_rest_until, held.now)}, changes are still read: {said}"


def _until(end: datetime, now: datetime) -> str:
    return f"until {_clock(end)}" if end > now else f"until a call proves that the wait to {_clock(end)} was enough"


def _day(held: Held) -> Iterator[str]:
    again = f"until {_clock(next_quota_day(held.now))} (midnight Pacific time)"
    limits, cost = held.limits, held.limits.cost("messages.get")
    units, size = held.project.day_units + cost, held.mailbox.day_bytes
    if units > limits.units_of_day(is_live=False):
        but = _but(is_all=units > limits.units_per_day)
        yield f"the project's {limits.units_per_day:,} units of the day are spent{but} {again}"
    if size >= limits.bytes_of_day(is_live=False):
        but = _but(is_all=size >= limits.bytes_per_user_day)
        yield f"the mailbox's {limits.bytes_per_user_day / 1e6:,.0f} MB of the day are fetched{but} {again}"


def _but(*, is_all: bool) -> str:
    return "" if is_all else " but for what is kept for live mail,"


def _pace(held: Held, waiting: int) -> Iterator[str]:
    limit = held.limits.units_per_user_minute
    share = held.mailbox.ramp(held.now)
    units = held.paces()[0].rate * share * _MINUTE.total_seconds()
    if share < 1:
        yield f"after a rest the pace grows slowly: {units:,.0f} of {limit:,} units a minute now"
    if waiting:
        left = timedelta(minutes=waiting * held.limits.cost("messages.get") / units)
        yield f"messages waiting for their turn: {waiting:,}; {_span(left)} at {units:,.0f} of {limit:,} units a minute"
    calls = at_once(held.mailbox.concurrency, held.limits.concurrency)
    if calls < held.limits.concurrency:
        yield f"{calls} of {held.limits.concurrency} calls at once: the provider said that there were too many"


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _span(duration: timedelta) -> str:
    minutes = duration / _MINUTE
    return f"about {minutes:,.0f} min" if minutes < 120 else f"about {minutes / 60:,.1f} h"
