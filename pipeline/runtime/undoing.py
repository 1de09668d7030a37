"""Undoing a merge or a split: everything goes back where it was, and what came since follows its evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models import row_security
from models.enums import RegroupingKind, StitchReason
from models.tickets import tickets
from pipeline.core.thread_keys import keys_of
from pipeline.core.threading import Group, Node, assemble
from pipeline.runtime import clocks, field_regrouping, regrouping, stitching
from pipeline.runtime.errors import UserError
from pipeline.runtime.ticket_locks import lock_tickets

_FIND = text("""
    SELECT id, org_id, kind, ticket_id, other_ids, before, actor, created_at, undone_at FROM regroupings
     WHERE id = :id AND org_id = :org FOR UPDATE
""")
_LATER = text("""
    SELECT min(id) FROM regroupings
     WHERE org_id = :org AND id > :id AND undone_at IS NULL
       AND (ticket_id = ANY(CAST(:tickets AS uuid[])) OR other_ids && CAST(:tickets AS uuid[]))
""")
_SINCE = text("""
    SELECT message_id FROM ticket_messages l
     WHERE ticket_id = ANY(CAST(:tickets AS uuid[])) AND linked_at > :at
       AND NOT EXISTS (SELECT FROM regrouped r WHERE r.regrouping_id = :id AND r.message_id = l.message_id)
     ORDER BY message_id
""")
_BACK = (
    text("""
        UPDATE ticket_messages l SET ticket_id = r.from_ticket_id FROM regrouped r
         WHERE r.regrouping_id = :id AND r.message_id = l.message_id AND l.ticket_id <> r.from_ticket_id
    """),
    text("""
        UPDATE work_orders w SET ticket_id = r.from_ticket_id FROM regrouped r
         WHERE r.regrouping_id = :id AND r.work_order_id = w.id AND w.ticket_id = :ticket
    """),
    text("DELETE FROM held_apart WHERE regrouping_id = :id"),
    text("""
        INSERT INTO held_apart (org_id, one_id, other_id, regrouping_id)
        SELECT h.org_id, h.one_id, h.other_id, h.regrouping_id
          FROM regroupings g, jsonb_populate_recordset(NULL::held_apart, nullif(g.before -> 'apart', 'null')) AS h
         WHERE g.id = :id
            ON CONFLICT DO NOTHING
    """),
)
_JOIN_BACK = (
    text("UPDATE ticket_messages SET ticket_id = :ticket WHERE ticket_id = ANY(CAST(:others AS uuid[]))"),
    text("UPDATE thread_keys SET ticket_id = :ticket WHERE ticket_id = ANY(CAST(:others AS uuid[]))"),
    text("UPDATE work_orders SET ticket_id = :ticket WHERE ticket_id = ANY(CAST(:others AS uuid[]))"),
    text("""
        UPDATE ticket_messages l SET reason = b.reason, confidence = b.confidence, evidence = b.evidence,
                                     is_pinned = b.is_pinned
          FROM regroupings g, jsonb_populate_recordset(NULL::ticket_messages, g.before -> 'links') AS b
         WHERE g.id = :id AND b.message_id = l.message_id
    """),
    text("""
        UPDATE tickets SET status = 'merged', merged_into = :ticket, closed_at = coalesce(closed_at, now()),
                           version = version + 1
         WHERE id = ANY(CAST(:others AS uuid[]))
    """),
    text("DELETE FROM held_apart WHERE regrouping_id = :id"),
)
_KEPT = frozenset({"id", "org_id", "code", "version", "created_at"})
_STATE = [column.name for column in tickets.columns if column.name not in _KEPT]


def _put_back(column: str) -> str:
    return f"{column} = CASE WHEN t.{column} IS NOT DISTINCT FROM a.{column} THEN b.{column} ELSE t.{column} END"


#: Column by column: what somebody changed since stays changed.
_RESTORE = text(f"""
    UPDATE tickets t SET version = t.version + 1, {", ".join(map(_put_back, _STATE))}
      FROM regroupings g, jsonb_each(g.before -> 'tickets') AS e(id, stored),
           jsonb_populate_record(NULL::tickets, e.stored) AS b,
           jsonb_populate_record(NULL::tickets, g.before -> 'after' -> e.id) AS a
     WHERE g.id = :id AND t.id = b.id
""")  # noqa: S608 - column names of the table
_PLACE = text("""
    UPDATE ticket_messages l SET ticket_id = t.ticket_id, reason = t.reason, confidence = t.confidence,
                                 evidence = t.evidence
      FROM unnest(CAST(:messages AS bigint[]), CAST(:tickets AS uuid[]), CAST(:reasons AS text[]),
                  CAST(:confidences AS text[]), CAST(:evidences AS text[]))
        AS t(message_id, ticket_id, reason, confidence, evidence)
     WHERE l.message_id = t.message_id AND l.ticket_id <> t.ticket_id
    RETURNING l.message_id, l.ticket_id
