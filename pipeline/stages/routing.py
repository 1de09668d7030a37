"""Routing: decides once per new ticket, by its first message: allowlist, rules, priority, whose it is, SLA clock.

Automatic mail that answers nothing we know (an absence note, a bounce, a loop) may not ask for anybody's time: its
ticket is closed from the start, tagged and without a clock, until the first message comes that may open one; that
message decides anew. In a ticket whose sides answer each other faster than people do, what comes in is quarantined.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from models.enums import Direction, DispatchState, Lane, QuarantineCause, TicketStatus
from pipeline.core import machines
from pipeline.core.routing import Decision
from pipeline.runtime import deciding, quarantine, regrouping, routed_rows, screening
from pipeline.runtime.db import copy_rows
from pipeline.runtime.deciding import Policy
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.quarantine import Held
from pipeline.runtime.routed_rows import Decided
from pipeline.stage import Stage, Work, each

_MESSAGES = text("""
    SELECT message_id FROM occurrences WHERE id = ANY(CAST(:ids AS bigint[])) AND message_id IS NOT NULL
""")
_LOAD = text("""
    SELECT o.id, o.org_id, o.mailbox_id, o.message_id, t.id AS ticket_id, t.status, t.priority, t.routed_at,
           t.dispatch_state, t.decided_at, t.queue_id, t.assignee_user_id, t.first_message_at, t.tags,
           t.mailbox_id AS ticket_mailbox_id, t.routing ->> 'machine' AS set_aside_for, r.address AS recipient,
           m.from_address, m.subject, m.direction, m.machine, m.flags, m.received_at
      FROM occurrences o
      JOIN messages m ON m.id = o.message_id
      JOIN ticket_messages l ON l.message_id = o.message_id
      JOIN tickets t ON t.id = l.ticket_id
      LEFT JOIN occurrence_recipients r ON r.occurrence_id = o.id
     WHERE o.id = ANY(CAST(:ids AS bigint[])) AND o.state IN ('stitched', 'quarantined')
     ORDER BY m.received_at, o.id
""")
_ROUTED = text("UPDATE occurrences SET state = 'routed' WHERE id = ANY(CAST(:ids AS bigint[]))")

#: A ticket in one of these needs nobody's work.
_QUIET = frozenset({TicketStatus.SPAM, TicketStatus.CLOSED, TicketStatus.MERGED})


@dataclass(frozen=True, slots=True)
class Arrival:
    """One stitched occurrence, its ticket as it stands, and the rules; `decides` for the message that decides it."""

    row: Any
    policy: Policy
    decides: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is decided on a ticket, and what the rules in shadow would have decided."""

    decision: Decision
    shadow: Decision | None


Routed = Work[Arrival, Outcome | None]


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Arrival]:
    """Lock the tickets in order, and read what arrived in them, oldest first."""
    ids = [int(job.key) for job in jobs]
    regrouping.lock_tickets_of(connection, connection.execute(_MESSAGES, {"ids": ids}).scalars().all())
    rows = list(connection.execute(_LOAD, {"ids": ids}))
    policies = {org_id: deciding.policy_of(connection, org_id) for org_id in {row.org_id for row in rows}}
    chosen = _deciding(rows)
    arrivals = {str(row.id): Arrival(row, policies[row.org_id], chosen.get(row.ticket_id) == row.id) for row in rows}
    return {job.job_id: arrivals[job.key] for job in jobs if job.key in arrivals}


def _deciding(rows: Iterable[Any]) -> dict[UUID, int]:
    """Return by ticket the occurrence that decides it: the oldest that may open a ticket, else the oldest.

    A ticket is decided once. One that was set aside is decided by the first message that may open a ticket.
    """
    chosen: dict[UUID, Any] = {}
    for row in rows:
        opens = deciding.may_open_ticket(row)
        if row.routed_at is not None and not (row.set_aside_for and opens):
            continue
        before = chosen.get(row.ticket_id)
        if before is None or (opens and not deciding.may_open_ticket(before)):
            chosen[row.ticket_id] = row
    return {ticket_id: row.id for ticket_id, row in chosen.items()}


