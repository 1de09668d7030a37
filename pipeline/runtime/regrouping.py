"""Merging tickets, taking messages out of one, and undoing both: every step is kept with what undoing it needs.

Merge rule: the ticket on which people work in the field stays, then the one with more open work orders, then the one
with the older first message; the other becomes `merged`, its messages, keys and work orders move, and later replies
follow because the keys do. A matter that is open stays open: an ended ticket that an open one merges into is open
again.

Whoever calls these holds the organization's stitching lock (`stitching.lock`) and the tickets' rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from models.enums import RegroupingKind, TicketPriority
from models.work_lifecycle import OPEN
from pipeline.runtime import clocks, field_regrouping, stitching
from pipeline.runtime.ticket_locks import lock_tickets

SYSTEM = "system"
_REASON = 500
#: Field work of people counts more than any number of work orders.
_WORKED = 1_000_000
_PRIORITIES = [priority.value for priority in TicketPriority]

_RANK = text(f"""
    SELECT t.id, t.first_message_at,
           (SELECT count(*) FROM work_orders w WHERE w.ticket_id = t.id AND w.{OPEN}) AS work
      FROM tickets t WHERE t.id = ANY(CAST(:ids AS uuid[]))
""")  # noqa: S608 - a constant
#: `before` holds the tickets that change, also those that merged into a loser earlier and now point elsewhere. Its
#: time is the moment itself: under the lock nothing is linked meanwhile, so that what comes since comes later.
_RECORD = text("""
    WITH involved AS (
        SELECT t.* FROM tickets t WHERE t.id = :ticket OR t.id = ANY(CAST(:others AS uuid[]))
        UNION SELECT t.* FROM tickets t WHERE t.merged_into = ANY(CAST(:others AS uuid[]))
    )
    INSERT INTO regroupings (org_id, kind, ticket_id, other_ids, before, actor, reason, created_at)
    SELECT :org, :kind, :ticket, CAST(:others AS uuid[]), jsonb_build_object(
               'tickets', (SELECT jsonb_object_agg(i.id, to_jsonb(i)) FROM involved i),
               'links', CAST(:links AS jsonb),
               'apart', (SELECT jsonb_agg(to_jsonb(h)) FROM held_apart h
                          WHERE h.one_id = ANY(CAST(:ticket AS uuid) || CAST(:others AS uuid[]))
                            AND h.other_id = ANY(CAST(:ticket AS uuid) || CAST(:others AS uuid[])))),
           :actor, :reason, clock_timestamp()
    RETURNING id
""")
#: What undoing may change back: only what still is as the regrouping left it.
_AFTER = text("""
    UPDATE regroupings g SET before = g.before || jsonb_build_object('after', (
               SELECT jsonb_object_agg(t.id, to_jsonb(t)) FROM tickets t
                WHERE t.id IN (SELECT CAST(jsonb_object_keys(g.before -> 'tickets') AS uuid))))
     WHERE g.id = :id
