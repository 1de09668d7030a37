"""Reads of what somebody was notified of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

#: Ids grow with time: the newest first, by the index of the person.
_PAGE = text("""
    SELECT id, kind, title, body, created_at, read_at IS NOT NULL AS is_read, order_id FROM notifications
     WHERE org_id = :org AND person_id = :person AND (CAST(:before AS uuid) IS NULL OR id < :before)
     ORDER BY id DESC LIMIT :limit
""")
_UNREAD = text("SELECT count(*) FROM notifications WHERE org_id = :org AND person_id = :person AND read_at IS NULL")


@dataclass(frozen=True, slots=True)
class NotificationRow:
    """One thing that somebody was told of a work order."""

    id: UUID
    kind: str
    title: str
    body: str
    created_at: datetime
    is_read: bool
    order_id: UUID


def page(
    connection: Connection, org_id: UUID, person_id: UUID, *, before: UUID | None = None, limit: int = 50
) -> list[NotificationRow]:
    """Return what somebody was told, the newest first, from before an id on."""
    values = {"org": org_id, "person": person_id, "before": before, "limit": limit}
    return [NotificationRow(**row) for row in connection.execute(_PAGE, values).mappings()]


def unread(connection: Connection, org_id: UUID, person_id: UUID) -> int:
    """Return how many of them were not read."""
    return int(connection.execute(_UNREAD, {"org": org_id, "person": person_id}).scalar_one())
