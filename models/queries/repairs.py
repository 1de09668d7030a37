"""Reads of repairs with all that goes with them, one query for a page, and of the steps that they went through."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import WorkOrderState, WorkPolicy
from models.queries.workshop_people import most

#: Words are looked for in so many of the newest that are left by all else: no index finds them behind the barrier, and
#: the whole past would be read for each page and again to be counted.
LOOKED = 10_000
#: The rows of `chosen` (id), newest first, with their item, people, parts and open work session.
_CONTEXT = """
    SELECT w.id, w.number, w.title, w.state, w.version, w.attempt, w.assigned_at, w.started_at, w.closed_at,
           w.created_at,
           i.id AS item_id, i.serial_number, i.name AS item_name, i.state AS item_state, i.category_id,
           c.name AS category,
           r.minutes, r.flag_color, r.xp_amount, r.is_manual, r.approved_at,
           w.created_by_id AS master_id, m.full_name AS master_name,
           w.assigned_to_id AS technician_id, t.full_name AS technician_name,
           r.approved_by_id, a.full_name AS approved_by_name,
           s.id AS session_id, s.state AS session_state, s.started_at AS session_started_at,
           s.technician_id AS session_technician_id,
           coalesce(p.parts, '[]') AS parts
      FROM chosen
      JOIN work_orders w ON w.id = chosen.id
      JOIN repairs r ON r.order_id = w.id
      JOIN inventory_items i ON i.id = w.item_id
      LEFT JOIN item_categories c ON c.id = i.category_id
      LEFT JOIN people m ON m.id = w.created_by_id
      LEFT JOIN people t ON t.id = w.assigned_to_id
      LEFT JOIN people a ON a.id = r.approved_by_id
      LEFT JOIN work_sessions s ON s.order_id = w.id AND s.state <> 'stopped'
      LEFT JOIN LATERAL (
          SELECT jsonb_agg(jsonb_build_object('part_id', q.part_id, 'part_name', n.name, 'color', q.color,
                                              'comment', q.comment, 'minutes', q.minutes) ORDER BY q.position) AS parts
            FROM repair_parts q JOIN parts n ON n.id = q.part_id
           WHERE q.order_id = w.id
      ) p ON true
     ORDER BY w.id DESC
"""
_FROM = "FROM work_orders w WHERE w.org_id = :org AND w.policy = 'workshop'"
#: Of the serial number or the title; or the code.
_WORDS = """
    (w.item_id IN (SELECT i.id FROM inventory_items i
                    WHERE i.org_id = :org AND position(upper(:words) IN i.serial_number) > 0)
     OR position(lower(:words) IN lower(w.title)) > 0 OR w.number = :number)
"""
_STEPS = """
      FROM work_order_events e
     WHERE e.order_id = :order AND e.command = ANY(CAST(:commands AS text[]))
"""
_STEP_PAGE = text(f"""
    SELECT e.id, e.command, e.from_state, e.to_state, e.actor_id, e.actor_role, e.at, e.data, p.full_name AS actor_name
      FROM (SELECT e.* {_STEPS} ORDER BY e.id DESC LIMIT :limit OFFSET :offset) e
      LEFT JOIN people p
        ON p.id = CASE WHEN pg_input_is_valid(e.actor_id, 'uuid') THEN CAST(e.actor_id AS uuid) END
     ORDER BY e.id DESC
""")  # noqa: S608 - from above
_STEP_COUNT = text(f"SELECT count(*) FROM (SELECT {_STEPS} LIMIT :most) found")  # noqa: S608 - from above
_FIND = text("""
    SELECT id FROM work_orders
     WHERE org_id = :org AND policy = :policy AND (id = CAST(:id AS uuid) OR number = CAST(:number AS bigint))
""")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for."""

    org_id: UUID
    state: WorkOrderState | None = None
    technician_id: UUID | None = None
    #: Part of a serial number or a title.
    words: str | None = None
    #: Of the code that the words are.
    number: int | None = None

    def condition(self) -> tuple[str, dict[str, Any]]:
        """Return what follows FROM, with its parameters."""
        parts = [_FROM]
        values: dict[str, Any] = {"org": self.org_id}
        if self.state is not None:
            parts.append("w.state = :state")
            values["state"] = self.state.value
        if self.technician_id is not None:
            parts.append("w.assigned_to_id = :technician")
            values["technician"] = self.technician_id
        if self.words is not None and self.number is not None and not self.words.isdecimal():
            # A code, which a title seldom holds.
            return " AND ".join([*parts, "w.number = :number"]), {**values, "number": self.number}
        if self.words is None:
            return " AND ".join(parts), values
        values |= {"words": self.words, "number": self.number}
        return f"FROM ({self._looked(' AND '.join(parts))}) w WHERE {_WORDS}", values

    def _looked(self, narrowed: str) -> str:
        """Return what words are looked for in: the newest, and the one that has the number, however old."""
        columns = f"SELECT w.id, w.item_id, w.title, w.number {narrowed}"
        newest = f"({columns} ORDER BY w.id DESC LIMIT {LOOKED})"
        return newest if self.number is None else f"{newest} UNION ({columns} AND w.number = :number)"


def one(connection: Connection, order_id: UUID) -> Row[Any]:
    """Return a repair that is there."""
    statement = f"WITH chosen AS (SELECT CAST(:order AS uuid) AS id) {_CONTEXT}"
    return connection.execute(text(statement), {"order": order_id}).one()


def page(connection: Connection, wanted: Wanted, *, limit: int, offset: int) -> list[Row[Any]]:
    """Return a page of repairs, newest first."""
    condition, values = wanted.condition()
    chosen = f"SELECT w.id {condition} ORDER BY w.id DESC LIMIT :limit OFFSET :offset"
    statement = f"WITH chosen AS MATERIALIZED ({chosen}) {_CONTEXT}"
    return list(connection.execute(text(statement), {**values, "limit": limit, "offset": offset}))


def count(connection: Connection, wanted: Wanted, *, limit: int, offset: int) -> int:
    """Return how many there are; above 10,000, at least as many as the page and one after it prove."""
    condition, values = wanted.condition()
    statement = f"SELECT count(*) FROM (SELECT {condition} LIMIT :most) found"  # noqa: S608 - from above
    return int(connection.execute(text(statement), {**values, "most": most(limit, offset)}).scalar_one())


def find(connection: Connection, org_id: UUID, order_id: UUID | None, number: int | None) -> UUID | None:
    """Return the id of an organization's repair by its id or number."""
    values = {"org": org_id, "policy": WorkPolicy.WORKSHOP.value, "id": order_id, "number": number}
    found: UUID | None = connection.execute(_FIND, values).scalar_one_or_none()
    return found


def steps(
    connection: Connection, order_id: UUID, commands: Collection[str], *, limit: int, offset: int
) -> Sequence[Row[Any]]:
    """Return a page of the steps that these commands made, newest first."""
    values = {"order": order_id, "commands": sorted(commands), "limit": limit, "offset": offset}
    return connection.execute(_STEP_PAGE, values).all()


def count_steps(connection: Connection, order_id: UUID, commands: Collection[str], *, limit: int, offset: int) -> int:
    """Return how many steps there are; as `count`."""
    values = {"order": order_id, "commands": sorted(commands), "most": most(limit, offset)}
    return int(connection.execute(_STEP_COUNT, values).scalar_one())
