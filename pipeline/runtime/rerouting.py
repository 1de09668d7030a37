"""Routing done again: tickets that were decided, decided by the rules of today; what people set stays theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row, text

from models.enums import Direction, TicketPriority, TicketStatus
from pipeline.core import assigning as choosing
from pipeline.core.assigning import Assignment
from pipeline.core.routing import RULES_VERSION, Decision
from pipeline.core.routing_records import as_stored
from pipeline.core.written import plain
from pipeline.ports import Ports
from pipeline.runtime import assigning, clocks, deciding
from pipeline.runtime.assigning import Wish
from pipeline.runtime.db import copy_rows
from pipeline.runtime.deciding import Policy
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.reprocessing import CHANGED, Again, Effects, Run, Subject
from pipeline.runtime.ticket_locks import lock_tickets

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
_TICKETS = text("""
    SELECT id, org_id, status, priority, queue_id, assignee_user_id, tags, routing, decided_at
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
                       assignee_user_id = t.person, tags = string_to_array(t.tags, chr(31)), routing = t.routing,
                       closed_at = CASE WHEN t.status NOT IN ('closed', 'spam') THEN NULL
                                        WHEN tickets.status = t.status THEN closed_at ELSE now() END,
                       version = version + 1
      FROM unnest(CAST(:ids AS uuid[]), CAST(:statuses AS text[]), CAST(:priorities AS text[]),
                  CAST(:queues AS uuid[]), CAST(:people AS uuid[]), CAST(:tags AS text[]), CAST(:routings AS jsonb[]))
        AS t(id, status, priority, queue, person, tags, routing)
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
        lock_tickets(connection, ids)
        now = {one.key: one.loaded for one in _subjects(connection, run.org_id, ids)}
        refused = {
            subject.key: CHANGED
            for subject, again in changed
            if subject.key not in now or _again(now[subject.key]).changes != again.changes
        }
        made = [(now[subject.key], again) for subject, again in changed if subject.key not in refused]
        if made:
            connection.execute(_WRITE, _columns(made, _choose(connection, made)))
            # Another priority has another target, and what the rules close now never was a matter.
            clocks.note_status(connection, [decided.ticket.id for decided, _ in made], because="rerouted", drops=True)
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
    decision = deciding.decide(decided.policy, deciding.deciding_message(decided.messages))
    before, after = ticket.routing, as_stored(decision)
    values = {"status": ticket.status, "priority": ticket.priority}
    new: dict[str, Any] = {
        name: _following(value, before.get(name), after.get(name), _DEFAULTS[name], is_decided=bool(ticket.decided_at))
        for name, value in values.items()
    }
    values |= dict(zip(_WHOSE, _whose(ticket), strict=True))
    new |= dict(zip(_WHOSE, _whose_now(decided, after), strict=True))
    values["tags"] = sorted(ticket.tags)
    gone = set() if ticket.decided_at else _tags(before) - _tags(after)
    new["tags"] = sorted((set(ticket.tags) - gone) | _added(before, after))
    changes = {name: [value, new[name]] for name, value in values.items() if new[name] != value}
    if before.get("rule_id") != after.get("rule_id"):
        changes["rule_id"] = [before.get("rule_id"), after.get("rule_id")]
    return Again(changes, Outcome(new, decision))


_DEFAULTS = {"status": TicketStatus.NEW.value, "priority": TicketPriority.NORMAL.value}
_WHOSE = ("queue_id", "assignee_user_id")
_WISH = ("queue_id", "user_id", "strategy", "skills")


def _following(value: Any, set_before: Any, set_now: Any, default: Any, *, is_decided: bool) -> Any:
    """Return the new value where the field still is as routing set it, the value itself where a person or mail did."""
    if is_decided:
        return value
    return (set_now or default) if value == (set_before or default) else value


def _whose(ticket: Any) -> tuple[str | None, str | None]:
    return plain(ticket.queue_id), plain(ticket.assignee_user_id)


def _whose_now(decided: Decided, after: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return whose a ticket would be: as it is while the rules wish the same, or a person has chosen.

    Somebody of a queue is found when it is applied; until then it is the queue's.
    """
    ticket, before, whose = decided.ticket, decided.ticket.routing, _whose(decided.ticket)
    is_same = all((before.get(name) or None) == after.get(name) for name in _WISH)
    if is_same or whose != ((None, None) if ticket.decided_at else _placed(before)):
        return whose
    user_id = after.get("user_id")
    is_absent = user_id is not None and UUID(user_id) in decided.policy.absent
    return after.get("queue_id"), None if is_absent else user_id


def _placed(before: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return whose routing had made it."""
    assignment = before.get("assignment")
    if assignment is None or (assignment.get("person_id") is None and before.get("queue_id")):
        return before.get("queue_id"), before.get("user_id")
    return None, assignment.get("person_id")


def _choose(connection: Connection, made: Sequence[tuple[Decided, Again]]) -> dict[UUID, Assignment]:
    """Find somebody of the queue for each ticket that newly wants it; return by ticket."""
    wishing = [(decided.ticket, again.effect) for decided, again in made if _wants_somebody(again)]
    wishes = [
        Wish(ticket.org_id, UUID(effect.values["queue_id"]), effect.decision.strategy, effect.decision.required_skills)
        for ticket, effect in wishing
    ]
    found = assigning.assign(connection, wishes)
    return {ticket.id: assignment for (ticket, _), assignment in zip(wishing, found, strict=True)}


def _wants_somebody(again: Again) -> bool:
    values, decision = again.effect.values, again.effect.decision
    is_new = "queue_id" in again.changes and values["queue_id"] == plain(decision.assign_queue_id)
    return is_new and decision.strategy is not None and values["status"] not in _QUIET


def _tags(stored: Mapping[str, Any]) -> set[str]:
    return set(stored.get("tags") or ())


def _added(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """Return the tags that only the rules of today give: what a person took away stays away."""
    return _tags(after) - _tags(before)


def _columns(made: Sequence[tuple[Decided, Again]], chosen: Mapping[UUID, Assignment]) -> dict[str, list[Any]]:
    news = [again.effect.values for _, again in made]
    people = [chosen.get(decided.ticket.id) for decided, _ in made]
    return {
        "ids": [decided.ticket.id for decided, _ in made],
        "statuses": [new["status"] for new in news],
        "priorities": [new["priority"] for new in news],
        "queues": [None if who and who.person_id else new["queue_id"] for new, who in zip(news, people, strict=True)],
        "people": [
            who.person_id if who and who.person_id else new["assignee_user_id"]
            for new, who in zip(news, people, strict=True)
        ],
        "tags": ["\x1f".join(new["tags"]) for new in news],
        "routings": [
            orjson.dumps(_record(decided, again, who)).decode()
            for (decided, again), who in zip(made, people, strict=True)
        ],
    }


def _record(decided: Decided, again: Again, chosen: Assignment | None) -> dict[str, Any]:
    """Return what is kept with the ticket; the candidate table stays while the ticket stays with whom it chose."""
    record: dict[str, Any] = as_stored(again.effect.decision)
    if chosen is not None:
        record["assignment"] = choosing.as_stored(chosen)
    elif not again.changes.keys() & set(_WHOSE) and (kept := decided.ticket.routing.get("assignment")):
        record["assignment"] = kept
    elif "assignee_user_id" in again.changes and again.effect.values["assignee_user_id"]:
        record["assignment"] = {"person_id": again.effect.values["assignee_user_id"], "unfit": None}
    return record


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
