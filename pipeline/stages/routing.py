"""Routing: decides once per new ticket, by its first message: allowlist, rules, priority, queue, and the SLA clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from models.enums import Direction, TicketPriority, TicketStatus
from pipeline.core import service_levels
from pipeline.core.routing import Allowlist, Decision, Facts, Rule, RuleBook, route
from pipeline.runtime.db import copy_rows
from pipeline.runtime.jobs import Emit, Job
from pipeline.stage import Stage, Work, each

_LOCK = text("""
    SELECT t.id FROM tickets t
     WHERE t.id IN (SELECT l.ticket_id FROM occurrences o JOIN ticket_messages l ON l.message_id = o.message_id
                     WHERE o.id = ANY(CAST(:ids AS bigint[])))
     ORDER BY t.id FOR NO KEY UPDATE
""")
_LOAD = text("""
    SELECT o.id, o.org_id, o.message_id, t.id AS ticket_id, t.status, t.priority, t.routed_at, t.first_message_at,
           r.address AS recipient, m.from_address, m.subject, m.direction, m.machine, m.received_at
      FROM occurrences o
      JOIN messages m ON m.id = o.message_id
      JOIN ticket_messages l ON l.message_id = o.message_id
      JOIN tickets t ON t.id = l.ticket_id
      LEFT JOIN occurrence_recipients r ON r.occurrence_id = o.id
     WHERE o.id = ANY(CAST(:ids AS bigint[])) AND o.state IN ('stitched', 'quarantined')
     ORDER BY m.received_at, o.id
""")
_ALLOWLIST = text("SELECT pattern FROM recipient_allowlist WHERE org_id = :org AND is_enabled")
_RULES = text("""
    SELECT id, priority, match_recipient_pattern, match_sender_domain_pattern, match_sender_email_pattern,
           match_subject_pattern, match_direction, queue_id, set_status, set_priority, add_tags, auto_close
      FROM routing_rules WHERE org_id = :org AND is_enabled
""")
_ROUTE = text("""
    UPDATE tickets SET routed_at = now(), status = coalesce(t.status, tickets.status), priority = t.priority,
                       queue_id = coalesce(t.queue, tickets.queue_id),
                       tags = ARRAY(SELECT DISTINCT unnest(tickets.tags || string_to_array(t.tags, chr(31)))),
                       closed_at = CASE WHEN t.status IN ('closed', 'spam') THEN now() ELSE closed_at END,
                       response_due_at = t.response_at, resolution_due_at = t.resolution_at, version = version + 1
      FROM unnest(CAST(:ids AS uuid[]), CAST(:statuses AS text[]), CAST(:priorities AS text[]),
                  CAST(:queues AS uuid[]), CAST(:tags AS text[]), CAST(:responses AS timestamptz[]),
                  CAST(:resolutions AS timestamptz[]))
        AS t(id, status, priority, queue, tags, response_at, resolution_at)
     WHERE tickets.id = t.id
""")
_ROUTED = text("UPDATE occurrences SET state = 'routed' WHERE id = ANY(CAST(:ids AS bigint[]))")

Stored = TypeVar("Stored")
Compiled = TypeVar("Compiled")
#: A ticket in one of these needs nobody's work.
_QUIET = frozenset({TicketStatus.SPAM, TicketStatus.CLOSED, TicketStatus.MERGED})


@dataclass(frozen=True, slots=True)
class Policy:
    """An organization's allowlist and rules, compiled."""

    allowlist: Allowlist
    book: RuleBook
    #: Rules and patterns that do not compile: passed over, and named on each ticket they did not decide.
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Arrival:
    """One stitched occurrence, its ticket as it stands, and the rules; `decides` for a new ticket's first message."""

    row: Any
    policy: Policy
    decides: bool


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Arrival]:
    """Lock the tickets in order, and read what arrived in them, oldest first."""
    ids = [int(job.key) for job in jobs]
    connection.execute(_LOCK, {"ids": ids})
    rows = list(connection.execute(_LOAD, {"ids": ids}))
    policies = {org_id: _policy(connection, org_id) for org_id in {row.org_id for row in rows}}
    arrivals: dict[str, Arrival] = {}
    deciding: set[UUID] = set()
    for row in rows:
        decides = row.routed_at is None and row.ticket_id not in deciding
        deciding.add(row.ticket_id)
        arrivals[str(row.id)] = Arrival(row, policies[row.org_id], decides)
    return {job.job_id: arrivals[job.key] for job in jobs if job.key in arrivals}


