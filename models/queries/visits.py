"""Visits as people look at them: a technician's calendar, and what stands on one ticket's schedule."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

#: A visit takes a day at most. Bounded: nobody has more in a month.
_CALENDAR = text("""
    SELECT v.id, v.ticket_id, t.code, v.number, v.starts_at, v.ends_at, v.state, t.site_id
      FROM visits v JOIN tickets t ON t.id = v.ticket_id
     WHERE v.org_id = :org AND v.technician_id = :person AND v.state <> 'cancelled'
       AND v.starts_at > CAST(:begins AS timestamptz) - interval '1 day' AND v.starts_at < :ends AND v.ends_at > :begins
     ORDER BY v.starts_at, v.id LIMIT 1000
""")
_VISITS = text("""
    SELECT id, number, technician_id, starts_at, ends_at, state, sequence, ended_at
      FROM visits WHERE ticket_id = :ticket AND org_id = :org ORDER BY number DESC LIMIT :limit
""")
_HOLDS = text("""
    SELECT id, reason, state, starts_at, ends_at, from_state, ended_because, created_at, ended_at
      FROM schedule_holds WHERE ticket_id = :ticket AND org_id = :org ORDER BY id DESC LIMIT :limit
""")
_LINK = text("""
    SELECT id, created_at, expires_at, used_at FROM visit_links
     WHERE ticket_id = :ticket AND org_id = :org AND revoked_at IS NULL AND expires_at > now()
     ORDER BY id DESC LIMIT 1
""")
#: What is shown of the past.
_MOST = 20


def calendar(
    connection: Connection, org_id: UUID, person_id: UUID, begins: datetime, ends: datetime
) -> Sequence[Row[Any]]:
    """Return a technician's visits that touch a stretch of time, also those that are over."""
    values = {"org": org_id, "person": person_id, "begins": begins, "ends": ends}
    return connection.execute(_CALENDAR, values).all()


def of_ticket(connection: Connection, org_id: UUID, ticket_id: UUID) -> Sequence[Row[Any]]:
    """Return a ticket's latest visits, the last one first."""
    return connection.execute(_VISITS, {"org": org_id, "ticket": ticket_id, "limit": _MOST}).all()


def holds(connection: Connection, org_id: UUID, ticket_id: UUID) -> Sequence[Row[Any]]:
    """Return a ticket's latest holds, the last one first."""
    return connection.execute(_HOLDS, {"org": org_id, "ticket": ticket_id, "limit": _MOST}).all()


def link(connection: Connection, org_id: UUID, ticket_id: UUID) -> Row[Any] | None:
    """Return the customer's link that is good now, without what it is found by."""
    return connection.execute(_LINK, {"org": org_id, "ticket": ticket_id}).one_or_none()