""")
#: A matter that somebody came back to since, or that one half kept open, stays open.
_REOPEN = text("""
    UPDATE tickets t SET status = 'open', closed_at = NULL, version = version + 1
     WHERE t.status IN ('pending', 'resolved', 'closed')
       AND EXISTS (SELECT FROM ticket_messages l JOIN messages m ON m.id = l.message_id
                    WHERE l.ticket_id = t.id AND l.message_id = ANY(CAST(:messages AS bigint[]))
                      AND m.machine IS NULL AND m.direction = 'inbound'
                      AND (t.closed_at IS NULL OR m.received_at > t.closed_at))
       AND t.id = ANY(CAST(:tickets AS uuid[]))
""")
_IS_OPEN = text("""
    SELECT EXISTS (SELECT FROM tickets WHERE id = ANY(CAST(:ids AS uuid[])) AND status IN ('new', 'open', 'pending'))
""")
_OPEN = text("""
    UPDATE tickets SET status = 'open', closed_at = NULL, version = version + 1
     WHERE id = :ticket AND status IN ('resolved', 'closed', 'spam')
""")
_REASONS = text("""
    SELECT message_id, reason, evidence FROM ticket_messages WHERE message_id = ANY(CAST(:messages AS bigint[]))
""")
#: Mail that came since into tickets that are held apart from one of these.
_NEIGHBOURS = text("""
    SELECT l.message_id, l.ticket_id
      FROM (SELECT other_id AS id FROM held_apart WHERE one_id = ANY(CAST(:ids AS uuid[]))
             UNION SELECT one_id FROM held_apart WHERE other_id = ANY(CAST(:ids AS uuid[]))) AS n
      JOIN ticket_messages l ON l.ticket_id = n.id AND l.linked_at > :at
     WHERE n.id <> ALL(CAST(:ids AS uuid[]))
     ORDER BY l.message_id
