"""Collision groups: different messages that share a fingerprint and were therefore never merged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

_GROUPS = text("""
    SELECT collision_group_id, count(*) AS messages, min(created_at) AS first_at, max(created_at) AS last_at,
           (array_agg(id ORDER BY id))[1:3] AS samples
      FROM messages
     WHERE org_id = :org AND collision_group_id IS NOT NULL
     GROUP BY collision_group_id
     ORDER BY last_at DESC, collision_group_id
     LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class CollisionGroup:
    """Messages of one fingerprint and several signatures; the times are when they were first stored here."""

    collision_group_id: UUID
    message_count: int
    first_seen_at: datetime
    last_seen_at: datetime
    sample_message_ids: tuple[int, ...]


def collision_groups(connection: Connection, org_id: UUID, limit: int = 50) -> list[CollisionGroup]:
    """Return an organization's collision groups, the one that grew last first (contract 001)."""
    rows = connection.execute(_GROUPS, {"org": org_id, "limit": limit})
    return [
        CollisionGroup(row.collision_group_id, row.messages, row.first_at, row.last_at, tuple(row.samples))
        for row in rows
    ]