def _decide(arrival: Arrival) -> Outcome | None:
    """Return the decision for a new ticket; None where it was decided before: a person's decision stays."""
    if not arrival.decides:
        return None
    policy, row = arrival.policy, arrival.row
    return Outcome(deciding.decide(policy, row), deciding.decide_in_shadow(policy, row))


def save(connection: Connection, works: Sequence[Routed]) -> Sequence[Emit]:
    """Apply the decisions, start the clocks, and send on what may need work or wants to be told that it came."""
    held = _hold(connection, works)
    statuses = routed_rows.write(connection, [_decided(done, done.result) for done in works if done.result])
    passed = [done for done in works if done.item.row.id not in held]
    connection.execute(_ROUTED, {"ids": [done.item.row.id for done in passed]})
    _tell_of_answers(connection, passed)
    active = [done for done in passed if _may_need_work(done.item.row, statuses.get(done.item.row.ticket_id))]
    answered = [done.job.then("acknowledge", str(done.item.row.message_id)) for done in active if _is_told(done)]
    return [*(done.job.then("triage", str(done.item.row.message_id)) for done in active), *answered]


def _tell_of_answers(connection: Connection, works: Sequence[Routed]) -> None:
    """Show that a customer wrote while field work waits for what they tell; triage leads on, not the mail."""
    rows = [
        (done.item.row.org_id, done.item.row.ticket_id, "ticket.info_arrived", _message(done), done.job.trace_id)
        for done in works
        if done.item.row.dispatch_state == DispatchState.NEEDS_INFO
        and done.item.row.direction == Direction.INBOUND
        and deciding.may_open_ticket(done.item.row)
    ]
    if rows:
        copy_rows(connection, "events", ("org_id", "ticket_id", "kind", "data", "trace_id"), rows)


def _message(done: Routed) -> str:
    return orjson.dumps({"message_id": done.item.row.message_id}).decode()


def _decided(done: Routed, outcome: Outcome) -> Decided:
    is_history = done.job.lane is Lane.BACKFILL
    return Decided(done.item.row, outcome.decision, done.item.policy, outcome.shadow, done.job.trace_id, is_history)


def _hold(connection: Connection, works: Sequence[Routed]) -> set[int]:
    """Set aside live mail in tickets whose sides answer each other too fast; return those occurrences."""
    live = {
        done.item.row.id: done
        for done in works
        if done.job.lane is Lane.LIVE and not done.item.decides and done.item.row.direction == Direction.INBOUND
    }
    fast = screening.too_fast(connection, [done.item.row for done in live.values()])
    quarantine.hold(connection, [_held(live[occurrence_id], why) for occurrence_id, why in fast.items()])
    return set(fast)


def _held(done: Routed, why: str) -> Held:
    row = done.item.row
    cause = QuarantineCause.THREAD_RATE
    return Held(row.org_id, row.id, cause, why, STAGE.name, done.job.trace_id, row.ticket_id)


def _may_need_work(row: Any, decided: TicketStatus | None) -> bool:
    status = decided or TicketStatus(row.status)
    return row.direction == Direction.INBOUND and deciding.may_open_ticket(row) and status not in _QUIET


def _is_told(done: Routed) -> bool:
    """Return whether its sender may be told that it came: a person's live mail that made a new ticket."""
    row = done.item.row
    return (
        done.result is not None
        and done.item.policy.acknowledges
        and done.job.lane is Lane.LIVE
        and row.machine is None
        and machines.NO_AUTOMATIC_ANSWER not in row.flags
    )


STAGE = Stage(
    name="routing",
    about="Decides once per new ticket: allowlist, rules, queue, SLA clock.",
    load=load,
    work=each(_decide),
    save=save,
    emits=("triage", "acknowledge"),
    batch=200,
    by_occurrence=True,
)
