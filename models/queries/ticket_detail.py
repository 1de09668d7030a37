"""One ticket with what stands in it: the newest messages, events and notes, each page by page into the past."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from models.queries.ticket_clauses import SLA_STATE

#: Characters of a text that a page shows, and the longest HTML: half a document is no document.
SHOWN_TEXT, SHOWN_HTML = 20_000, 100_000
#: A mail in more mailboxes than this does not make an answer endless.
_MOST_SEEN = 1_000

_TICKET = text(f"""
    SELECT t.id, t.code, t.status, t.dispatch_state, t.priority, t.subject, t.requester_email, t.requester_name,
           t.assignee_user_id, p.full_name AS assignee_name, t.queue_id AS assignee_queue_id, q.name AS queue_name,
           t.tags, t.account_id, t.site_id, t.mailbox_id, t.first_message_at, t.last_message_at, t.last_activity_at,
           t.closed_at, t.created_at, t.merged_into, i.code AS merged_into_code, t.version, t.sla_due_at,
           {SLA_STATE} AS sla_state, t.response_due_at, t.resolution_due_at, t.responded_at, t.resolved_at
      FROM tickets t LEFT JOIN people p ON p.id = t.assignee_user_id LEFT JOIN queues q ON q.id = t.queue_id
      LEFT JOIN tickets i ON i.id = t.merged_into
     WHERE t.id = :ticket
""")  # noqa: S608 - made of a constant
_ONE_MESSAGE = """
    SELECT m.id, m.rfc_message_id, m.direction, m.machine, m.from_address, m.from_name, m.subject, m.dated_at,
           m.received_at, m.snippet, m.flags, m.list_id, m.forwarded_from, m.collision_group_id,
           {body}, l.reason, l.confidence, l.evidence, coalesce(l.rejected, '[]') AS rejected, l.is_pinned, l.linked_at
      FROM {place} JOIN messages m ON m.id = l.message_id LEFT JOIN message_contents c ON c.message_id = m.id
"""
_CUT = f"""left(c.body_text, {SHOWN_TEXT}) AS body_text, left(c.fresh_text, {SHOWN_TEXT}) AS fresh_text,
           CASE WHEN length(c.body_html) <= {SHOWN_HTML} THEN c.body_html END AS body_html,
           length(c.body_text) > {SHOWN_TEXT} OR coalesce(length(c.body_html), 0) > {SHOWN_HTML} AS is_cut"""
_WHOLE = "c.body_text, c.fresh_text, c.body_html, false AS is_cut"
#: The ticket comes out of a function, so that its index is used whatever the planner knows of this one ticket: for one
#: with very much in it, it would go through the tables of all tickets from their ends.
_OF = "unnest(ARRAY[CAST(:ticket AS uuid)]) AS w(ticket_id) CROSS JOIN LATERAL"
#: Bodies are read for the page only, not for the whole thread that is put in order.
_PAGE = f"""{_OF} (SELECT l.* FROM ticket_messages l JOIN messages m ON m.id = l.message_id
             WHERE l.ticket_id = w.ticket_id {{before}} ORDER BY m.received_at DESC, m.id DESC LIMIT :limit) l"""  # noqa: S608
_MESSAGE_ORDER = " ORDER BY m.received_at DESC, m.id DESC"
_MESSAGES = text(_ONE_MESSAGE.format(body=_CUT, place=_PAGE.format(before="")) + _MESSAGE_ORDER)
_OLDER = "AND (m.received_at, m.id) < (CAST(:at AS timestamptz), CAST(:id AS bigint))"
_OLDER_MESSAGES = text(_ONE_MESSAGE.format(body=_CUT, place=_PAGE.format(before=_OLDER)) + _MESSAGE_ORDER)
_MESSAGE = text(
    _ONE_MESSAGE.format(body=_WHOLE, place="ticket_messages l")
    + " WHERE l.message_id = CAST(:id AS bigint) AND l.ticket_id = :ticket"
)
_PEOPLE = text("""
    SELECT message_id, role, address, name FROM message_addresses
     WHERE message_id = ANY(CAST(:ids AS bigint[])) AND role <> 'from' ORDER BY message_id, role, position
""")
_FILES = text("""
    SELECT id, message_id, filename, content_type, size, disposition, content_id, is_quarantined,
           encode(sha256, 'hex') AS sha256
      FROM attachments WHERE message_id = ANY(CAST(:ids AS bigint[])) ORDER BY message_id, position
""")
#: Recipient evidence (contract 001): each mailbox that has the mail, and as whom it was written to.
_SEEN = text(f"""
    SELECT r.message_id, o.id, o.mailbox_id, b.address AS mailbox, o.state, o.labels, o.internal_at,
           r.address AS recipient, r.source, r.confidence, r.evidence
      FROM occurrence_recipients r JOIN occurrences o ON o.id = r.occurrence_id JOIN mailboxes b ON b.id = o.mailbox_id
     WHERE r.message_id = ANY(CAST(:ids AS bigint[])) ORDER BY r.message_id, o.id LIMIT {_MOST_SEEN}
