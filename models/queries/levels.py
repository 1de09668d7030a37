"""Reads of levels: where technicians stand over some days, and what became of one person's."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.queries.workshop_people import IS_TECHNICIAN, most

_OVERVIEW = text(f"""
    SELECT t.*, p.full_name, coalesce(l.level, 1) AS level, coalesce(l.is_warned, false) AS is_warned,
           coalesce(x.xp, 0) AS xp, coalesce(x.total_xp, 0) AS total_xp
      FROM (SELECT m.person_id FROM memberships m
             WHERE m.org_id = :org AND {IS_TECHNICIAN}
             ORDER BY m.person_id LIMIT :limit OFFSET :offset) t
      JOIN people p ON p.id = t.person_id
      LEFT JOIN levels l ON l.org_id = :org AND l.person_id = t.person_id
      LEFT JOIN LATERAL (
          SELECT sum(x.amount) FILTER (WHERE x.created_at >= :since AND x.created_at < :until) AS xp,
                 sum(x.amount) AS total_xp
            FROM xp_transactions x WHERE x.org_id = :org AND x.person_id = t.person_id
      ) x ON true
     ORDER BY t.person_id
""")  # noqa: S608 - a condition from a module beside this one
#: The reference is made with the page, as `models.queries.attendance` does.
_HISTORY = text("""
    SELECT e.id, e.person_id, e.status, e.source, e.week_start, e.week_xp, e.total_xp, e.from_level, e.to_level,
           e.reason, e.created_by, e.created_at, c.amount AS coupon_amount, c.currency AS coupon_currency
      FROM (SELECT *, 'level_up_coupon:' || to_char(week_start, 'YYYY-MM-DD') || ':' || person_id AS reference
              FROM level_events WHERE org_id = :org AND person_id = :person
             ORDER BY id DESC LIMIT :limit OFFSET :offset) e
      LEFT JOIN level_coupons c ON c.org_id = e.org_id AND c.reference = e.reference
     ORDER BY e.id DESC
""")
_COUNT = text("""
    SELECT count(*) FROM (SELECT FROM level_events WHERE org_id = :org AND person_id = :person LIMIT :most) found
""")
_IS_MEMBER = text("SELECT EXISTS (SELECT FROM memberships WHERE org_id = :org AND person_id = :person)")


def overview(
    connection: Connection, org_id: UUID, *, since: datetime, until: datetime, limit: int, offset: int
) -> list[Row[Any]]:
    """Return a page of the technicians with their points of a time (its end excluded)."""
    values = {"org": org_id, "since": since, "until": until, "limit": limit, "offset": offset}
    return list(connection.execute(_OVERVIEW, values))


def history(connection: Connection, org_id: UUID, person_id: UUID, *, limit: int, offset: int) -> list[Row[Any]]:
    """Return a page of what became of somebody's level, newest first."""
    values = {"org": org_id, "person": person_id, "limit": limit, "offset": offset}
    return list(connection.execute(_HISTORY, values))


def count_history(connection: Connection, org_id: UUID, person_id: UUID, *, limit: int, offset: int) -> int:
    """Return how many rows that has; above 10,000, at least as many as the page and one after it prove."""
    values = {"org": org_id, "person": person_id, "most": most(limit, offset)}
    return int(connection.execute(_COUNT, values).scalar_one())


def is_member(connection: Connection, org_id: UUID, person_id: UUID) -> bool:
    """Say whether somebody is, or was, of an organization."""
    return bool(connection.execute(_IS_MEMBER, {"org": org_id, "person": person_id}).scalar_one())
