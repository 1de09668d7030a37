"""Field work when tickets merge: what people have begun stays with its ticket, and the rest follows the ticket kept.

Two tickets on which people work in the field are two pieces of work, with visits and invoices of their own: no rule
joins them, and a person is told to end one first. What stages alone made (a work order, and the row beside it) is no
reason against it. Merging is no command of the lifecycle: `regroupings` holds the states before and after.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import combinations
from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.core.field_work import OUT_OF_QUEUE
from pipeline.runtime.errors import UserError

_OUT = sorted(state.value for state in OUT_OF_QUEUE)
#: Somebody has triaged it, taken it in, or gone further; making a ticket is no work yet.
_WORKED = text("""
    SELECT t.id FROM tickets t
     WHERE t.id = ANY(CAST(:ids AS uuid[])) AND t.dispatch_state <> 'NEW'
       AND EXISTS (SELECT FROM transitions x WHERE x.ticket_id = t.id AND x.kind = 'dispatch'
                                               AND x.command NOT LIKE 'stage.%')
""")
#: The kept ticket takes over what it lacks; undoing takes it away again.
_TAKE_OVER = text("""
    INSERT INTO dispatches (ticket_id, org_id, asset_id, incident_type, template_id, description, priority, nte_cents,
                            currency, due_at, due_soon_at, customer_name, customer_phone, customer_email, trace_id)
    SELECT :winner, d.org_id, d.asset_id, d.incident_type, d.template_id, d.description, d.priority, d.nte_cents,
           d.currency, d.due_at, d.due_soon_at, d.customer_name, d.customer_phone, d.customer_email, d.trace_id
      FROM dispatches d WHERE d.ticket_id = ANY(CAST(:losers AS uuid[]))
     ORDER BY d.due_at, d.ticket_id LIMIT 1
        ON CONFLICT (ticket_id) DO NOTHING
""")
_NOTE = text("UPDATE regroupings SET before = before || '{\"took_over_work\": true}' WHERE id = :id")
_GIVE_BACK = text("""
    DELETE FROM dispatches d USING regroupings g
     WHERE g.id = :id AND g.kind = 'merge' AND g.before ? 'took_over_work' AND d.ticket_id = g.ticket_id
       AND d.ticket_id <> ALL(CAST(:worked AS uuid[]))
""")
#: A merged ticket is nobody's to dispatch.
_QUEUE = text("""
    UPDATE dispatches d SET queue_due_at = CASE WHEN t.status <> 'merged' AND t.dispatch_state <> ALL(:out)
                                                THEN d.due_at END
      FROM tickets t
     WHERE t.id = d.ticket_id AND t.id = ANY(CAST(:ids AS uuid[]))
       AND d.queue_due_at IS DISTINCT FROM CASE WHEN t.status <> 'merged' AND t.dispatch_state <> ALL(:out)
                                                THEN d.due_at END
""")


class BothWorked(Exception):
    """People work in the field on a ticket that would merge away."""


def worked(connection: Connection, ticket_ids: Iterable[UUID]) -> set[UUID]:
    """Return the tickets on which people have begun field work."""
    return set(connection.execute(_WORKED, {"ids": sorted(set(ticket_ids))}).scalars())


def pairs(connection: Connection, ticket_ids: Collection[UUID]) -> list[tuple[UUID, UUID]]:
    """Return the pairs among tickets that no rule may join."""
    return list(combinations(sorted(worked(connection, ticket_ids)), 2))


def is_worked(connection: Connection, winner: UUID, losers: Collection[UUID]) -> bool:
    """Say whether people work on a ticket that others merge into; raise `BothWorked` when they do on one of those."""
    found = worked(connection, [winner, *losers])
    if found - {winner}:
        raise BothWorked(f"people work in the field on {len(found)} of {1 + len(losers)} tickets that are to be one")
    return bool(found)


def chosen(connection: Connection, winner: UUID, losers: Sequence[UUID]) -> tuple[UUID, list[UUID]]:
    """Return which of some tickets stays, and the others: the one that people work on, where it is only one."""
    found = worked(connection, [winner, *losers])
    stays = found.pop() if len(found) == 1 else winner
    return stays, [one for one in (winner, *losers) if one != stays]


def check_merge(connection: Connection, winner: UUID, losers: Collection[UUID]) -> None:
    """Refuse to merge field work away. Raises `UserError`, which says what to do."""
    found = worked(connection, [winner, *losers])
    if len(found) > 1:
        raise UserError("people work on both in the field; cancel or finish one of them, they stay two tickets")
    if found - {winner}:
        raise UserError("people work on it in the field; merge the other way round: into the ticket that has the work")


def check_join_back(connection: Connection, new_ids: Collection[UUID]) -> None:
    """Refuse to undo a split once people work on what was split off. Raises `UserError`."""
    if worked(connection, new_ids):
        raise UserError("people work in the field on what was split off by now; it stays a ticket of its own")


def merge(connection: Connection, winner: UUID, losers: Sequence[UUID], regrouping_id: int) -> None:
    """Let the kept ticket have what was made for the others, and the queue show it alone."""
    values = {"winner": winner, "losers": list(losers), "id": regrouping_id}
    if connection.execute(_TAKE_OVER, values).rowcount:
        connection.execute(_NOTE, values)
    requeue(connection, [winner, *losers])


def undo(connection: Connection, ticket_ids: Sequence[UUID], regrouping_id: int) -> None:
    """Take back what a merge gave the kept ticket, unless people work on it since; each has its place again."""
    people = sorted(worked(connection, ticket_ids))
    connection.execute(_GIVE_BACK, {"id": regrouping_id, "worked": people})
    requeue(connection, ticket_ids)


def requeue(connection: Connection, ticket_ids: Sequence[UUID]) -> None:
    """Let tickets stand in the dispatcher's queue as their rows say."""
    connection.execute(_QUEUE, {"ids": list(ticket_ids), "out": _OUT})