""")  # noqa: S608 - a number of this module
_EVENT = f"""
    SELECT e.* FROM {_OF} (SELECT e.id, e.kind, e.at, e.actor, e.data FROM events e
                            WHERE e.ticket_id = w.ticket_id {{before}} ORDER BY e.id DESC LIMIT :limit) e
     ORDER BY e.id DESC
"""  # noqa: S608 - made of a constant
_EVENTS, _OLDER_EVENTS = text(_EVENT.format(before="")), text(_EVENT.format(before="AND e.id < :before"))
_NOTE = f"""
    SELECT n.*, p.full_name AS author_name
      FROM {_OF} (SELECT n.id, n.body_markdown, n.actor, n.person_id, n.created_at FROM ticket_notes n
                   WHERE n.ticket_id = w.ticket_id {{before}} ORDER BY n.id DESC LIMIT :limit) n
      LEFT JOIN people p ON p.id = n.person_id ORDER BY n.id DESC
"""  # noqa: S608 - made of a constant
_NOTES, _OLDER_NOTES = text(_NOTE.format(before="")), text(_NOTE.format(before="AND n.id < :before"))
_ATTACHMENT = text("""
    SELECT a.id, encode(a.sha256, 'hex') AS sha256, a.filename, a.content_type, a.size, a.is_quarantined,
           now() AS asked_at
      FROM attachments a JOIN ticket_messages l ON l.message_id = a.message_id
      JOIN blobs b ON b.org_id = a.org_id AND b.kind = a.kind AND b.sha256 = a.sha256 AND b.erased_at IS NULL
     WHERE a.id = :id AND l.ticket_id = :ticket AND a.org_id = :org
""")


@dataclass(frozen=True, slots=True)
class Message:
    """A message as its row, with its other people, its files, and where it was seen."""

    row: Any
    people: Sequence[Any]
    files: Sequence[Any]
    seen: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Some of what stands in a ticket, oldest first; `has_older` when more came before."""

    items: Sequence[Any]
    has_older: bool


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a ticket's message, and the hex SHA-256 of its content."""

    attachment_id: int
    sha256: str
    filename: str
    content_type: str
    size: int
    is_quarantined: bool
    #: The database's time.
    asked_at: datetime


def ticket(connection: Connection, ticket_id: UUID) -> Any:
    """Return a ticket's row; it exists."""
    return connection.execute(_TICKET, {"ticket": ticket_id}).one()


def messages(
    connection: Connection, ticket_id: UUID, *, limit: int, before: tuple[datetime, int] | None = None
) -> Page:
    """Return the newest messages before a place (time received, id), long bodies cut."""
    values: dict[str, Any] = {"ticket": ticket_id, "limit": limit + 1}
    if before is None:
        rows = connection.execute(_MESSAGES, values).all()
    else:
        rows = connection.execute(_OLDER_MESSAGES, {**values, "at": before[0], "id": before[1]}).all()
    return Page(_with_parts(connection, rows[:limit][::-1]), len(rows) > limit)


def message(connection: Connection, ticket_id: UUID, message_id: int) -> Message | None:
    """Return one message of a ticket, whole; None when it does not stand there."""
    rows = connection.execute(_MESSAGE, {"ticket": ticket_id, "id": message_id}).all()
    found = _with_parts(connection, rows)
    return found[0] if found else None


def events(connection: Connection, ticket_id: UUID, *, limit: int, before: UUID | None = None) -> Page:
    """Return the newest events before one."""
    return _page(connection, _EVENTS if before is None else _OLDER_EVENTS, ticket_id, limit, before)


def notes(connection: Connection, ticket_id: UUID, *, limit: int, before: UUID | None = None) -> Page:
    """Return the newest notes before one."""
    return _page(connection, _NOTES if before is None else _OLDER_NOTES, ticket_id, limit, before)


def attachment(connection: Connection, org_id: UUID, ticket_id: UUID, attachment_id: int) -> Attachment | None:
    """Return a file of one of a ticket's messages; None when it does not stand there, or its content was erased."""
    values = {"id": attachment_id, "ticket": ticket_id, "org": org_id}
    row = connection.execute(_ATTACHMENT, values).one_or_none()
    return None if row is None else Attachment(*row)


def _page(connection: Connection, statement: TextClause, ticket_id: UUID, limit: int, before: UUID | None) -> Page:
    rows = connection.execute(statement, {"ticket": ticket_id, "limit": limit + 1, "before": before}).all()
    return Page(rows[:limit][::-1], len(rows) > limit)


def _with_parts(connection: Connection, rows: Sequence[Any]) -> list[Message]:
    ids = {"ids": [row.id for row in rows]}
    parts = [_by_message(connection, statement, ids) if rows else {} for statement in (_PEOPLE, _FILES, _SEEN)]
    return [Message(row, *(found.get(row.id, ()) for found in parts)) for row in rows]


def _by_message(connection: Connection, statement: TextClause, values: dict[str, Any]) -> dict[int, list[Any]]:
    found: defaultdict[int, list[Any]] = defaultdict(list)
    for row in connection.execute(statement, values):
        found[row.message_id].append(row)
    return found
