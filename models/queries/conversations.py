"""A ticket seen as a conversation: why each message stands in it, what may belong to it, and how it was regrouped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models import row_security
from models.queries.scoping import EVERYTHING, Reached

#: A conversation is shown by its newest messages, and their references are what is looked up.
SHOWN = 200
_RELATED = 20

_TICKET = """
    SELECT t.id AS ticket_id, t.org_id, t.code, t.status, t.subject, t.requester_email, i.code AS merged_into
      FROM tickets t LEFT JOIN tickets i ON i.id = t.merged_into
     WHERE (t.code = :name OR t.id = :id) AND (CAST(:org AS uuid) IS NULL OR t.org_id = :org) AND {reach}
     ORDER BY t.id LIMIT 1
"""
_MESSAGES = text("""
    SELECT m.id AS message_id, m.rfc_message_id, m.from_address, m.subject, m.received_at, m.direction, m.machine,
           l.reason, l.confidence, l.evidence, coalesce(l.rejected, '[]') AS rejected, l.is_pinned
      FROM ticket_messages l JOIN messages m ON m.id = l.message_id
     WHERE l.ticket_id = :ticket ORDER BY m.received_at DESC, m.id DESC LIMIT :shown
""")
#: The same mail in several mailboxes is one message: each team sees who else has it, and as whom it was written to.
_SEEN = text("""
    SELECT r.message_id, o.id AS occurrence_id, b.address AS mailbox, r.address AS recipient, r.source, r.confidence
      FROM occurrence_recipients r JOIN occurrences o ON o.id = r.occurrence_id JOIN mailboxes b ON b.id = o.mailbox_id
     WHERE r.message_id = ANY(CAST(:messages AS bigint[])) ORDER BY r.message_id, o.id
""")
#: Both ways: what its messages name, and what names its messages; and what carries one of its ids.
_POSSIBLE = """
    WITH mine AS MATERIALIZED (
        SELECT m.id, m.org_id, m.rfc_message_id FROM messages m WHERE m.id = ANY(CAST(:messages AS bigint[]))
    ), named AS (
        SELECT o.ticket_id, o.message_id, r.reference, 'is named by it' AS how
          FROM mine JOIN message_references r ON r.message_id = mine.id AND r.kind <> 'reported'
          JOIN messages m ON m.org_id = mine.org_id AND m.rfc_message_id IS NOT NULL
               AND hashtextextended(m.rfc_message_id, 0) = hashtextextended(r.reference, 0)
               AND m.rfc_message_id = r.reference
          JOIN ticket_messages o ON o.message_id = m.id
        UNION ALL
        SELECT o.ticket_id, o.message_id, r.reference, 'names it'
          FROM mine JOIN message_references r
               ON hashtextextended(r.reference, 0) = hashtextextended(mine.rfc_message_id, 0)
               AND r.reference = mine.rfc_message_id AND r.kind <> 'reported'
          JOIN ticket_messages o ON o.message_id = r.message_id AND o.org_id = mine.org_id
        UNION ALL
        SELECT o.ticket_id, o.message_id, m.rfc_message_id, 'carries its id'
          FROM mine JOIN messages m ON m.org_id = mine.org_id AND m.rfc_message_id IS NOT NULL
               AND hashtextextended(m.rfc_message_id, 0) = hashtextextended(mine.rfc_message_id, 0)
               AND m.rfc_message_id = mine.rfc_message_id AND m.id <> mine.id
          JOIN ticket_messages o ON o.message_id = m.id
    )
    SELECT DISTINCT ON (t.id) t.id AS ticket_id, t.code, t.subject, n.how, n.reference, m.from_address,
           EXISTS (SELECT FROM held_apart h WHERE h.one_id = least(t.id, CAST(:ticket AS uuid))
                                              AND h.other_id = greatest(t.id, CAST(:ticket AS uuid))) AS is_held_apart
      FROM named n JOIN tickets t ON t.id = n.ticket_id AND t.org_id = :org JOIN messages m ON m.id = n.message_id
     WHERE n.ticket_id <> :ticket AND {reach}
     ORDER BY t.id, n.message_id LIMIT :related
