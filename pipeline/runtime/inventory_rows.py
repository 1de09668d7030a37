"""The inventory in the database: things by serial number, their categories and parts, locked, made and changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import InventoryState
from pipeline.core.inventory import Category, Item, Part
from pipeline.core.serials import MOST_SUGGESTIONS, suggestions

#: Similar numbers are looked for among so many of nearly the same length, the latest first.
_MOST_SIMILAR = 1_000
_LOCK = """
    SELECT id FROM inventory_items WHERE org_id = :org AND {named} FOR NO KEY UPDATE
"""
_BY_ID, _BY_SERIAL = text(_LOCK.format(named="id = :name")), text(_LOCK.format(named="serial_number = :name"))
#: Read after the lock, by a statement of its own: else a repair that was taken in meanwhile would not be seen.
_READ = text("""
    SELECT i.id, i.serial_number, i.name, i.category_id, i.state, i.version, i.archived_at, w.id AS order_id
      FROM inventory_items i
      LEFT JOIN work_orders w ON w.item_id = i.id AND w.state NOT IN ('done', 'cancelled')
     WHERE i.id = :item
""")
_MAKE = text("""
    INSERT INTO inventory_items (org_id, serial_number, name, category_id, state, made_because)
    VALUES (:org, :serial, :name, :category, :state, :because)
        ON CONFLICT (org_id, serial_number) DO NOTHING
    RETURNING id
""")
_SET = """
    UPDATE inventory_items SET {sets}, version = version + 1 WHERE id = :item
"""
_CHANGEABLE = frozenset({"serial_number", "name", "category_id", "state"})
_ARCHIVE = text(_SET.format(sets="archived_at = coalesce(archived_at, now())"))
_RESTORE = text(_SET.format(sets="archived_at = NULL"))
_STATE = text(_SET.format(sets="state = :state") + " AND state <> :state")
_ALIKE = text("""
    (SELECT 0 AS rank, serial_number FROM inventory_items
      WHERE org_id = :org AND archived_at IS NULL AND starts_with(serial_number, :serial)
      ORDER BY serial_number LIMIT :few)
    UNION ALL
    (SELECT 1, serial_number FROM inventory_items
      WHERE org_id = :org AND archived_at IS NULL AND position(:serial IN serial_number) > 1
      ORDER BY serial_number LIMIT :few)
    UNION ALL
    (SELECT 2, serial_number FROM inventory_items
      WHERE org_id = :org AND archived_at IS NULL
        AND length(serial_number) BETWEEN length(:serial) - 3 AND length(:serial) + 3
      ORDER BY id DESC LIMIT :many)
""")
_CATEGORY = text("SELECT id, name FROM item_categories WHERE org_id = :org AND id = :id FOR NO KEY UPDATE")
_NEW_CATEGORY = text("""
    INSERT INTO item_categories (org_id, name) VALUES (:org, :name)
        ON CONFLICT (org_id, name) DO NOTHING RETURNING id
""")
_NAME_CATEGORY = text("UPDATE item_categories SET name = :name WHERE id = :id")
_DROP_CATEGORY = text("DELETE FROM item_categories WHERE id = :id")
_IS_USED = text("""
    SELECT EXISTS (SELECT FROM inventory_items WHERE category_id = :id)
        OR EXISTS (SELECT FROM parts WHERE category_id = :id)
""")
#: Nobody takes it away while something comes into it; others may name it the same way at the same time.
_HOLD_CATEGORY = text("SELECT id FROM item_categories WHERE org_id = :org AND id = :id FOR KEY SHARE")
_PART = text("""
    SELECT id, category_id, name, is_active FROM parts WHERE org_id = :org AND id = :id FOR NO KEY UPDATE
""")
_NEW_PART = text("""
    INSERT INTO parts (org_id, category_id, name) VALUES (:org, :category, :name)
        ON CONFLICT (category_id, name) DO NOTHING RETURNING id
