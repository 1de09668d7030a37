"""Routing done again: tickets that were decided, decided by the rules of today; what people set stays theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row, text

from models.enums import Direction, TicketPriority, TicketStatus
from pipeline.core import service_levels
from pipeline.core.routing import RULES_VERSION, Decision, as_stored
from pipeline.ports import Ports
from pipeline.runtime import deciding
from pipeline.runtime.db import copy_rows
from pipeline.runtime.deciding import Policy
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.reprocessing import CHANGED, Again, Effects, Run, Subject

#: Tickets that a version before 0.3 decided say not what it decided, so nobody knows what people changed.
_MINE = """
    t.org_id = :org AND t.routing IS NOT NULL AND t.status <> 'merged'
    AND (CAST(:mailbox AS uuid) IS NULL
         OR EXISTS (SELECT FROM ticket_messages l JOIN occurrence_recipients r ON r.message_id = l.message_id
                      JOIN occurrences o ON o.id = r.occurrence_id
                     WHERE l.ticket_id = t.id AND o.mailbox_id = :mailbox))
"""
_COUNT = text(f"SELECT count(*) FROM tickets t WHERE {_MINE}")  # noqa: S608 - made of the constant above
_NEXT = text(f"""
    SELECT t.id FROM tickets t
     WHERE t.id > CAST(:after AS uuid) AND t.created_at <= :started_at AND {_MINE}
     ORDER BY t.id LIMIT :limit
""")  # noqa: S608 - made of the constant above
_LOCK = text("SELECT id FROM tickets WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR NO KEY UPDATE")
_TICKETS = text("""
    SELECT id, org_id, status, priority, queue_id, tags, routing, first_message_at, response_due_at
      FROM tickets WHERE id = ANY(CAST(:ids AS uuid[])) AND routing IS NOT NULL AND status <> 'merged' ORDER BY id
""")
#: The first messages of each ticket, in the order that routing saw them.
_MESSAGES = text("""
    SELECT l.ticket_id, f.*
      FROM unnest(CAST(:ids AS uuid[])) AS l(ticket_id)
      CROSS JOIN LATERAL (
          SELECT m.id AS message_id, m.from_address, m.subject, m.direction, m.machine,
                 (SELECT r.address FROM occurrence_recipients r WHERE r.message_id = m.id
                   ORDER BY r.occurrence_id LIMIT 1) AS recipient
            FROM ticket_messages x JOIN messages m ON m.id = x.message_id
           WHERE x.ticket_id = l.ticket_id ORDER BY m.received_at, m.id LIMIT :most) AS f
""")
_WRITE = text("""
    UPDATE tickets SET status = t.status, priority = t.priority, queue_id = t.queue,
                       tags = string_to_array(t.tags, chr(31)), routing = t.routing,
                       closed_at = CASE WHEN t.status NOT IN ('closed', 'spam') THEN NULL
                                        WHEN tickets.status = t.status THEN closed_at ELSE now() END,
                       response_due_at = coalesce(t.response_at, response_due_at),
                       resolution_due_at = coalesce(t.resolution_at, resolution_due_at), version = version + 1
      FROM unnest(CAST(:ids AS uuid[]), CAST(:statuses AS text[]), CAST(:priorities AS text[]),
                  CAST(:queues AS uuid[]), CAST(:tags AS text[]), CAST(:routings AS jsonb[]),
                  CAST(:responses AS timestamptz[]), CAST(:resolutions AS timestamptz[]))
        AS t(id, status, priority, queue, tags, routing, response_at, resolution_at)
     WHERE tickets.id = t.id
""")
_AGREE = text("""
    UPDATE tickets SET routing = routing || jsonb_build_object('version', CAST(:version AS int))
     WHERE id = ANY(CAST(:ids AS uuid[])) AND CAST(routing ->> 'version' AS int) < :version