"""
_REGROUPINGS = text("""
    SELECT g.id AS regrouping_id, g.kind, g.actor, g.reason, g.created_at, g.undone_at, g.undone_by, t.code AS ticket,
           ARRAY(SELECT o.code FROM tickets o WHERE o.id = ANY(g.other_ids) ORDER BY o.id) AS others
      FROM regroupings g JOIN tickets t ON t.id = g.ticket_id
     WHERE (g.ticket_id = :ticket OR g.other_ids @> ARRAY[CAST(:ticket AS uuid)]) AND g.org_id = :org
     ORDER BY g.id DESC LIMIT :shown
""")


@dataclass(frozen=True, slots=True)
class Head:
    """A ticket by its name; `merged_into` is the code of the ticket that it became."""

    ticket_id: UUID
    org_id: UUID
    code: str
    status: str
    subject: str
    requester_email: str | None
    merged_into: str | None


@dataclass(frozen=True, slots=True)
class Seen:
    """One sighting of a message: the mailbox it is in, and the recipient that its headers prove (contract 001)."""

    occurrence_id: int
    mailbox: str
    recipient: str | None
    source: str
    confidence: str


@dataclass(frozen=True, slots=True)
class Placed:
    """One message and why it stands where it does; `rejected` are tickets that were named and not believed."""

    message_id: int
    rfc_message_id: str | None
    from_address: str | None
    subject: str
    received_at: datetime
    direction: str
    machine: str | None
    reason: str
    confidence: str
    evidence: str | None
    rejected: Sequence[dict[str, Any]]
    is_pinned: bool
    seen: Sequence[Seen]


@dataclass(frozen=True, slots=True)
class Possible:
    """Another ticket that a reference connects, without anybody who may speak in both."""

    ticket_id: UUID
    code: str
    subject: str
    how: str
    reference: str
    from_address: str | None
    is_held_apart: bool


@dataclass(frozen=True, slots=True)
class Regrouping:
    """A merge or a split that this ticket took part in."""

    regrouping_id: int
    kind: str
    actor: str
    reason: str
    created_at: datetime
    undone_at: datetime | None
    undone_by: str | None
    ticket: str
    others: Sequence[str]


@dataclass(frozen=True, slots=True)
class Conversation:
    """A ticket's newest messages, newest first, what may belong to it, and its regroupings."""

    head: Head
    messages: Sequence[Placed]
    possible: Sequence[Possible]
    regroupings: Sequence[Regrouping]


def find_head(
    connection: Connection, name: str, org_id: UUID | None = None, reach: Reached = EVERYTHING
) -> Head | None:
    """Return a ticket by code or id, of one organization or of any, within a reach."""
    cleaned = name.strip().lower()
    if not cleaned.isprintable():  # PostgreSQL takes no NUL, and no name has one
        return None
    try:
        by_id: UUID | None = UUID(cleaned)
    except ValueError:
        by_id = None
    condition, values = reach
    statement = text(_TICKET.format(reach=condition))
    found = connection.execute(statement, {"name": cleaned, "id": by_id, "org": org_id, **values})
    row = found.mappings().one_or_none()
    return None if row is None else Head(**row)


def conversation(connection: Connection, head: Head, reach: Reached = EVERYTHING) -> Conversation:
    """Return how a ticket came to be what it is; of others, those within the reach."""
    values = {"ticket": head.ticket_id, "org": head.org_id, "shown": SHOWN, "related": _RELATED}
    rows = list(connection.execute(_MESSAGES, values).mappings())
    seen = _seen(connection, [row["message_id"] for row in rows])
    messages = [Placed(**row, seen=seen.get(row["message_id"], ())) for row in rows]
    # Both walk indexes that the barrier forbids (hashes of references, arrays), and name the organization.
    with row_security.unbarred(connection):
        possible = _possible(connection, values | {"messages": [one.message_id for one in messages]}, reach)
        regroupings = [Regrouping(**row) for row in connection.execute(_REGROUPINGS, values).mappings()]
    return Conversation(head, messages, possible, regroupings)


def _possible(connection: Connection, values: dict[str, Any], reach: Reached) -> list[Possible]:
    condition, more = reach
    found = connection.execute(text(_POSSIBLE.format(reach=condition)), values | more)
    return [Possible(**row) for row in found.mappings()]


def _seen(connection: Connection, message_ids: Sequence[int]) -> dict[int, list[Seen]]:
    found: dict[int, list[Seen]] = {}
    for row in connection.execute(_SEEN, {"messages": list(message_ids)}).mappings():
        told = dict(row)
        found.setdefault(told.pop("message_id"), []).append(Seen(**told))
    return found
