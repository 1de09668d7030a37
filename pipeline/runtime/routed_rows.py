"""What routing writes: the ticket's fields and clocks, whose it is and why, the event, and the shadow's opinion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from models.enums import TicketPriority, TicketStatus
from pipeline.core import assigning as choosing
from pipeline.core.clocks import OVER
from pipeline.core.routing import AUTOMATIC, Decision
from pipeline.core.routing_records import as_stored, differing, matched_rules
from pipeline.core.service_levels import Facts
from pipeline.runtime import assigning, clocks
from pipeline.runtime.assigning import Wish
from pipeline.runtime.clocks import Start, Started
from pipeline.runtime.db import copy_rows
from pipeline.runtime.deciding import Policy

_ROUTE = text("""
    UPDATE tickets SET routed_at = now(), status = coalesce(t.status, tickets.status), priority = t.priority,
                       queue_id = t.queue, assignee_user_id = t.person, routing = t.routing,
                       mailbox_id = coalesce(tickets.mailbox_id, t.mailbox),
                       tags = ARRAY(SELECT DISTINCT unnest(
                           array_remove(tickets.tags, :automatic) || string_to_array(t.tags, chr(31)))),
                       closed_at = CASE WHEN t.status IN ('closed', 'spam') THEN now()
                                        WHEN t.status IS NOT NULL THEN NULL ELSE closed_at END,
                       response_due_at = coalesce(t.response_at, response_due_at),
                       resolution_due_at = coalesce(t.resolution_at, resolution_due_at),
                       sla_due_at = coalesce(t.sla_at, sla_due_at),
                       responded_at = coalesce(responded_at, t.answered_at), version = version + 1
      FROM unnest(CAST(:ids AS uuid[]), CAST(:statuses AS text[]), CAST(:priorities AS text[]),
                  CAST(:queues AS uuid[]), CAST(:people AS uuid[]), CAST(:mailboxes AS uuid[]), CAST(:tags AS text[]),
                  CAST(:responses AS timestamptz[]), CAST(:resolutions AS timestamptz[]), CAST(:slas AS timestamptz[]),
                  CAST(:answers AS timestamptz[]), CAST(:routings AS jsonb[]))
        AS t(id, status, priority, queue, person, mailbox, tags, response_at, resolution_at, sla_at, answered_at,
             routing)
     WHERE tickets.id = t.id
""")
_SHADOW = text("""
    INSERT INTO shadow_decisions (ticket_id, org_id, decision)
    SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:orgs AS uuid[]), CAST(:decisions AS jsonb[]))
        ON CONFLICT (ticket_id) DO UPDATE SET decision = excluded.decision, decided_at = now()
""")
_ENDED = frozenset({TicketStatus.SPAM, TicketStatus.CLOSED})
_COMPARED = ("rule_id", "status", "priority", "queue_id", "user_id", "strategy", "skills", "tags", "drop", "reason")


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision on a locked ticket: the row of the message that decides, with the ticket as it stands."""

    row: Any
    decision: Decision
    policy: Policy
    #: What the rules in shadow would have decided.
    shadow: Decision | None
    trace_id: str
    #: It comes out of an archive.
    is_history: bool = False


@dataclass(frozen=True, slots=True)
class _Placed:
    """Whose a ticket becomes; `record` is what is kept of how that came about."""

    queue_id: UUID | None
    person_id: UUID | None
    record: Mapping[str, Any] | None = None


def write(connection: Connection, decided: Sequence[Decided]) -> dict[UUID, TicketStatus | None]:
    """Apply decisions, start the clocks; return by ticket the status that was set, None where it was left alone.

    On a ticket that a person has decided on a rule only fills in what is empty: somebody to work it, and tags.
    """
    if not decided:
        return {}
    placed = _place(connection, decided)
    starts = [start for one, place in zip(decided, placed, strict=True) if (start := _start(one, place)) is not None]
    started = clocks.start(connection, starts)
    connection.execute(_ROUTE, _columns(decided, placed, started) | {"automatic": AUTOMATIC})
    # A person had opened it before: its clocks run already, perhaps towards other times now.
    clocks.note_status(connection, [one.ticket_id for one in starts if one.ticket_id not in started])
    events = [_event(one, place) for one, place in zip(decided, placed, strict=True)]
    copy_rows(connection, "events", ("org_id", "ticket_id", "kind", "data", "trace_id"), events)
    _write_shadow(connection, [one for one in decided if one.shadow is not None])
    return {one.row.ticket_id: _status(one) for one in decided}


def _place(connection: Connection, decided: Sequence[Decided]) -> list[_Placed]:
    """Return whose each ticket becomes: a person's choice, the rule's person or queue, or somebody of that queue."""
    places = [_without_choice(one) for one in decided]
    wishing = [number for number, one in enumerate(decided) if _wants_somebody(one)]
    wishes = [_wish(decided[number]) for number in wishing]
    for number, found in zip(wishing, assigning.assign(connection, wishes), strict=True):
        queue_id = found.queue_id if found.person_id is None else None
        places[number] = _Placed(queue_id, found.person_id, choosing.as_stored(found))
    return places


def _without_choice(one: Decided) -> _Placed:
    decision, row = one.decision, one.row
    if _is_taken(row):
        return _Placed(row.queue_id, row.assignee_user_id)
    if decision.assign_user_id is None:
        return _Placed(decision.assign_queue_id, None)
    record = {"person_id": str(decision.assign_user_id), "unfit": None}
    if decision.assign_user_id in one.policy.absent:
        return _Placed(None, None, record | {"person_id": None, "unfit": "absent"})
    return _Placed(None, decision.assign_user_id, record)


