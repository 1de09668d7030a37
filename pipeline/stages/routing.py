"""Routing: decides once per new ticket, by its first message: allowlist, rules, priority, queue, and the SLA clock.

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

from models.enums import Direction, Lane, QuarantineCause, TicketPriority, TicketStatus
from pipeline.core import machines, service_levels
from pipeline.core.routing import AUTOMATIC, Decision, as_stored
from pipeline.runtime import deciding, quarantine, regrouping, screening
from pipeline.runtime.db import copy_rows
from pipeline.runtime.deciding import Policy
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.quarantine import Held
from pipeline.stage import Stage, Work, each

_MESSAGES = text("""
    SELECT message_id FROM occurrences WHERE id = ANY(CAST(:ids AS bigint[])) AND message_id IS NOT NULL
""")
_LOAD = text("""
    SELECT o.id, o.org_id, o.message_id, t.id AS ticket_id, t.status, t.priority, t.routed_at, t.first_message_at,
           t.routing ->> 'machine' AS set_aside_for, r.address AS recipient, m.from_address, m.subject, m.direction,
           m.machine, m.flags, m.received_at
      FROM occurrences o
      JOIN messages m ON m.id = o.message_id
      JOIN ticket_messages l ON l.message_id = o.message_id
      JOIN tickets t ON t.id = l.ticket_id
      LEFT JOIN occurrence_recipients r ON r.occurrence_id = o.id
     WHERE o.id = ANY(CAST(:ids AS bigint[])) AND o.state IN ('stitched', 'quarantined')
     ORDER BY m.received_at, o.id
""")
_ROUTE = text("""
    UPDATE tickets SET routed_at = now(), status = coalesce(t.status, tickets.status), priority = t.priority,
                       queue_id = coalesce(t.queue, tickets.queue_id), routing = t.routing,
                       tags = ARRAY(SELECT DISTINCT unnest(
                           array_remove(tickets.tags, :automatic) || string_to_array(t.tags, chr(31)))),
                       closed_at = CASE WHEN t.status IN ('closed', 'spam') THEN now()
                                        WHEN t.status IS NOT NULL THEN NULL ELSE closed_at END,
                       response_due_at = t.response_at, resolution_due_at = t.resolution_at, version = version + 1
      FROM unnest(CAST(:ids AS uuid[]), CAST(:statuses AS text[]), CAST(:priorities AS text[]),
                  CAST(:queues AS uuid[]), CAST(:tags AS text[]), CAST(:responses AS timestamptz[]),
                  CAST(:resolutions AS timestamptz[]), CAST(:routings AS jsonb[]))
        AS t(id, status, priority, queue, tags, response_at, resolution_at, routing)
     WHERE tickets.id = t.id
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


Routed = Work[Arrival, Decision | None]


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


def _decide(arrival: Arrival) -> Decision | None:
    """Return the decision for a new ticket; None where it was decided before: a person's decision stays."""
    return deciding.decide(arrival.policy, arrival.row) if arrival.decides else None


def save(connection: Connection, works: Sequence[Routed]) -> Sequence[Emit]:
    """Apply the decisions, start the clocks, and send on what may need work or wants to be told that it came."""
    held = _hold(connection, works)
    decided = [(done, done.result) for done in works if done.result is not None]
    if decided:
        connection.execute(_ROUTE, _columns(decided) | {"automatic": AUTOMATIC})
        rows = [_event(done, decision) for done, decision in decided]
        copy_rows(connection, "events", ("org_id", "ticket_id", "kind", "data", "trace_id"), rows)
    passed = [done for done in works if done.item.row.id not in held]
    connection.execute(_ROUTED, {"ids": [done.item.row.id for done in passed]})
    statuses = {done.item.row.ticket_id: _status(done.item.row, decision) for done, decision in decided}
    active = [done for done in passed if _may_need_work(done.item.row, statuses.get(done.item.row.ticket_id))]
    answered = [done.job.then("acknowledge", str(done.item.row.message_id)) for done in active if _is_told(done)]
    return [*(done.job.then("triage", str(done.item.row.message_id)) for done in active), *answered]


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


def _status(row: Any, decision: Decision) -> TicketStatus | None:
    """Return the status to set; None where a person has set one before routing came.

    A ticket that was set aside is new when its first person writes.
    """
    if row.set_aside_for and row.status == TicketStatus.CLOSED:
        return decision.status or TicketStatus.NEW
    return decision.status if row.status == TicketStatus.NEW else None


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


def _columns(decided: Sequence[tuple[Routed, Decision]]) -> dict[str, Any]:
    priorities = [TicketPriority(decision.set_priority or done.item.row.priority) for done, decision in decided]
    clocks = [
        None if decision.machine else service_levels.start_clock(priority, done.item.row.first_message_at)
        for priority, (done, decision) in zip(priorities, decided, strict=True)
    ]
    return {
        "ids": [done.item.row.ticket_id for done, _ in decided],
        "statuses": [_status(done.item.row, decision) for done, decision in decided],
        "priorities": [priority.value for priority in priorities],
        "queues": [decision.assign_queue_id for _, decision in decided],
        "tags": ["\x1f".join(decision.add_tags) for _, decision in decided],
        "responses": [clock and clock.response_at for clock in clocks],
        "resolutions": [clock and clock.resolution_at for clock in clocks],
        "routings": [orjson.dumps(as_stored(decision)).decode() for _, decision in decided],
    }


def _event(done: Routed, decision: Decision) -> tuple[Any, ...]:
    row = done.item.row
    kind = "ticket.auto_spam" if decision.set_status == TicketStatus.SPAM else "ticket.routed"
    rule_id = decision.rule_id and str(decision.rule_id)
    said: dict[str, Any] = {"reason": decision.reason, "rule_id": rule_id, "occurrence_id": row.id}
    if done.item.policy.broken:
        said["not_compiled"] = done.item.policy.broken
    return (row.org_id, row.ticket_id, kind, orjson.dumps(said).decode(), done.job.trace_id)


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
