"""Reads of the inventory: things by serial number with their open repair, their categories, and parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import InventoryState
from models.queries.workshop_people import most

#: The rows of `chosen` (id), by serial number.
_ITEMS = """
    SELECT i.id, i.serial_number, i.name, i.category_id, c.name AS category, i.state, i.made_because, i.created_at,
           i.archived_at, i.version, w.id AS order_id
      FROM chosen
      JOIN inventory_items i ON i.id = chosen.id
      LEFT JOIN item_categories c ON c.id = i.category_id
      LEFT JOIN work_orders w ON w.item_id = i.id AND w.state NOT IN ('done', 'cancelled')
     ORDER BY i.serial_number
"""
_CATEGORIES = """
      FROM item_categories c
     WHERE c.org_id = :org AND (CAST(:words AS text) IS NULL OR position(lower(:words) IN lower(c.name)) > 0)
"""
_CATEGORY_PAGE = text(f"""
    SELECT c.id, c.name, c.created_at {_CATEGORIES} ORDER BY c.name LIMIT :limit OFFSET :offset
""")
_CATEGORY_COUNT = text(f"SELECT count(*) FROM (SELECT {_CATEGORIES} LIMIT :most) found")  # noqa: S608 - from above
_CATEGORY = text("SELECT c.id, c.name, c.created_at FROM item_categories c WHERE c.org_id = :org AND c.id = :id")
_PARTS = """
      FROM parts p JOIN item_categories c ON c.id = p.category_id
     WHERE p.org_id = :org
       AND (CAST(:category AS uuid) IS NULL OR p.category_id = :category)
       AND (CAST(:is_active AS boolean) IS NULL OR p.is_active = :is_active)
       AND (CAST(:words AS text) IS NULL OR position(lower(:words) IN lower(p.name)) > 0)
"""
_PART_COLUMNS = "p.id, p.name, p.category_id, c.name AS category, p.is_active, p.created_at"
_PART_PAGE = text(f"""
    SELECT {_PART_COLUMNS} {_PARTS} ORDER BY c.name, p.name, p.id LIMIT :limit OFFSET :offset
""")
_PART_COUNT = text(f"SELECT count(*) FROM (SELECT {_PARTS} LIMIT :most) found")  # noqa: S608 - from above
_PART = text(f"""
    SELECT {_PART_COLUMNS} FROM parts p JOIN item_categories c ON c.id = p.category_id
     WHERE p.org_id = :org AND p.id = :id
""")  # noqa: S608 - from above


@dataclass(frozen=True, slots=True)
class WantedItems:
    """What is looked for."""

    org_id: UUID
    is_archived: bool = False
    state: InventoryState | None = None
    category_id: UUID | None = None
    #: Part of a serial number or a name.
    words: str | None = None

    def condition(self) -> tuple[str, dict[str, Any]]:
        """Return what follows the columns, with its parameters."""
        archived = "IS NOT NULL" if self.is_archived else "IS NULL"
        parts = [f"FROM inventory_items i WHERE i.org_id = :org AND i.archived_at {archived}"]
        values: dict[str, Any] = {"org": self.org_id}
        if self.state is not None:
            parts.append("i.state = :state")
            values["state"] = self.state.value
        if self.category_id is not None:
            parts.append("i.category_id = :category")
            values["category"] = self.category_id
        if self.words is not None:
            parts.append(
                "(position(upper(:words) IN i.serial_number) > 0 OR position(lower(:words) IN lower(i.name)) > 0)"
            )
            values["words"] = self.words
        return " AND ".join(parts), values


def items(connection: Connection, wanted: WantedItems, *, limit: int, offset: int) -> list[Row[Any]]:
    """Return a page of things, by serial number."""
    condition, values = wanted.condition()
    chosen = f"SELECT i.id {condition} ORDER BY i.serial_number LIMIT :limit OFFSET :offset"
    statement = f"WITH chosen AS MATERIALIZED ({chosen}) {_ITEMS}"
    return list(connection.execute(text(statement), {**values, "limit": limit, "offset": offset}))


def count_items(connection: Connection, wanted: WantedItems, *, limit: int, offset: int) -> int:
    """Return how many things there are; above 10,000, at least as many as the page and one after it prove."""
    condition, values = wanted.condition()
    statement = f"SELECT count(*) FROM (SELECT {condition} LIMIT :most) found"  # noqa: S608 - from above
    return _counted(connection, text(statement), values, limit, offset)


def item(connection: Connection, org_id: UUID, item_id: UUID) -> Row[Any] | None:
    """Return an organization's thing, archived or not."""
    chosen = "SELECT id FROM inventory_items WHERE org_id = :org AND id = :id"
    statement = f"WITH chosen AS MATERIALIZED ({chosen}) {_ITEMS}"
    return connection.execute(text(statement), {"org": org_id, "id": item_id}).one_or_none()


def categories(connection: Connection, org_id: UUID, words: str | None, *, limit: int, offset: int) -> list[Row[Any]]:
    """Return a page of categories, by name."""
    values = {"org": org_id, "words": words, "limit": limit, "offset": offset}
    return list(connection.execute(_CATEGORY_PAGE, values))


def count_categories(connection: Connection, org_id: UUID, words: str | None, *, limit: int, offset: int) -> int:
    """Return how many categories there are; as `count_items`."""
    return _counted(connection, _CATEGORY_COUNT, {"org": org_id, "words": words}, limit, offset)


def category(connection: Connection, org_id: UUID, category_id: UUID) -> Row[Any] | None:
    """Return an organization's category."""
    return connection.execute(_CATEGORY, {"org": org_id, "id": category_id}).one_or_none()


@dataclass(frozen=True, slots=True)
class WantedParts:
    """Which parts are looked for."""

    org_id: UUID
    category_id: UUID | None = None
    is_active: bool | None = None
    words: str | None = None

    @property
    def values(self) -> dict[str, Any]:
        """Return the parameters of the queries."""
        return {
            "org": self.org_id,
            "category": self.category_id,
            "is_active": self.is_active,
            "words": self.words,
        }


def parts(connection: Connection, wanted: WantedParts, *, limit: int, offset: int) -> list[Row[Any]]:
    """Return a page of parts, by category and name."""
    return list(connection.execute(_PART_PAGE, {**wanted.values, "limit": limit, "offset": offset}))


def count_parts(connection: Connection, wanted: WantedParts, *, limit: int, offset: int) -> int:
    """Return how many parts there are; as `count_items`."""
    return _counted(connection, _PART_COUNT, wanted.values, limit, offset)


def part(connection: Connection, org_id: UUID, part_id: UUID) -> Row[Any] | None:
    """Return an organization's part."""
    return connection.execute(_PART, {"org": org_id, "id": part_id}).one_or_none()


def _counted(connection: Connection, statement: Any, values: dict[str, Any], limit: int, offset: int) -> int:
    return int(connection.execute(statement, {**values, "most": most(limit, offset)}).scalar_one())
