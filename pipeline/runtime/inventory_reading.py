"""The inventory in the words of contract 002."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from models.queries import inventory
from pipeline.core.written import plain


def item(connection: Connection, org_id: UUID, item_id: UUID) -> dict[str, Any] | None:
    """Return an organization's thing; None when it has no such one."""
    row = inventory.item(connection, org_id, item_id)
    return None if row is None else described_item(row)


def category(connection: Connection, org_id: UUID, category_id: UUID) -> dict[str, Any] | None:
    """Return an organization's category."""
    row = inventory.category(connection, org_id, category_id)
    return None if row is None else described_category(row)


def part(connection: Connection, org_id: UUID, part_id: UUID) -> dict[str, Any] | None:
    """Return an organization's part."""
    row = inventory.part(connection, org_id, part_id)
    return None if row is None else described_part(row)


def described_item(row: Row[Any]) -> dict[str, Any]:
    """Return a thing that was read."""
    return {
        "id": str(row.id),
        "serial_number": row.serial_number,
        "name": row.name,
        "category": plain(row.category_id),
        "category_name": row.category,
        "status": row.state,
        "is_active": row.archived_at is None,
        "creation_reason": row.made_because,
        "active_ticket": plain(row.order_id),
        "created_at": plain(row.created_at),
        "archived_at": plain(row.archived_at),
        "version": row.version,
    }


def described_category(row: Row[Any]) -> dict[str, Any]:
    """Return a category that was read."""
    return {"id": str(row.id), "name": row.name, "created_at": plain(row.created_at)}


def described_part(row: Row[Any]) -> dict[str, Any]:
    """Return a part that was read."""
    return {
        "id": str(row.id),
        "name": row.name,
        "category": str(row.category_id),
        "category_name": row.category,
        "is_active": row.is_active,
        "created_at": plain(row.created_at),
    }
