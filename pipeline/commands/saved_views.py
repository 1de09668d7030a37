"""Saving a view of the ticket list for everybody in the organization, and forgetting it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from models.queries.saved_views import MOST
from pipeline.runtime.errors import UserError

_COUNT = text("SELECT count(*) FROM saved_views WHERE org_id = :org")
_ADD = text("""
    INSERT INTO saved_views (org_id, name, filters, created_by_id)
    VALUES (:org, :name, CAST(:filters AS jsonb), :person) ON CONFLICT (org_id, name) DO NOTHING RETURNING id
""")
_REMOVE = text("DELETE FROM saved_views WHERE org_id = :org AND id = :id")


def save_view(
    connection: Connection, org_id: UUID, name: str, filters: Mapping[str, Any], *, person_id: UUID | None
) -> UUID:
    """Keep filters under a name; return the view's id. Raises `UserError` for a name that is taken, or too many."""
    if connection.execute(_COUNT, {"org": org_id}).scalar_one() >= MOST:
        raise UserError(f"your organization has {MOST} saved views; delete one first")
    values = {"org": org_id, "name": name, "filters": orjson.dumps(dict(filters)).decode(), "person": person_id}
    found: UUID | None = connection.execute(_ADD, values).scalar_one_or_none()
    if found is None:
        raise UserError(f"your organization has a view {name!r} already; take another name")
    return found


def delete_view(connection: Connection, org_id: UUID, view_id: UUID) -> bool:
    """Forget a view; False when the organization has no such one."""
    return connection.execute(_REMOVE, {"org": org_id, "id": view_id}).rowcount == 1
