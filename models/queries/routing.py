"""Routing for people: the allowlist, the rules, why a ticket was decided so, past decisions, and the shadow's."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

_PATTERNS = text("""
    SELECT id, pattern, is_enabled, created_at FROM recipient_allowlist
     WHERE org_id = :org AND (CAST(:after AS uuid) IS NULL OR id > :after) AND (CAST(:id AS uuid) IS NULL OR id = :id)
     ORDER BY id LIMIT :limit
""")
_RULES = text("""
    SELECT id, name, is_enabled, priority, match_recipient_pattern, match_sender_domain_pattern,
           match_sender_email_pattern, match_subject_pattern, match_direction, queue_id, assign_user_id, strategy,
           required_skills, stop, is_shadow, action_drop, set_status, set_priority, add_tags, auto_close, version,
           created_at
      FROM routing_rules
     WHERE org_id = :org AND (CAST(:priority AS int) IS NULL OR (priority, id) > (:priority, CAST(:after AS uuid)))
       AND (CAST(:id AS uuid) IS NULL OR id = :id)
     ORDER BY priority, id LIMIT :limit
""")
_TICKET = text("""
    SELECT t.id AS ticket_id, t.org_id, t.code, t.subject, t.routed_at, t.decided_at, t.routing, t.queue_id,
           t.assignee_user_id, s.decision AS shadow, s.decided_at AS shadow_at
      FROM tickets t LEFT JOIN shadow_decisions s ON s.ticket_id = t.id
     WHERE t.id = :ticket
""")
_RULE_NAMES = text("SELECT id, name FROM routing_rules WHERE org_id = :org AND id = ANY(CAST(:ids AS uuid[]))")
_QUEUE_NAMES = text("SELECT id, name FROM queues WHERE org_id = :org AND id = ANY(CAST(:ids AS uuid[]))")
_PEOPLE_NAMES = text("""
    SELECT p.id, coalesce(nullif(p.full_name, ''), p.email, p.phone, '') AS name
      FROM memberships m JOIN people p ON p.id = m.person_id
     WHERE m.org_id = :org AND m.person_id = ANY(CAST(:ids AS uuid[]))
""")
_SHADOWED = text("""
    SELECT s.ticket_id, t.code, t.subject, s.decided_at, s.decision
      FROM shadow_decisions s JOIN tickets t ON t.id = s.ticket_id
     WHERE s.org_id = :org AND s.decided_at >= :since
     ORDER BY s.decided_at DESC, s.ticket_id LIMIT :limit
""")
#: The message that decides is looked for among the first of each ticket: few of many, whatever the ticket's length.
_PAST = text("""
    SELECT t.id AS ticket_id, t.code, t.subject AS ticket_subject, t.routed_at, t.routing, f.*
      FROM (SELECT id, code, subject, routed_at, routing FROM tickets
             WHERE org_id = :org AND routing IS NOT NULL AND status <> 'merged'
             ORDER BY last_activity_at DESC, id DESC LIMIT :limit) AS t
      CROSS JOIN LATERAL (
          SELECT m.id AS message_id, m.from_address, m.subject, m.direction, m.machine, m.received_at,
                 (SELECT r.address FROM occurrence_recipients r WHERE r.message_id = m.id
                   ORDER BY r.occurrence_id LIMIT 1) AS recipient
            FROM (SELECT message_id FROM ticket_messages x WHERE x.ticket_id = t.id
                   ORDER BY x.linked_at LIMIT :messages) AS l
            JOIN messages m ON m.id = l.message_id
           ORDER BY m.direction = 'inbound' AND m.machine IS NOT NULL AND m.machine = ANY(CAST(:asking AS text[])),
                    m.received_at, m.id LIMIT 1) AS f
""")
_MESSAGES = 20


@dataclass(frozen=True, slots=True)
class Pattern:
    """One entry of the allowlist."""

    id: UUID
    pattern: str
    is_enabled: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Names:
    """What ids are called; those that are gone are missing."""

    rules: Mapping[UUID, str]
    queues: Mapping[UUID, str]
    people: Mapping[UUID, str]


def patterns(
    connection: Connection, org_id: UUID, *, after: UUID | None = None, pattern_id: UUID | None = None, limit: int = 50
) -> Sequence[Pattern]:
    """Return up to `limit` entries of an organization's allowlist, oldest first, after one of them."""
    values = {"org": org_id, "after": after, "id": pattern_id, "limit": limit}
    return [
        Pattern(row.id, row.pattern, row.is_enabled, row.created_at) for row in connection.execute(_PATTERNS, values)
    ]


def rules(
    connection: Connection,
    org_id: UUID,
    *,
    after: tuple[int, UUID] | None = None,
    rule_id: UUID | None = None,
    limit: int = 50,
) -> Sequence[Row[Any]]:
    """Return up to `limit` rules in the order they are tried, after a place (priority and id): rows of the table."""
    priority, after_id = after or (None, None)
    values = {"org": org_id, "priority": priority, "after": after_id, "id": rule_id, "limit": limit}
    return connection.execute(_RULES, values).all()


def ticket(connection: Connection, ticket_id: UUID) -> Row[Any]:
    """Return what was decided on a ticket, as stored, and what the rules in shadow said."""
    return connection.execute(_TICKET, {"ticket": ticket_id}).one()


def names(
    connection: Connection,
    org_id: UUID,
    *,
    rule_ids: Collection[UUID] = (),
    queue_ids: Collection[UUID] = (),
    person_ids: Collection[UUID] = (),
) -> Names:
    """Return what rules, queues and people of an organization are called."""
    asked = ((_RULE_NAMES, rule_ids), (_QUEUE_NAMES, queue_ids), (_PEOPLE_NAMES, person_ids))
    found = [
        {row.id: row.name for row in connection.execute(statement, {"org": org_id, "ids": list(ids)})} if ids else {}
        for statement, ids in asked
    ]
    return Names(*found)


def shadowed(connection: Connection, org_id: UUID, *, since: datetime, limit: int) -> Sequence[Row[Any]]:
    """Return the newest decisions of the rules in shadow, beside those in force."""
    return connection.execute(_SHADOWED, {"org": org_id, "since": since, "limit": limit}).all()


def past(connection: Connection, org_id: UUID, *, asking_nobody: Collection[str], limit: int) -> Sequence[Row[Any]]:
    """Return the tickets that were routed, newest activity first, each with the message that decides it.

    `asking_nobody` are the kinds of machines whose mail may not open a ticket.
    """
    values = {"org": org_id, "limit": limit, "messages": _MESSAGES, "asking": sorted(asking_nobody)}
    return connection.execute(_PAST, values).all()