""")
_SET_PART = text("UPDATE parts SET name = :name, is_active = :is_active WHERE id = :id")


def by_id(connection: Connection, org_id: UUID, item_id: UUID) -> Item | None:
    """Lock a thing of an organization by its id."""
    return _locked(connection, connection.execute(_BY_ID, {"org": org_id, "name": item_id}).one_or_none())


def by_serial(connection: Connection, org_id: UUID, serial: str) -> Item | None:
    """Lock a thing of an organization by its serial number."""
    return _locked(connection, connection.execute(_BY_SERIAL, {"org": org_id, "name": serial}).one_or_none())


def read(connection: Connection, item_id: UUID) -> Item:
    """Return a thing that is there, as the transaction sees it."""
    row = connection.execute(_READ, {"item": item_id}).one()
    state = InventoryState(row.state)
    return Item(row.id, row.serial_number, row.name, row.category_id, state, row.version, row.archived_at, row.order_id)


def make(
    connection: Connection,
    org_id: UUID,
    serial: str,
    *,
    name: str,
    category_id: UUID | None,
    state: InventoryState = InventoryState.READY,
    because: str | None = None,
) -> UUID | None:
    """Make a thing known; return None where one has this number already, archived or not."""
    values = {"org": org_id, "serial": serial, "name": name, "category": category_id, "because": because}
    found: UUID | None = connection.execute(_MAKE, {**values, "state": state.value}).scalar_one_or_none()
    return found


def save(connection: Connection, item_id: UUID, changes: Mapping[str, Any]) -> Item:
    """Change a locked thing; its version counts up. Raises IntegrityError for the serial number of another."""
    unknown = set(changes) - _CHANGEABLE
    if unknown:
        raise ValueError(f"not to be changed: {', '.join(sorted(unknown))}")
    sets = ", ".join(f"{name} = :{name}" for name in sorted(changes))
    values = {name: getattr(value, "value", value) for name, value in changes.items()}
    connection.execute(text(_SET.format(sets=sets)), {**values, "item": item_id})
    return read(connection, item_id)


def archive(connection: Connection, item_id: UUID) -> Item:
    """Put a locked thing away."""
    connection.execute(_ARCHIVE, {"item": item_id})
    return read(connection, item_id)


def restore(connection: Connection, item_id: UUID) -> Item:
    """Take a locked thing back that was put away."""
    connection.execute(_RESTORE, {"item": item_id})
    return read(connection, item_id)


def set_state(connection: Connection, item_id: UUID, state: InventoryState) -> None:
    """Say where a thing stands; its repair's order is locked before it."""
    connection.execute(_STATE, {"item": item_id, "state": state.value})


def alike(connection: Connection, org_id: UUID, serial: str) -> list[str]:
    """Return up to five known serial numbers that somebody may have meant."""
    values = {"org": org_id, "serial": serial, "few": MOST_SUGGESTIONS, "many": _MOST_SIMILAR}
    found: tuple[list[str], list[str], list[str]] = ([], [], [])
    for row in connection.execute(_ALIKE, values):
        found[row.rank].append(row.serial_number)
    return suggestions(serial, *found)


def category(connection: Connection, org_id: UUID, category_id: UUID) -> Category | None:
    """Lock a category of an organization."""
    row = connection.execute(_CATEGORY, {"org": org_id, "id": category_id}).one_or_none()
    return None if row is None else Category(row.id, row.name)


def hold_category(connection: Connection, org_id: UUID, category_id: UUID) -> bool:
    """Say whether an organization has a category; it stays until the transaction ends."""
    held = connection.execute(_HOLD_CATEGORY, {"org": org_id, "id": category_id})
    return held.scalar_one_or_none() is not None


def make_category(connection: Connection, org_id: UUID, name: str) -> Category | None:
    """Make a category; None where one has this name."""
    found = connection.execute(_NEW_CATEGORY, {"org": org_id, "name": name}).scalar_one_or_none()
    return None if found is None else Category(found, name)


def name_category(connection: Connection, category_id: UUID, name: str) -> Category:
    """Name a locked category anew. Raises IntegrityError for the name of another."""
    connection.execute(_NAME_CATEGORY, {"id": category_id, "name": name})
    return Category(category_id, name)


def is_used(connection: Connection, category_id: UUID) -> bool:
    """Say whether a thing or a part is of a category."""
    return bool(connection.execute(_IS_USED, {"id": category_id}).scalar_one())


def drop_category(connection: Connection, category_id: UUID) -> None:
    """Take a locked category away. Raises IntegrityError where something came into it meanwhile."""
    connection.execute(_DROP_CATEGORY, {"id": category_id})


def part(connection: Connection, org_id: UUID, part_id: UUID) -> Part | None:
    """Lock a part of an organization."""
    row = connection.execute(_PART, {"org": org_id, "id": part_id}).one_or_none()
    return None if row is None else Part(row.id, row.category_id, row.name, row.is_active)


def make_part(connection: Connection, org_id: UUID, category_id: UUID, name: str) -> Part | None:
    """Make a part of a category; None where one of it has this name."""
    values = {"org": org_id, "category": category_id, "name": name}
    found = connection.execute(_NEW_PART, values).scalar_one_or_none()
    return None if found is None else Part(found, category_id, name, is_active=True)


def save_part(connection: Connection, part: Part) -> None:
    """Write a locked part's name and whether it is in use. Raises IntegrityError for the name of another."""
    connection.execute(_SET_PART, {"id": part.part_id, "name": part.name, "is_active": part.is_active})


def _locked(connection: Connection, row: Row[Any] | None) -> Item | None:
    return None if row is None else read(connection, row.id)
