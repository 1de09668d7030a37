"""Work orders of the field as they are read: one with all that belongs to it, and many as they are listed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import PhotoKind
from models.queries.scoping import Reached

#: Returns that an order is answered with, and orders that a checklist is: nobody looks at more.
MOST_RETURNS, MOST_OF_CHECKLIST = 50, 100

#: Names are looked up one by one, as values: so many joins would take longer to plan than to do.
_FACTS = """
           w.id, w.number, w.policy, w.state, w.version, w.title, w.priority, w.ticket_id, w.case_id, w.attempt,
           w.assigned_at, w.return_reason, w.outsourced_to, w.started_at, w.closed_at, w.due_at, w.created_at,
           now() AS now, f.item_id, f.item_text, f.item_note,
           w.assigned_to_id, (SELECT p.full_name FROM people p WHERE p.id = w.assigned_to_id) AS assigned_to,
           w.assigned_by_id, (SELECT p.full_name FROM people p WHERE p.id = w.assigned_by_id) AS assigned_by,
           w.created_by_id, (SELECT p.full_name FROM people p WHERE p.id = w.created_by_id) AS created_by,
           w.site_id, (SELECT s.name FROM sites s WHERE s.id = w.site_id) AS site,
           w.asset_id, (SELECT coalesce(nullif(a.name, ''), a.tag) FROM assets a WHERE a.id = w.asset_id) AS ride,
           w.checklist_id, (SELECT c.name FROM checklists c WHERE c.id = w.checklist_id) AS checklist"""
_AROUND = "LEFT JOIN findings f ON f.order_id = w.id"
_SHOWN = text(f"""
    SELECT {_FACTS},
           (SELECT count(*) FROM order_photos o
             WHERE o.order_id = w.id AND o.removed_at IS NULL AND o.kind = '{PhotoKind.ISSUE.value}') AS issue_photos
      FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS l(id, place) JOIN work_orders w ON w.id = l.id {_AROUND}
     ORDER BY l.place
""")  # noqa: S608 - made of the constants above
_ONE = """
    SELECT {facts}, w.instructions, w.fix_note, ({reached}) AS is_reached
      FROM work_orders w {around}
     WHERE w.org_id = :org AND w.policy = 'field' AND w.{named} = :name
"""
#: What the system does by itself has no person, and a token's subject may be anything.
_STEPS = """
    SELECT e.id, e.command, e.attempt, e.from_state, e.to_state, e.actor_id, e.actor_role, e.at, e.data,
           p.full_name AS actor
      FROM work_order_events e
      LEFT JOIN people p ON p.id = CASE WHEN pg_input_is_valid(e.actor_id, 'uuid') THEN CAST(e.actor_id AS uuid) END
     WHERE e.order_id = :order AND {which}
     ORDER BY e.id DESC LIMIT :limit
"""
_TIMELINE = text(_STEPS.format(which="(CAST(:before AS bigint) IS NULL OR e.id < :before)"))
_RETURNS = text(_STEPS.format(which="e.to_state = 'returned' AND e.from_state <> 'returned'"))
_CHECKLIST = """
    SELECT c.id, c.name, c.state, c.site_id, s.name AS site, c.asset_id,
           coalesce(nullif(a.name, ''), a.tag) AS ride, c.created_at, c.released_at, ({reached}) AS is_reached
      FROM checklists c JOIN sites s ON s.id = c.site_id LEFT JOIN assets a ON a.id = c.asset_id
     WHERE c.org_id = :org AND c.id = :checklist
"""
#: By what it found, and not along all orders until there are enough.
_OF_CHECKLIST = """
    WITH asked AS MATERIALIZED (SELECT f.order_id FROM findings f WHERE f.checklist_id = :checklist)
    SELECT w.id FROM asked JOIN work_orders w ON w.id = asked.order_id
     WHERE w.org_id = :org AND w.policy = 'field' AND ({reached})
     ORDER BY w.id LIMIT :limit
"""


def shown(connection: Connection, ids: Sequence[UUID]) -> Sequence[Row[Any]]:
    """Return orders as they are listed, in the order of their ids here."""
    return connection.execute(_SHOWN, {"ids": list(ids)}).all() if ids else ()


def one(connection: Connection, org_id: UUID, name: UUID | int, reached: Reached) -> Row[Any] | None:
    """Return an order of the field by its id or number, and whether it is reached; None when there is none."""
    condition, values = reached
    named = "number" if isinstance(name, int) else "id"
    statement = _ONE.format(facts=_FACTS, around=_AROUND, reached=condition, named=named)
    return connection.execute(text(statement), {**values, "org": org_id, "name": name}).one_or_none()


def steps(connection: Connection, order_id: UUID, *, limit: int, before: int | None = None) -> Sequence[Row[Any]]:
    """Return the newest steps of an order, or those before one, the newest first."""
    return connection.execute(_TIMELINE, {"order": order_id, "before": before, "limit": limit}).all()


def returns(connection: Connection, order_id: UUID) -> Sequence[Row[Any]]:
    """Return the steps by which an order was given back, the newest first; at most `MOST_RETURNS`."""
    return connection.execute(_RETURNS, {"order": order_id, "limit": MOST_RETURNS}).all()


def checklist(connection: Connection, org_id: UUID, checklist_id: UUID, reached: Reached) -> Row[Any] | None:
    """Return a checklist, and whether it is reached (a condition on `c`); None when there is none."""
    condition, values = reached
    statement = text(_CHECKLIST.format(reached=condition))
    return connection.execute(statement, {**values, "org": org_id, "checklist": checklist_id}).one_or_none()


def of_checklist(connection: Connection, org_id: UUID, checklist_id: UUID, reached: Reached) -> list[UUID]:
    """Return the orders that a checklist asked for and that are reached, the first first."""
    condition, values = reached
    statement = text(_OF_CHECKLIST.format(reached=condition))
    values = {**values, "org": org_id, "checklist": checklist_id, "limit": MOST_OF_CHECKLIST}
    return list(connection.execute(statement, values).scalars())
