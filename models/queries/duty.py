"""Who is on duty: a member's weekly shifts and leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

_MEMBER = text("""
    SELECT EXISTS (SELECT FROM memberships
                    WHERE org_id = :org AND person_id = :person
                      AND (CAST(:own AS uuid) IS NULL OR person_id = :own OR team_id = CAST(:team AS uuid)))
""")
_SHIFTS = text("""
    SELECT weekday, begins, ends, timezone FROM shifts
     WHERE org_id = :org AND person_id = :person ORDER BY weekday, begins, id LIMIT :limit
""")
_LEAVES = text("""
    SELECT id, begins_at, ends_at, reason, created_at FROM leaves
     WHERE org_id = :org AND person_id = :person AND (CAST(:id AS uuid) IS NULL OR id = :id)
     ORDER BY ends_at DESC, id DESC LIMIT :limit
""")


def is_reached(
    connection: Connection, org_id: UUID, person_id: UUID, *, own_id: UUID | None = None, team_id: UUID | None = None
) -> bool:
    """Say whether somebody is a member of an organization; with `own_id` only they and the team's members are."""
    values = {"org": org_id, "person": person_id, "own": own_id, "team": team_id}
    return bool(connection.execute(_MEMBER, values).scalar_one())


def shifts(connection: Connection, org_id: UUID, person_id: UUID, *, limit: int) -> Sequence[Row[Any]]:
    """Return a person's weekly hours, from Monday."""
    return connection.execute(_SHIFTS, {"org": org_id, "person": person_id, "limit": limit}).all()


def leaves(
    connection: Connection, org_id: UUID, person_id: UUID, *, leave_id: UUID | None = None, limit: int = 100
) -> Sequence[Row[Any]]:
    """Return a person's leave, the latest first."""
    return connection.execute(_LEAVES, {"org": org_id, "person": person_id, "id": leave_id, "limit": limit}).all()
