"""Undoing a merge or a split: everything goes back where it was, and what came since follows its evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import RegroupingKind, StitchReason
from models.tickets import tickets
from pipeline.core.thread_keys import keys_of
from pipeline.core.threading import Group, Node, assemble
from pipeline.runtime import regrouping, stitching
from pipeline.runtime.errors import UserError

_FIND = text("""
    SELECT id, org_id, kind, ticket_id, other_ids, before, actor, undone_at FROM regroupings
     WHERE id = :id AND org_id = :org FOR UPDATE
""")
_LATER = text("""
    SELECT min(id) FROM regroupings
     WHERE id > :id AND undone_at IS NULL
       AND (ticket_id = ANY(CAST(:tickets AS uuid[])) OR other_ids && CAST(:tickets AS uuid[]))
""")
_SINCE = text("""
    SELECT message_id FROM ticket_messages l
     WHERE ticket_id = ANY(CAST(:tickets AS uuid[]))
       AND NOT EXISTS (SELECT FROM regrouped r WHERE r.regrouping_id = :id AND r.message_id = l.message_id)
     ORDER BY message_id
""")
_BACK = (
    text("""
        UPDATE ticket_messages l SET ticket_id = r.from_ticket_id FROM regrouped r
         WHERE r.regrouping_id = :id AND r.message_id = l.message_id AND l.ticket_id <> r.from_ticket_id
    """),
    #: Keys of what came since: they are made anew below.
    text("""
        DELETE FROM thread_keys k
         WHERE k.ticket_id = :ticket
           AND NOT EXISTS (SELECT FROM regrouped r WHERE r.regrouping_id = :id AND r.digest = k.digest)
    """),
    text("""
        UPDATE thread_keys k SET ticket_id = r.from_ticket_id FROM regrouped r
         WHERE r.regrouping_id = :id AND k.org_id = :org AND r.digest = k.digest AND k.ticket_id <> r.from_ticket_id
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
#: A ticket that changed since by other hands keeps what it is now; its messages say the rest.
_RESTORE = text(f"""
    UPDATE tickets t SET ({", ".join(_STATE)}) = ({", ".join(f"b.{name}" for name in _STATE)}), version = t.version + 1
      FROM regroupings g, jsonb_each(g.before -> 'tickets') AS e(id, stored),
           jsonb_populate_record(NULL::tickets, e.stored) AS b
     WHERE g.id = :id AND t.id = b.id AND (t.id <> :ticket OR t.version = b.version + 1)
    RETURNING t.id
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
_REOPEN = text("""
    UPDATE tickets SET status = 'open', closed_at = NULL
     WHERE id IN (SELECT l.ticket_id FROM ticket_messages l JOIN messages m ON m.id = l.message_id
                   WHERE l.message_id = ANY(CAST(:messages AS bigint[])) AND m.machine IS NULL
                     AND m.direction = 'inbound')
       AND status IN ('pending', 'resolved', 'closed')
""")
_REASONS = text("""
    SELECT message_id, reason FROM ticket_messages WHERE message_id = ANY(CAST(:messages AS bigint[]))
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
    """Undo a regrouping. Raises `UserError` when there is none, it is undone, or a later one stands on it.

    After a merge by rules its tickets are held apart: the evidence that joined them is still there.
    """
    stitching.lock(connection, org_id)
    found = connection.execute(_FIND, {"id": regrouping_id, "org": org_id}).one_or_none()
    if found is None:
        raise UserError(f"there is no regrouping {regrouping_id}")
    if found.undone_at is not None:
        raise UserError(f"regrouping {regrouping_id} was undone before")
    involved = [found.ticket_id, *found.other_ids]
    later = connection.execute(_LATER, {"id": regrouping_id, "tickets": involved}).scalar_one()
    if later is not None:
        raise UserError(f"regrouping {later} changed one of these tickets later; undo that first")
    regrouping.lock_tickets(connection, [UUID(one) for one in found.before["tickets"]] + involved)
    replaced = _split(connection, found) if found.kind == RegroupingKind.SPLIT else _merge(connection, found)
    connection.execute(_UNDONE, {"id": regrouping_id, "actor": actor})
    return Undone(RegroupingKind(found.kind), found.ticket_id, tuple(found.other_ids), replaced)


def _split(connection: Connection, found: Row[Any]) -> int:
    values = {"id": found.id, "ticket": found.ticket_id, "others": found.other_ids}
    since = _since(connection, found, found.other_ids)
    for statement in _JOIN_BACK:
        connection.execute(statement, values)
    _restore(connection, found)
    if since:
        regrouping.recompute(connection, [found.ticket_id])
        connection.execute(_REOPEN, {"messages": since})
    return len(since)


def _since(connection: Connection, found: Row[Any], ticket_ids: Sequence[UUID]) -> list[int]:
    """Return the messages of tickets that the regrouping's journal does not name."""
    return list(connection.execute(_SINCE, {"id": found.id, "tickets": list(ticket_ids)}).scalars())


def _merge(connection: Connection, found: Row[Any]) -> int:
    values = {"id": found.id, "org": found.org_id, "ticket": found.ticket_id}
    since = _since(connection, found, [found.ticket_id])
    for statement in _BACK:
        connection.execute(statement, values)
    if found.actor == regrouping.SYSTEM:
        regrouping.hold_apart(connection, found.org_id, found.ticket_id, found.other_ids, found.id)
    _restore(connection, found)
    return _replace(connection, found, since) if since else 0


def _restore(connection: Connection, found: Row[Any]) -> None:
    restored = set(connection.execute(_RESTORE, {"id": found.id, "ticket": found.ticket_id}).scalars())
    if found.ticket_id not in restored:
        regrouping.recompute(connection, [found.ticket_id])


def _replace(connection: Connection, found: Row[Any], message_ids: Sequence[int]) -> int:
    """Give what came since the merge to the ticket that its evidence leads to; the rest stays where it is."""
    nodes = _nodes(connection, found.org_id, message_ids)
    known = stitching.known(connection, found.org_id, {key.digest for node in nodes for key in node.keys})
    involved = [found.ticket_id, *found.other_ids]
    said = [*known.values(), *(node.token for node in nodes if node.token is not None), *involved]
    groups = assemble(nodes, known, stitching.apart(connection, said))
    targets = [(_target(group, involved), group) for group in groups]
    moved = _place(connection, [(ticket_id, link) for ticket_id, group in targets for link in group.links])
    for ticket_id, group in targets:
        stitching.add_keys(connection, found.org_id, ticket_id, group.new_digests)
    regrouping.recompute(connection, involved)
    connection.execute(_REOPEN, {"messages": list(moved)})
    return len(moved)


def _nodes(connection: Connection, org_id: UUID, message_ids: Sequence[int]) -> list[Node[UUID]]:
    how = stitching.rules(connection, org_id)
    messages = stitching.read(connection, message_ids, stitching.sightings(connection, message_ids))
    reasons = {row.message_id: row.reason for row in connection.execute(_REASONS, {"messages": list(message_ids)})}
    tokens = stitching.tokens(connection, org_id, message_ids)
    return [
        Node(
            message_id,
            message.facts.at,
            keys_of(message.facts, how),
            # The token was verified when it joined; nobody can change it since.
            token=tokens[message_id][0][1]
            if reasons.get(message_id) == StitchReason.REPLY_TOKEN and tokens.get(message_id)
            else None,
        )
        for message_id, message in messages.items()
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
