"""Saved views of an organization: filters of the ticket list that somebody gave a name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

#: More than these one organization does not keep: the list is not paged.
MOST = 500

_LIST = text(f"""
    SELECT v.id, v.name, v.filters, v.created_by_id, p.full_name AS created_by_name, v.created_at
      FROM saved_views v LEFT JOIN people p ON p.id = v.created_by_id
     WHERE v.org_id = :org AND (CAST(:id AS uuid) IS NULL OR v.id = :id) ORDER BY v.name LIMIT {MOST}
""")  # noqa: S608 - a number of this module


def saved_views(connection: Connection, org_id: UUID, view_id: UUID | None = None) -> Sequence[Any]:
    """Return an organization's views by name; one of them, or none, when its id is given."""
    return connection.execute(_LIST, {"org": org_id, "id": view_id}).all()