def _policy(connection: Connection, org_id: UUID) -> Policy:
    patterns, bad_patterns = _usable(connection.execute(_ALLOWLIST, {"org": org_id}).scalars(), _checked_pattern)
    rules, bad_rules = _usable(connection.execute(_RULES, {"org": org_id}), _rule)
    return Policy(Allowlist(patterns), RuleBook(rules), (*bad_patterns, *bad_rules))


def _usable(rows: Iterable[Stored], compiled: Callable[[Stored], Compiled]) -> tuple[list[Compiled], list[str]]:
    """Compile each row; one that does not compile must not stop the mail."""
    good, bad = [], []
    for row in rows:
        try:
            good.append(compiled(row))
        except ValueError as error:
            bad.append(str(error)[:200])
    return good, bad


def _checked_pattern(pattern: str) -> str:
    Allowlist([pattern])
    return pattern


def _rule(row: Any) -> Rule:
    return Rule(
        rule_id=row.id,
        priority=row.priority,
        match_recipient_pattern=row.match_recipient_pattern or "",
        match_sender_domain_pattern=row.match_sender_domain_pattern or "",
        match_sender_email_pattern=row.match_sender_email_pattern or "",
        match_subject_pattern=row.match_subject_pattern or "",
        match_direction=Direction(row.match_direction) if row.match_direction else None,
        assign_queue_id=row.queue_id,
        set_status=row.set_status,
        set_priority=row.set_priority,
        add_tags=tuple(row.add_tags),
        auto_close=row.auto_close,
    )


def _decide(arrival: Arrival) -> Decision | None:
    """Return the decision for a new ticket; None where it was decided before: a person's decision stays."""
    row = arrival.row
    if not arrival.decides:
        return None
    facts = Facts(row.recipient, row.from_address, Direction(row.direction), row.subject)
    if facts.direction is Direction.OUTBOUND:
        # Our own mail names the customer as recipient: the allowlist speaks of what reaches us.
        return route(Allowlist(["*"]), arrival.policy.book, facts, default_allowed=True)
    # Without any pattern no allowlist is in force; an unknown recipient is spam all the same (contract 001).
    return route(arrival.policy.allowlist, arrival.policy.book, facts, default_allowed=True)


def save(connection: Connection, works: Sequence[Work[Arrival, Decision | None]]) -> Sequence[Emit]:
    """Apply the decisions, start the clocks, and send on what may need work."""
    decided = [(done, done.result) for done in works if done.result is not None]
    if decided:
        connection.execute(_ROUTE, _columns(decided))
        rows = [_event(done, decision) for done, decision in decided]
        copy_rows(connection, "events", ("org_id", "ticket_id", "kind", "data", "trace_id"), rows)
    connection.execute(_ROUTED, {"ids": [done.item.row.id for done in works]})
    statuses = {done.item.row.ticket_id: _status(done.item.row, decision) for done, decision in decided}
    return [
        done.job.then("triage", str(done.item.row.message_id))
        for done in works
        if _may_need_work(done.item.row, statuses.get(done.item.row.ticket_id))
    ]


def _status(row: Any, decision: Decision) -> TicketStatus | None:
    """Return the status to set; None where a person has set one before routing came."""
    if row.status != TicketStatus.NEW:
        return None
    if decision.set_status:
        return TicketStatus(decision.set_status)
    return TicketStatus.CLOSED if decision.auto_close or decision.drop else None


def _may_need_work(row: Any, decided: TicketStatus | None) -> bool:
    status = decided or TicketStatus(row.status)
    return row.machine not in {"auto_reply", "bounce", "loop"} and row.direction == "inbound" and status not in _QUIET


def _columns(decided: Sequence[tuple[Work[Arrival, Decision | None], Decision]]) -> dict[str, list[Any]]:
    priorities = [TicketPriority(decision.set_priority or done.item.row.priority) for done, decision in decided]
    clocks = [
        service_levels.start_clock(priority, done.item.row.first_message_at)
        for priority, (done, _) in zip(priorities, decided, strict=True)
    ]
    return {
        "ids": [done.item.row.ticket_id for done, _ in decided],
        "statuses": [_status(done.item.row, decision) for done, decision in decided],
        "priorities": [priority.value for priority in priorities],
        "queues": [decision.assign_queue_id for _, decision in decided],
        "tags": ["\x1f".join(decision.add_tags) for _, decision in decided],
        "responses": [clock.response_at for clock in clocks],
        "resolutions": [clock.resolution_at for clock in clocks],
    }


def _event(done: Work[Arrival, Decision | None], decision: Decision) -> tuple[Any, ...]:
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
    emits=("triage",),
    batch=200,
    by_occurrence=True,
)
