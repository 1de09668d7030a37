"""The ticket desk: what people change of a ticket, note on it, and tag it with (contract 001)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row, text

from models.enums import TicketPriority, TicketStatus, TransitionKind
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect, Locked, Move, Target
from pipeline.commands.desk_arguments import (
    Known,
    NewNote,
    TagChange,
    Ticket,
    TicketUpdate,
    assignee_exists,
    changes_of,
    place_exists,
    place_is_reached,
    tags_after,
    tags_fit,
    wanted_status,
)
from pipeline.core.refusing import Because, Refusal
from pipeline.core.written import read_id
from pipeline.runtime import clocks, identity

_COLUMNS = """
    id, code, status, dispatch_state, priority, subject, requester_email, requester_name, assignee_user_id, queue_id,
    account_id, site_id, mailbox_id, tags, first_message_at, last_message_at, last_activity_at, closed_at, created_at,
    version
"""
_LOCK = """
    SELECT t.id, t.status, t.priority, t.assignee_user_id, t.queue_id, t.account_id, t.site_id, t.tags, t.version,
           t.closed_at, ({reached}) AS is_reached,
           coalesce((SELECT d.trace_id FROM dispatches d WHERE d.ticket_id = t.id),
                    (SELECT e.trace_id FROM events e WHERE e.ticket_id = t.id AND e.trace_id IS NOT NULL
                      ORDER BY e.id LIMIT 1)) AS trace_id
      FROM tickets t WHERE t.org_id = :org AND {named} FOR NO KEY UPDATE
"""
_KNOWN = text("""
    SELECT EXISTS (SELECT FROM memberships m JOIN people p ON p.id = m.person_id AND p.is_active
                    WHERE m.org_id = :org AND m.person_id = :person AND m.is_active) AS is_member,
           EXISTS (SELECT FROM queues WHERE org_id = :org AND id = :queue) AS is_queue,
           EXISTS (SELECT FROM accounts WHERE org_id = :org AND id = :account) AS is_account,
           (SELECT account_id FROM sites WHERE org_id = :org AND id = :site) AS site_account_id
""")
#: Closed and spam are over; every other status is not (contract 001). A person has decided: no rule does any more.
_UPDATE = text(f"""
    UPDATE tickets SET status = :status, priority = :priority, assignee_user_id = :person, queue_id = :queue,
                       account_id = :account, site_id = :site,
                       closed_at = CASE WHEN :status IN ('closed', 'spam') THEN coalesce(closed_at, now()) END,
                       decided_at = coalesce(decided_at, now()), version = version + 1
     WHERE id = :ticket RETURNING {_COLUMNS}
""")  # noqa: S608 - columns from above
_TAG = text(f"""
    UPDATE tickets SET tags = :tags, decided_at = coalesce(decided_at, now()), version = version + 1
     WHERE id = :ticket RETURNING {_COLUMNS}
""")  # noqa: S608 - columns from above
_READ = text(f"SELECT {_COLUMNS} FROM tickets WHERE id = :ticket")  # noqa: S608 - columns from above
#: A note is activity, and no decision: rules may still route what was only noted on.
_NOTED = text("""
    UPDATE tickets SET last_activity_at = greatest(last_activity_at, now()), version = version + 1
     WHERE id = :ticket RETURNING version
""")
_NOTE = text("""
    INSERT INTO ticket_notes (org_id, ticket_id, person_id, actor, body_markdown)
    VALUES (:org, :ticket, :person, :actor, :body) RETURNING id, created_at
""")
_EVENT = text("""
    INSERT INTO events (org_id, ticket_id, kind, actor, data, trace_id)
    VALUES (:org, :ticket, :kind, :actor, CAST(:data AS jsonb), :trace)