""")
_MOST_MESSAGES = 20
_QUIET = frozenset({TicketStatus.SPAM.value, TicketStatus.CLOSED.value})
_FIRST = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Decided:
    """A ticket as it stands, its first messages, and the organization's rules of today."""

    ticket: Row[Any]
    messages: Sequence[Row[Any]]
    policy: Policy


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a ticket would be: its fields by name, and the decision behind them."""

    values: Mapping[str, Any]
    decision: Decision


class Rerouting:
    """The kind `routing`; its subjects are tickets, in the order of their ids."""

    @property
    def version(self) -> int:
        """The version of the rules' meaning; the organization's own rules have none."""
        return RULES_VERSION

    def count(self, connection: Connection, org_id: UUID, mailbox_id: UUID | None) -> int:
        """Return how many tickets were decided, with the decision kept."""
        return int(connection.execute(_COUNT, {"org": org_id, "mailbox": mailbox_id}).scalar_one())

    def load(self, connection: Connection, run: Run, limit: int) -> Sequence[Subject]:
        """Return the next tickets as they stand."""
        values = {"org": run.org_id, "mailbox": run.mailbox_id, "started_at": run.started_at, "limit": limit}
        ids = connection.execute(_NEXT, values | {"after": run.position or _FIRST}).scalars().all()
        return _subjects(connection, run.org_id, ids)

    def work(
        self,
        subjects: Sequence[Subject],
        _: Ports,
        *,
        stores: bool,  # noqa: ARG002 - it is pure
        isolated: bool,  # noqa: ARG002 - nothing of it ends a process
    ) -> Sequence[Again | Exception]:
        """Decide each ticket again, by the message that decided it."""
        return [_again(subject.loaded) for subject in subjects]

    def apply(self, connection: Connection, run: Run, changed: Sequence[tuple[Subject, Again]], job: Job) -> Effects:
        """Write what the rules say now; a ticket that wants work after all is sent on to triage."""
        ids = [UUID(subject.key) for subject, _ in changed]
        if not ids:
            return Effects()
        connection.execute(_LOCK, {"ids": ids})
        now = {one.key: one.loaded for one in _subjects(connection, run.org_id, ids)}
        refused = {
            subject.key: CHANGED
            for subject, again in changed
            if subject.key not in now or _again(now[subject.key]).changes != again.changes
        }
        made = [(now[subject.key], again) for subject, again in changed if subject.key not in refused]
        if made:
            connection.execute(_WRITE, _columns(made))
            rows = [_event(run, decided, again, job) for decided, again in made]
            copy_rows(connection, "events", ("org_id", "ticket_id", "kind", "actor", "data", "trace_id"), rows)
        return Effects(refused, [emit for decided, again in made for emit in _triage(decided, again, job)])

    def agree(self, connection: Connection, run: Run, keys: Sequence[str]) -> None:
        """Note the version on tickets that would be decided the same."""
        if keys:
            connection.execute(_AGREE, {"ids": [UUID(key) for key in keys], "version": run.version})


def _subjects(connection: Connection, org_id: UUID, ids: Sequence[UUID]) -> list[Subject]:
    if not ids:
        return []
    policy = deciding.policy_of(connection, org_id)
    messages: dict[UUID, list[Row[Any]]] = {}
    for row in connection.execute(_MESSAGES, {"ids": list(ids), "most": _MOST_MESSAGES}):
        messages.setdefault(row.ticket_id, []).append(row)
    tickets = connection.execute(_TICKETS, {"ids": list(ids)})
    return [Subject(str(row.id), Decided(row, messages.get(row.id, ()), policy)) for row in tickets]


def _again(decided: Decided) -> Again:
    ticket = decided.ticket
    if not decided.messages:
        return Again({})  # every message was moved to another ticket
    # As routing chooses it: the oldest message that may open a ticket, else the oldest.
    first = next((row for row in decided.messages if deciding.may_open_ticket(row)), decided.messages[0])
    decision = deciding.decide(decided.policy, first)
    before, after = ticket.routing, as_stored(decision)
    values = {"status": ticket.status, "priority": ticket.priority, "queue_id": _id(ticket.queue_id)}
    new: dict[str, Any] = {
        name: _following(value, before.get(name), after.get(name), _DEFAULTS[name]) for name, value in values.items()
    }
    values["tags"] = sorted(ticket.tags)
    new["tags"] = sorted((set(ticket.tags) - (set(before.get("tags") or ()) - _tags(after))) | _added(before, after))
    changes = {name: [value, new[name]] for name, value in values.items() if new[name] != value}
    if before.get("rule_id") != after["rule_id"]:
        changes["rule_id"] = [before.get("rule_id"), after["rule_id"]]
    return Again(changes, Outcome(new, decision))


_DEFAULTS = {"status": TicketStatus.NEW.value, "priority": TicketPriority.NORMAL.value, "queue_id": None}


def _following(value: Any, set_before: Any, set_now: Any, default: Any) -> Any:
    """Return the new value where the field still is as routing set it, the value itself where a person or mail did."""
    return (set_now or default) if value == (set_before or default) else value


def _tags(stored: Mapping[str, Any]) -> set[str]:
    return set(stored.get("tags") or ())


def _added(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """Return the tags that only the rules of today give: what a person took away stays away."""
    return _tags(after) - _tags(before)


def _columns(made: Sequence[tuple[Decided, Again]]) -> dict[str, list[Any]]:
    clocks = [_clock(decided, again.effect) for decided, again in made]
    news = [again.effect.values for _, again in made]
    return {
        "ids": [decided.ticket.id for decided, _ in made],
        "statuses": [new["status"] for new in news],
        "priorities": [new["priority"] for new in news],
        "queues": [new["queue_id"] for new in news],
        "tags": ["\x1f".join(new["tags"]) for new in news],
        "routings": [orjson.dumps(as_stored(again.effect.decision)).decode() for _, again in made],
        "responses": [clock and clock.response_at for clock in clocks],
        "resolutions": [clock and clock.resolution_at for clock in clocks],
    }


def _clock(decided: Decided, outcome: Outcome) -> service_levels.Deadlines | None:
    """Return the clock to set: another priority has another one, and a ticket that was set aside had none."""
    ticket = decided.ticket
    is_same = outcome.values["priority"] == ticket.priority and ticket.response_due_at is not None
    if is_same or outcome.decision.machine is not None:
        return None
    return service_levels.start_clock(TicketPriority(outcome.values["priority"]), ticket.first_message_at)


def _event(run: Run, decided: Decided, again: Again, job: Job) -> tuple[Any, ...]:
    said = {"changes": again.changes, "reason": again.effect.decision.reason, "reprocessing_id": run.run_id}
    actor = run.applied_by or "system"
    ticket = decided.ticket
    return (ticket.org_id, ticket.id, "ticket.rerouted", actor, orjson.dumps(said).decode(), job.trace_id)


def _triage(decided: Decided, again: Again, job: Job) -> list[Emit]:
    """Return what a ticket missed while it was believed to need nobody."""
    if decided.ticket.status not in _QUIET or again.effect.values["status"] in _QUIET:
        return []
    return [
        job.then("triage", str(row.message_id))
        for row in decided.messages
        if row.direction == Direction.INBOUND and deciding.may_open_ticket(row)
    ]


def _id(value: UUID | None) -> str | None:
    return None if value is None else str(value)