""")
_UNDONE = text("UPDATE regroupings SET undone_at = now(), undone_by = :actor WHERE id = :id")


@dataclass(frozen=True, slots=True)
class Undone:
    """What was undone: the ticket that had stayed or was split, the others, and the messages that moved since."""

    kind: RegroupingKind
    ticket_id: UUID
    other_ids: tuple[UUID, ...]
    replaced: int


def undo(connection: Connection, org_id: UUID, regrouping_id: int, *, actor: str) -> Undone:
    """Undo a regrouping.

    Raises `UserError` when there is none, it is undone, a later one stands on it, or people work in the field on what
    was split off.

    After a merge by rules its tickets are held apart: the evidence that joined them is still there.
    """
    stitching.lock(connection, org_id)
    found = connection.execute(_FIND, {"id": regrouping_id, "org": org_id}).one_or_none()
    if found is None:
        raise UserError(f"there is no regrouping {regrouping_id}")
    if found.undone_at is not None:
        raise UserError(f"regrouping {regrouping_id} was undone before")
    involved = [found.ticket_id, *found.other_ids]
    with row_security.unbarred(connection):  # an index on arrays, which the barrier forbids
        later = connection.execute(_LATER, {"org": org_id, "id": regrouping_id, "tickets": involved}).scalar_one()
    if later is not None:
        raise UserError(f"regrouping {later} changed one of these tickets later; undo that first")
    lock_tickets(connection, [UUID(one) for one in found.before["tickets"]] + involved)
    replaced = _split(connection, found) if found.kind == RegroupingKind.SPLIT else _merge(connection, found)
    field_regrouping.undo(connection, involved, regrouping_id)
    clocks.undo(connection, involved, regrouping_id)
    connection.execute(_UNDONE, {"id": regrouping_id, "actor": actor})
    return Undone(RegroupingKind(found.kind), found.ticket_id, tuple(found.other_ids), replaced)


def _split(connection: Connection, found: Row[Any]) -> int:
    values = {"id": found.id, "ticket": found.ticket_id, "others": found.other_ids}
    field_regrouping.check_join_back(connection, found.other_ids)
    since = _since(connection, found, found.other_ids)
    is_open = connection.execute(_IS_OPEN, {"ids": found.other_ids}).scalar_one()
    for statement in _JOIN_BACK:
        connection.execute(statement, values)
    connection.execute(_RESTORE, {"id": found.id})
    if is_open:
        connection.execute(_OPEN, {"ticket": found.ticket_id})
    if since:
        _catch_up(connection, [found.ticket_id], since)
    return len(since)


def _since(connection: Connection, found: Row[Any], ticket_ids: Sequence[UUID]) -> list[int]:
    """Return the messages of tickets that came since the regrouping."""
    values = {"id": found.id, "tickets": list(ticket_ids), "at": found.created_at}
    return list(connection.execute(_SINCE, values).scalars())


def _catch_up(connection: Connection, ticket_ids: Sequence[UUID], since: Sequence[int]) -> None:
    """Let tickets say of themselves what came since."""
    regrouping.recompute(connection, ticket_ids)
    connection.execute(_REOPEN, {"messages": list(since), "tickets": list(ticket_ids)})


def _merge(connection: Connection, found: Row[Any]) -> int:
    involved = [found.ticket_id, *found.other_ids]
    since = _since(connection, found, [found.ticket_id])
    for statement in _BACK:
        connection.execute(statement, {"id": found.id, "ticket": found.ticket_id})
    if found.actor == regrouping.SYSTEM:
        regrouping.hold_apart(connection, found.org_id, involved, found.id)
    connection.execute(_RESTORE, {"id": found.id})
    stitching.rekey(connection, found.org_id, involved, but=set(since))
    replaced = _replace(connection, found, involved, since) if since else 0
    stitching.rekey(connection, found.org_id, involved)
    _keep_neighbours_apart(connection, found, involved)
    return replaced


def _keep_neighbours_apart(connection: Connection, found: Row[Any], involved: Sequence[UUID]) -> None:
    """Hold apart what mail since then connects, and what stayed two only because the merged one was held apart."""
    values = {"ids": list(involved), "at": found.created_at}
    places = {row.message_id: row.ticket_id for row in connection.execute(_NEIGHBOURS, values)}
    nodes = _nodes(connection, found.org_id, list(places)) if places else []
    known = stitching.known(connection, found.org_id, {key.digest for node in nodes for key in node.keys})
    for node in nodes:
        touched = {known[key.digest] for key in node.keys if key.digest in known} & set(involved)
        for ticket_id in touched:
            regrouping.hold_apart(connection, found.org_id, [places[node.message_id], ticket_id], found.id)


def _replace(connection: Connection, found: Row[Any], involved: Sequence[UUID], message_ids: Sequence[int]) -> int:
    """Give what came since the merge to the ticket that its evidence leads to; the rest stays where it is.

    What would join several of them must not undo the undoing: from then on they are held apart.
    """
    nodes = _nodes(connection, found.org_id, message_ids)
    known = stitching.known(connection, found.org_id, {key.digest for node in nodes for key in node.keys})
    said = [*known.values(), *(node.token for node in nodes if node.token is not None), *involved]
    groups = assemble(nodes, known, stitching.apart(connection, said))
    if any(len(group.tickets & set(involved)) > 1 for group in groups):
        regrouping.hold_apart(connection, found.org_id, involved, found.id)
        groups = assemble(nodes, known, stitching.apart(connection, said))
    for group in groups:
        # Merging with yet another ticket is no part of undoing: both stay as they are.
        if group.tickets - set(involved):
            regrouping.hold_apart(connection, found.org_id, [_target(group, involved), *group.tickets], found.id)
    placed = [(_target(group, involved), link) for group in groups for link in group.links]
    moved = _place(connection, placed)
    _catch_up(connection, involved, message_ids)
    return len(moved)


def _nodes(connection: Connection, org_id: UUID, message_ids: Sequence[int]) -> list[Node[UUID]]:
    how = stitching.rules(connection, org_id)
    messages = stitching.read(connection, message_ids, stitching.sightings(connection, message_ids))
    links = {row.message_id: row for row in connection.execute(_REASONS, {"messages": list(message_ids)})}
    tokens = stitching.tokens(connection, org_id, message_ids)
    # The address that was verified when the message joined is its evidence; others may be made up.
    proved = {
        message_id: ticket_id
        for message_id, found in tokens.items()
        for address, ticket_id in found
        if links[message_id].reason == StitchReason.REPLY_TOKEN and links[message_id].evidence == address
    }
    return [
        Node(one, message.facts.at, keys_of(message.facts, how), token=proved.get(one))
        for one, message in messages.items()
    ]


def _target(group: Group[UUID], involved: Sequence[UUID]) -> UUID:
    return next((ticket_id for ticket_id in involved if ticket_id in group.tickets), involved[0])


def _place(connection: Connection, placed: Sequence[tuple[UUID, Any]]) -> Mapping[int, UUID]:
    rows = connection.execute(
        _PLACE,
        {
            "messages": [link.message_id for _, link in placed],
            "tickets": [ticket_id for ticket_id, _ in placed],
            "reasons": [link.reason.value for _, link in placed],
            "confidences": [link.confidence.value for _, link in placed],
            "evidences": [link.evidence for _, link in placed],
        },
    )
    return {row.message_id: row.ticket_id for row in rows}