""")
_SETTABLE = [status.value for status in TicketStatus if status is not TicketStatus.MERGED]


def _lock(connection: Connection, ask: Ask[Any]) -> Locked[Ticket] | None:
    """Lock a ticket by its id or code."""
    reached, values = identity.ticket_reach(ask.principal)
    ticket_id = read_id(ask.target or "")
    named = "t.code = :code" if ticket_id is None else "t.id = :id"
    values |= {"org": ask.principal.org_id}
    values |= {"code": (ask.target or "").lower()} if ticket_id is None else {"id": ticket_id}
    row = connection.execute(text(_LOCK.format(reached=reached, named=named)), values).one_or_none()
    if row is None:
        return None
    known = _known(connection, ask, row) if isinstance(ask.arguments, TicketUpdate) else Known()
    ticket = _ticket(row, known)
    return Locked(str(row.id), ticket, row.version, row.is_reached, row.status, trace_id=row.trace_id)


def _known(connection: Connection, ask: Ask[TicketUpdate], row: Row[Any]) -> Known:
    asked = ask.arguments
    site_id = asked.site_id if "site_id" in asked.model_fields_set else row.site_id
    values = {
        "org": ask.principal.org_id,
        "person": asked.assignee_user_id,
        "queue": asked.assignee_queue_id,
        "account": asked.account_id,
        "site": site_id,
    }
    found = connection.execute(_KNOWN, values).one()
    return Known(found.is_member, found.is_queue, found.is_account, found.site_account_id)


def _ticket(row: Row[Any], known: Known) -> Ticket:
    return Ticket(
        ticket_id=row.id,
        status=TicketStatus(row.status),
        assignee_user_id=row.assignee_user_id,
        queue_id=row.queue_id,
        priority=TicketPriority(row.priority),
        account_id=row.account_id,
        site_id=row.site_id,
        tags=tuple(row.tags),
        version=row.version,
        closed_at=row.closed_at,
        known=known,
        trace_id=row.trace_id,
    )


def _update(connection: Connection, ask: Ask[TicketUpdate], ticket: Ticket) -> Effect:
    changes = changes_of(ask.arguments, ticket)
    if not changes:
        row = connection.execute(_READ, {"ticket": ticket.ticket_id}).one()
        return Effect(_body(row), version=row.version)
    values = {
        "ticket": ticket.ticket_id,
        "status": changes.get("status", ticket.status),
        "priority": changes.get("priority", ticket.priority),
        "person": changes.get("assignee_user_id", ticket.assignee_user_id),
        "queue": changes.get("queue_id", ticket.queue_id),
        "account": changes.get("account_id", ticket.account_id),
        "site": changes.get("site_id", ticket.site_id),
    }
    row = connection.execute(_UPDATE, values).one()
    # The status pauses and ends clocks; priority and queue choose their policy.
    clocks.note_status(connection, [ticket.ticket_id])
    told = {
        _called(name): {"before": _plain(getattr(ticket, name)), "after": _plain(value)}
        for name, value in changes.items()
    }
    _tell(connection, ask, ticket, "ticket_updated", {"changes": told})
    moves = [Move(ticket.status.value, row.status)] if "status" in changes else []
    return Effect(_body(row), version=row.version, moves=moves, details={"changes": told})


def _add_note(connection: Connection, ask: Ask[NewNote], ticket: Ticket) -> Effect:
    said = ask.arguments.body_markdown
    values = {
        "org": ask.principal.org_id,
        "ticket": ticket.ticket_id,
        "person": ask.principal.person_id,
        "actor": ask.principal.email,
        "body": said,
    }
    note = connection.execute(_NOTE, values).one()
    version = connection.execute(_NOTED, {"ticket": ticket.ticket_id}).scalar_one()
    _tell(connection, ask, ticket, "note_added", {"note_id": str(note.id)})
    body = {
        "id": str(note.id),
        "ticket_id": str(ticket.ticket_id),
        "person_id": _plain(ask.principal.person_id),
        "actor": ask.principal.email,
        "body_markdown": said,
        "created_at": _plain(note.created_at),
        "version": version,
    }
    details = {"note_id": note.id, "length": len(said)}
    return Effect(body, status=201, version=version, details=details)


def _change_tags(connection: Connection, ask: Ask[TagChange], ticket: Ticket) -> Effect:
    after = tags_after(ask.arguments, ticket.tags)
    if after == list(ticket.tags):
        row = connection.execute(_READ, {"ticket": ticket.ticket_id}).one()
        return Effect(_body(row), version=row.version)
    row = connection.execute(_TAG, {"ticket": ticket.ticket_id, "tags": after}).one()
    clocks.note_status(connection, [ticket.ticket_id])
    told = {
        "added": [tag for tag in after if tag not in ticket.tags],
        "removed": [tag for tag in ticket.tags if tag not in after],
    }
    _tell(connection, ask, ticket, "tags_changed", told)
    return Effect(_body(row), version=row.version, details=told)


def _tell(connection: Connection, ask: Ask[Any], ticket: Ticket, kind: str, data: Mapping[str, Any]) -> None:
    values = {
        "org": ask.principal.org_id,
        "ticket": ticket.ticket_id,
        "kind": kind,
        "actor": ask.principal.email,
        "data": orjson.dumps(data).decode(),
        "trace": ask.trace_id or ticket.trace_id,
    }
    connection.execute(_EVENT, values)


def _body(row: Row[Any]) -> dict[str, Any]:
    return {_called(name): _plain(value) for name, value in row._asdict().items()}


def _called(column: str) -> str:
    """Return a column's name in contract 001."""
    return "assignee_queue_id" if column == "queue_id" else column


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, UUID):
        return str(value)
    return value.isoformat() if hasattr(value, "isoformat") else value


_MISSING = Refusal("TICKET_NOT_FOUND", "your organization has no such ticket", Because.MISSING)
TICKET: Target[Any, Ticket] = Target("ticket", _lock, _MISSING)
#: In every status but merged, which only undoing its merge ends.
_ANY = frozenset(_SETTABLE)

UPDATE = Command(
    name="ticket.update",
    about="Changes status, priority, assignee, account or site.",
    arguments=TicketUpdate,
    permission=Permission.TICKETS_CHANGE,
    target=TICKET,
    effect=_update,
    gates=(assignee_exists, place_exists, place_is_reached),
    kind=TransitionKind.STATUS,
    from_states=_ANY,
    moves=frozenset((before, after) for before in _SETTABLE for after in _SETTABLE if before != after),
    wanted=wanted_status,
)
ADD_NOTE = Command(
    name="ticket.note",
    about="Adds a note for colleagues.",
    arguments=NewNote,
    permission=Permission.TICKETS_NOTE,
    target=TICKET,
    effect=_add_note,
    from_states=_ANY,
)
CHANGE_TAGS = Command(
    name="ticket.tag",
    about="Adds and removes tags.",
    arguments=TagChange,
    permission=Permission.TICKETS_CHANGE,
    target=TICKET,
    effect=_change_tags,
    gates=(tags_fit,),
    from_states=_ANY,
)
#: What `pipeline.table` finds here.
COMMANDS = (UPDATE, ADD_NOTE, CHANGE_TAGS)
