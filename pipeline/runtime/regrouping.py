"""Merging tickets, taking messages out of one, and undoing both: every step is kept with what undoing it needs.

Merge rule: the ticket with more open work orders stays, then the one with the older first message; the other becomes
`merged`, its messages, keys and work orders move, and later replies follow because the keys do. A matter that is open
stays open: an ended ticket that an open one merges into is open again.

Whoever calls these holds the organization's stitching lock (`stitching.lock`) and the tickets' rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import RegroupingKind

SYSTEM = "system"

#: Everything that changes tickets locks them in the order of their ids, so that none waits in a circle.
_LOCK = text("SELECT id FROM tickets WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR NO KEY UPDATE")
_RANK = text("""
    SELECT t.id, t.first_message_at,
           (SELECT count(*) FROM work_orders w
             WHERE w.ticket_id = t.id AND w.state IN ('created', 'in_progress')) AS work
      FROM tickets t WHERE t.id = ANY(CAST(:ids AS uuid[]))
""")
#: `before` holds the tickets that change, also those that merged into a loser earlier and now point elsewhere.
_RECORD = text("""
    INSERT INTO regroupings (org_id, kind, ticket_id, other_ids, before, actor, reason)
    SELECT :org, :kind, :ticket, CAST(:others AS uuid[]), jsonb_object_agg(t.id, to_jsonb(t)), :actor, :reason
      FROM tickets t
     WHERE t.id = :ticket OR t.id = ANY(CAST(:others AS uuid[])) OR t.merged_into = ANY(CAST(:others AS uuid[]))
    RETURNING id
""")
_JOURNAL = (
    text("""
        INSERT INTO regrouped (regrouping_id, from_ticket_id, message_id)
        SELECT :id, ticket_id, message_id FROM ticket_messages WHERE ticket_id = ANY(CAST(:losers AS uuid[]))
    """),
    text("""
        INSERT INTO regrouped (regrouping_id, from_ticket_id, digest)
        SELECT :id, ticket_id, digest FROM thread_keys WHERE ticket_id = ANY(CAST(:losers AS uuid[]))
    """),
    text("""
        INSERT INTO regrouped (regrouping_id, from_ticket_id, work_order_id)
        SELECT :id, ticket_id, id FROM work_orders WHERE ticket_id = ANY(CAST(:losers AS uuid[]))
    """),
)
_MERGE = (
    text("UPDATE thread_keys SET ticket_id = :winner WHERE ticket_id = ANY(CAST(:losers AS uuid[]))"),
    text("UPDATE ticket_messages SET ticket_id = :winner WHERE ticket_id = ANY(CAST(:losers AS uuid[]))"),
    text("UPDATE work_orders SET ticket_id = :winner WHERE ticket_id = ANY(CAST(:losers AS uuid[]))"),
    text("UPDATE tickets SET merged_into = :winner WHERE merged_into = ANY(CAST(:losers AS uuid[]))"),
    text("""
        INSERT INTO held_apart (org_id, one_id, other_id, regrouping_id)
        SELECT DISTINCT org_id, least(CAST(:winner AS uuid), other), greatest(CAST(:winner AS uuid), other), :id
          FROM (SELECT org_id, CASE WHEN one_id = ANY(CAST(:losers AS uuid[])) THEN other_id ELSE one_id END AS other
                  FROM held_apart
                 WHERE (one_id = ANY(CAST(:losers AS uuid[]))) <> (other_id = ANY(CAST(:losers AS uuid[])))
               ) AS enemies
         WHERE other <> :winner
            ON CONFLICT DO NOTHING
    """),
    text("""
        UPDATE tickets w SET first_message_at = least(w.first_message_at, l.first_at),
                             last_message_at = greatest(w.last_message_at, l.last_at),
                             last_activity_at = greatest(w.last_activity_at, l.last_at),
                             status = CASE WHEN l.is_open AND w.status IN ('resolved', 'closed', 'spam') THEN 'open'
                                           ELSE w.status END,
                             closed_at = CASE WHEN l.is_open THEN NULL ELSE w.closed_at END,
                             dispatch_state = CASE
                                 WHEN w.dispatch_state IN ('NEW', 'TRIAGED') AND l.is_ready THEN 'READY_TO_SCHEDULE'
                                 WHEN w.dispatch_state = 'NEW' AND l.is_triaged THEN 'TRIAGED'
                                 ELSE w.dispatch_state END,
                             version = version + 1
          FROM (SELECT min(first_message_at) AS first_at, max(last_message_at) AS last_at,
                       bool_or(dispatch_state = 'READY_TO_SCHEDULE') AS is_ready,
                       bool_or(dispatch_state = 'TRIAGED') AS is_triaged,
                       bool_or(status IN ('new', 'open', 'pending')) AS is_open
                  FROM tickets WHERE id = ANY(CAST(:losers AS uuid[]))) AS l
         WHERE w.id = :winner
    """),
    text("""
        UPDATE tickets SET status = 'merged', merged_into = :winner, closed_at = coalesce(closed_at, now()),
                           version = version + 1
         WHERE id = ANY(CAST(:losers AS uuid[]))
    """),
)


def lock_tickets(connection: Connection, ticket_ids: Iterable[UUID]) -> None:
    """Lock tickets in the order of their ids."""
    connection.execute(_LOCK, {"ids": list(set(ticket_ids))})


def ranks(connection: Connection, ticket_ids: Iterable[UUID]) -> dict[UUID, tuple[int, datetime]]:
    """Return for each ticket its open work orders and when its first message came, for `threading.winner`."""
    found = connection.execute(_RANK, {"ids": list(ticket_ids)})
    return {row.id: (row.work, row.first_message_at) for row in found}


def record(
    connection: Connection,
    org_id: UUID,
    kind: RegroupingKind,
    ticket_id: UUID,
    others: Sequence[UUID],
    *,
    actor: str,
    reason: str,
) -> int:
    """Keep the tickets as they are before a regrouping; return its id."""
    found: int = connection.execute(
        _RECORD,
        {"org": org_id, "kind": kind.value, "ticket": ticket_id, "others": others, "actor": actor, "reason": reason},
    ).scalar_one()
    return found


def merge(
    connection: Connection, org_id: UUID, winner: UUID, losers: Sequence[UUID], *, actor: str = SYSTEM, reason: str
) -> int:
    """Merge tickets into one and return the regrouping's id; what was held apart from a loser is from the winner."""
    ordered = sorted(losers)
    regrouping_id = record(connection, org_id, RegroupingKind.MERGE, winner, ordered, actor=actor, reason=reason)
    for statement in (*_JOURNAL, *_MERGE):
        connection.execute(statement, {"id": regrouping_id, "winner": winner, "losers": ordered})
    return regrouping_id
