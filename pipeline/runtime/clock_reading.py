"""How the clocks of one ticket stand, and why: for people who ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection

from models.enums import TicketStatus
from pipeline.core import clocks as ledger
from pipeline.core.clocks import Clock, Interval
from pipeline.core.service_levels import Policy, choose
from pipeline.runtime import clock_rows
from pipeline.runtime.levels import levels_of

#: The newest intervals that are told.
MOST_INTERVALS = 200


@dataclass(frozen=True, slots=True)
class Shown:
    """A clock with what it shows: the time that counted, and what is left of its target."""

    clock: Clock
    standing: str
    elapsed: timedelta
    remaining: timedelta


@dataclass(frozen=True, slots=True)
class Tried:
    """A policy that was looked at, and the first condition that the ticket misses; None: it is the one in force."""

    policy_id: UUID
    name: str
    misses: str | None


@dataclass(frozen=True, slots=True)
class Explained:
    """Everything about a ticket's clocks at the moment `at`; no clock where nothing was ever asked for."""

    at: datetime
    status: TicketStatus
    policy: Policy
    tried: Sequence[Tried]
    clocks: Sequence[Shown]
    intervals: Sequence[Interval]
    has_more_intervals: bool


def explain(connection: Connection, ticket_id: UUID) -> Explained:
    """Return how a ticket's clocks stand now, by which policy, and what their ledger says."""
    (one,) = clock_rows.read(connection, [ticket_id], locks=False)
    levels = levels_of(connection, [one.row.org_id])[one.row.org_id]
    policy = choose(levels, one.facts)
    shown = [_shown(clock, one.ledger, policy, one.row.at) for _, clock in sorted(one.clocks.items())]
    return Explained(
        at=one.row.at,
        status=TicketStatus(one.row.status),
        policy=policy,
        tried=_tried(levels, one, policy),
        clocks=shown,
        intervals=one.ledger[-MOST_INTERVALS:],
        has_more_intervals=len(one.ledger) > MOST_INTERVALS,
    )


def _shown(clock: Clock, intervals: Sequence[Interval], policy: Policy, now: datetime) -> Shown:
    used = ledger.elapsed(policy.calendar, intervals, clock.ended_at or now)
    return Shown(clock, ledger.standing(clock, now), used, clock.target - used)


def _tried(levels: Sequence[Policy], one: clock_rows.Standing, chosen: Policy) -> list[Tried]:
    tried = []
    for policy in levels:
        assert policy.policy_id is not None
        tried.append(Tried(policy.policy_id, policy.name, policy.conditions.misses(one.facts)))
        if policy is chosen:
            break
    return tried