""")
_JOURNAL = (
    text("""
        INSERT INTO regrouped (regrouping_id, from_ticket_id, message_id)
        SELECT :id, ticket_id, message_id FROM ticket_messages WHERE ticket_id = ANY(CAST(:losers AS uuid[]))
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
        UPDATE tickets w SET last_activity_at = greatest(w.last_activity_at, l.active_at),
                             priority = CASE WHEN l.urgency > array_position(CAST(:priorities AS text[]), w.priority)
                                             THEN (CAST(:priorities AS text[]))[l.urgency] ELSE w.priority END,
                             tags = ARRAY(SELECT DISTINCT unnest(w.tags || l.tags)),
                             status = CASE WHEN l.is_open AND w.status IN ('resolved', 'closed', 'spam') THEN 'open'
                                           ELSE w.status END,
                             closed_at = CASE WHEN l.is_open THEN NULL ELSE w.closed_at END,
                             dispatch_state = CASE
                                 WHEN :is_worked THEN w.dispatch_state
                                 WHEN w.dispatch_state IN ('NEW', 'TRIAGED') AND l.is_ready THEN 'READY_TO_SCHEDULE'
                                 WHEN w.dispatch_state = 'NEW' AND l.is_triaged THEN 'TRIAGED'
                                 ELSE w.dispatch_state END,
                             version = version + 1
          FROM (SELECT max(last_activity_at) AS active_at,
                       max(array_position(CAST(:priorities AS text[]), priority)) AS urgency,
                       (SELECT coalesce(array_agg(tag), '{}')
                          FROM tickets x, unnest(x.tags) AS tag WHERE x.id = ANY(CAST(:losers AS uuid[]))) AS tags,
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


_LINKS = text("""
    SELECT message_id, reason, confidence, evidence, is_pinned FROM ticket_messages
     WHERE message_id = ANY(CAST(:messages AS bigint[])) ORDER BY message_id
""")
#: The new ticket stands where the old one stood; what is dispatched stays with the old one.
_SPLIT = (
    text("""
        INSERT INTO tickets (id, org_id, code, status, priority, subject, subject_norm, assignee_user_id, queue_id,
                             account_id, site_id, mailbox_id, tags, first_message_at, last_message_at,
                             last_activity_at, closed_at, routed_at, routing, decided_at, response_due_at,
                             resolution_due_at)
        SELECT :new, org_id, :code, status, priority, subject, subject_norm, assignee_user_id, queue_id,
               account_id, site_id, mailbox_id, tags, first_message_at, last_message_at,
               first_message_at, closed_at, routed_at, routing, decided_at, response_due_at, resolution_due_at
          FROM tickets WHERE id = :ticket
    """),
    text("""
        INSERT INTO regrouped (regrouping_id, from_ticket_id, message_id)
        SELECT :id, :ticket, unnest(CAST(:messages AS bigint[]))
    """),
    text("""
        UPDATE ticket_messages SET ticket_id = :new, is_pinned = is_pinned OR :final,
                                   reason = CASE WHEN :final THEN 'person' ELSE reason END,
                                   confidence = CASE WHEN :final THEN 'high' ELSE confidence END,
                                   evidence = CASE WHEN :final THEN :evidence ELSE evidence END
         WHERE message_id = ANY(CAST(:messages AS bigint[]))
    """),
    text("UPDATE tickets SET version = version + 1 WHERE id = :ticket"),
    text("""
        INSERT INTO held_apart (org_id, one_id, other_id, regrouping_id)
        SELECT org_id, least(other, CAST(:new AS uuid)), greatest(other, CAST(:new AS uuid)), :id
          FROM (SELECT org_id, CASE WHEN one_id = :ticket THEN other_id ELSE one_id END AS other FROM held_apart
                 WHERE one_id = :ticket OR other_id = :ticket) AS enemies
            ON CONFLICT DO NOTHING
    """),
)
#: A ticket that somebody made says what they said of it.
_RECOMPUTE = text("""
    UPDATE tickets t SET first_message_at = CASE WHEN is_made THEN least(t.created_at, s.first_at) ELSE s.first_at END,
                         last_message_at = s.last_at, last_activity_at = greatest(t.last_activity_at, s.last_at),
                         subject = CASE WHEN is_made THEN t.subject ELSE s.subject END,
                         subject_norm = CASE WHEN is_made THEN t.subject_norm ELSE s.subject_norm END,
                         requester_email = CASE WHEN is_made THEN t.requester_email ELSE s.from_address END,
                         requester_name = CASE WHEN is_made THEN t.requester_name ELSE s.from_name END
      FROM (SELECT DISTINCT ON (l.ticket_id) l.ticket_id, m.subject, m.subject_norm, m.from_address, m.from_name,
                   EXISTS (SELECT FROM transitions x WHERE x.ticket_id = l.ticket_id AND x.kind = 'dispatch'
                                                       AND x.from_state IS NULL) AS is_made,
                   min(m.received_at) OVER whole AS first_at, max(m.received_at) OVER whole AS last_at
              FROM ticket_messages l JOIN messages m ON m.id = l.message_id
             WHERE l.ticket_id = ANY(CAST(:ids AS uuid[]))
            WINDOW whole AS (PARTITION BY l.ticket_id)
             ORDER BY l.ticket_id, m.received_at, m.id) AS s
     WHERE t.id = s.ticket_id
""")
_HOLD_APART = text("""
    INSERT INTO held_apart (org_id, one_id, other_id, regrouping_id)
    SELECT :org, one, other, :id
      FROM unnest(CAST(:ids AS uuid[])) AS a(one), unnest(CAST(:ids AS uuid[])) AS b(other) WHERE one < other
        ON CONFLICT DO NOTHING
""")


def ranks(connection: Connection, ticket_ids: Iterable[UUID]) -> dict[UUID, tuple[int, datetime]]:
    """Return for each ticket its open work and when its first message came, for `threading.winner`."""
    ids = list(ticket_ids)
    worked = field_regrouping.worked(connection, ids)
    found = connection.execute(_RANK, {"ids": ids})
    return {row.id: (row.work + (_WORKED if row.id in worked else 0), row.first_message_at) for row in found}


def record(
    connection: Connection,
    org_id: UUID,
    kind: RegroupingKind,
    ticket_id: UUID,
    others: Sequence[UUID],
    *,
    actor: str,
    reason: str,
    links: Sequence[Mapping[str, Any]] = (),
) -> int:
    """Keep the tickets, and the links that will change, as they are before a regrouping; return its id."""
    values = {
        "org": org_id,
        "kind": kind.value,
        "ticket": ticket_id,
        "others": list(others),
        "links": orjson.dumps(list(links)).decode(),
        "actor": actor,
        "reason": reason[:_REASON],
    }
    found: int = connection.execute(_RECORD, values).scalar_one()
    return found


def merge(
    connection: Connection, org_id: UUID, winner: UUID, losers: Sequence[UUID], *, actor: str = SYSTEM, reason: str
) -> int:
    """Merge tickets into one and return the regrouping's id; what was held apart from a loser is from the winner.

    Raises `field_regrouping.BothWorked` when people work in the field on one that would go, since rules looked.
    """
    ordered = sorted(losers)
    is_worked = field_regrouping.is_worked(connection, winner, ordered)
    # Tickets from before there were clocks get theirs while they still are what they were.
    clocks.note_status(connection, [winner, *ordered])
    regrouping_id = record(connection, org_id, RegroupingKind.MERGE, winner, ordered, actor=actor, reason=reason)
    values = {"id": regrouping_id, "winner": winner, "losers": ordered, "priorities": _PRIORITIES}
    for statement in (*_JOURNAL, *_MERGE):
        connection.execute(statement, values | {"is_worked": is_worked})
    field_regrouping.merge(connection, winner, ordered, regrouping_id)
    recompute(connection, [winner])
    clocks.merge(connection, winner, ordered, regrouping_id)
    connection.execute(_AFTER, {"id": regrouping_id})
    return regrouping_id


def split(
    connection: Connection,
    org_id: UUID,
    ticket_id: UUID,
    fresh: tuple[UUID, str],
    *,
    message_ids: Sequence[int],
    actor: str,
    reason: str,
    is_final: bool = True,
) -> int:
    """Make messages of a ticket a ticket of their own; return the regrouping's id.

    `fresh` is the id and the code of the new ticket. When it is final no evidence joins the two again, and no rule
    moves the messages. The caller makes the keys of both anew (`stitching.rekey`).
    """
    new_id, code = fresh
    links = [dict(row) for row in connection.execute(_LINKS, {"messages": list(message_ids)}).mappings()]
    regrouping_id = record(
        connection, org_id, RegroupingKind.SPLIT, ticket_id, [new_id], actor=actor, reason=reason, links=links
    )
    values = {
        "id": regrouping_id,
        "ticket": ticket_id,
        "new": new_id,
        "code": code,
        "messages": list(message_ids),
        "evidence": f"split off by {actor}: {reason}"[:_REASON],
        "final": is_final,
    }
    for statement in _SPLIT:
        connection.execute(statement, values)
    recompute(connection, [ticket_id, new_id])
    clocks.split(connection, ticket_id, new_id)
    if is_final:
        hold_apart(connection, org_id, [ticket_id, new_id], regrouping_id)
    connection.execute(_AFTER, {"id": regrouping_id})
    return regrouping_id


def recompute(connection: Connection, ticket_ids: Sequence[UUID]) -> None:
    """Let tickets say of themselves what their messages say: when they began and went on, about what, by whom."""
    connection.execute(_RECOMPUTE, {"ids": list(ticket_ids)})


def hold_apart(connection: Connection, org_id: UUID, ticket_ids: Sequence[UUID], regrouping_id: int) -> None:
    """Let no evidence join any two of the tickets, until a person merges them."""
    connection.execute(_HOLD_APART, {"org": org_id, "ids": list(set(ticket_ids)), "id": regrouping_id})


def lock_tickets_of(connection: Connection, message_ids: Sequence[int]) -> dict[int, UUID]:
    """Lock the tickets that messages stand in, and return them by message.

    A merge under way holds the ticket that they leave: whoever waited for it finds them in another one.
    """
    while True:
        places = stitching.linked(connection, message_ids)
        lock_tickets(connection, places.values())
        if stitching.linked(connection, message_ids) == places:
            return places