def _wants_somebody(one: Decided) -> bool:
    """Say whether somebody of the queue is to be found; a ticket that ends at once is nobody's turn."""
    asks = one.decision.strategy is not None and not _is_taken(one.row)
    return asks and (_status(one) or TicketStatus(one.row.status)) not in _ENDED


def _wish(one: Decided) -> Wish:
    decision = one.decision
    assert decision.assign_queue_id is not None
    assert decision.strategy is not None
    return Wish(one.row.org_id, decision.assign_queue_id, decision.strategy, decision.required_skills)


def _is_taken(row: Any) -> bool:
    return row.assignee_user_id is not None or row.queue_id is not None


def _status(one: Decided) -> TicketStatus | None:
    """Return the status to set; None where a person has set one before routing came, or has decided anything.

    A ticket that was set aside is new when its first person writes.
    """
    row, decision = one.row, one.decision
    if row.set_aside_for and row.status == TicketStatus.CLOSED:
        return TicketStatus.NEW if row.decided_at else decision.status or TicketStatus.NEW
    return decision.status if row.status == TicketStatus.NEW and not row.decided_at else None


def _priority(one: Decided) -> TicketPriority:
    return TicketPriority(one.row.priority if one.row.decided_at else one.decision.set_priority or one.row.priority)


def _start(one: Decided, place: _Placed) -> Start | None:
    """Return what is timed from now on; automatic mail, and what is over from the start, asks for nothing."""
    row, decision = one.row, one.decision
    status = _status(one) or TicketStatus(row.status)
    if decision.machine or status in OVER:
        return None
    queue_id = place.queue_id or (decision.assign_queue_id if place.person_id else None)
    tags = frozenset((*row.tags, *decision.add_tags))
    facts = Facts(_priority(one), queue_id, row.ticket_mailbox_id or row.mailbox_id, tags)
    # What was set aside is a matter since a person wrote in it.
    since = row.received_at if row.set_aside_for else row.first_message_at
    return Start(row.org_id, row.ticket_id, status, facts, since, one.is_history)


def _columns(decided: Sequence[Decided], placed: Sequence[_Placed], started: Mapping[UUID, Started]) -> dict[str, Any]:
    priorities = [_priority(one) for one in decided]
    times = [started.get(one.row.ticket_id) for one in decided]
    return {
        "ids": [one.row.ticket_id for one in decided],
        "statuses": [_status(one) for one in decided],
        "priorities": [priority.value for priority in priorities],
        "queues": [place.queue_id for place in placed],
        "people": [place.person_id for place in placed],
        "mailboxes": [one.row.mailbox_id for one in decided],
        "tags": ["\x1f".join(one.decision.add_tags) for one in decided],
        "responses": [one and one.dues.response_at for one in times],
        "resolutions": [one and one.dues.resolution_at for one in times],
        "slas": [one and one.dues.sla_at for one in times],
        "answers": [one and one.responded_at for one in times],
        "routings": [_json(_record(one, place)) for one, place in zip(decided, placed, strict=True)],
    }


def _record(one: Decided, place: _Placed) -> dict[str, Any]:
    """Return what is kept with the ticket: the decision, the table of candidates, what a person had decided before."""
    record: dict[str, Any] = as_stored(one.decision)
    if place.record is not None:
        record["assignment"] = place.record
    if kept := _kept(one):
        record["kept"] = kept
    return record


def _kept(one: Decided) -> list[str]:
    """Return what the rules would have set and a person had set before."""
    row, decision = one.row, one.decision
    wished = {
        "status": decision.status not in (None, row.status) and _status(one) is None,
        "priority": decision.set_priority not in (None, row.priority) and row.decided_at is not None,
        "assignee": (decision.assign_queue_id or decision.assign_user_id) is not None and _is_taken(row),
    }
    return [name for name, is_kept in wished.items() if is_kept]


def _event(one: Decided, place: _Placed) -> tuple[Any, ...]:
    row, decision = one.row, one.decision
    kind = "ticket.auto_spam" if decision.set_status == TicketStatus.SPAM else "ticket.routed"
    rule_id = decision.rule_id and str(decision.rule_id)
    said: dict[str, Any] = {"reason": decision.reason, "rule_id": rule_id, "occurrence_id": row.id}
    if place.record is not None:
        said["assignee_user_id"] = place.record["person_id"]
    if kept := _kept(one):
        said["kept"] = kept
    if one.policy.broken:
        said["not_compiled"] = one.policy.broken
    return (row.org_id, row.ticket_id, kind, _json(said), one.trace_id)


def _write_shadow(connection: Connection, decided: Sequence[Decided]) -> None:
    if decided:
        values = {
            "ids": [one.row.ticket_id for one in decided],
            "orgs": [one.row.org_id for one in decided],
            "decisions": [_json(_opinion(one)) for one in decided],
        }
        connection.execute(_SHADOW, values)


def _opinion(one: Decided) -> dict[str, Any]:
    assert one.shadow is not None
    live, would = as_stored(one.decision), as_stored(one.shadow)
    return {
        "live": {name: live[name] for name in _COMPARED if name in live},
        "would": {name: would[name] for name in _COMPARED if name in would},
        "differs": differing(live, would),
        "matched": [str(rule_id) for rule_id in matched_rules(would)],
    }


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
