"""Who counts in the workshop, in SQL."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text

#: The membership `m` is a technician's: active, may work in the workshop, and gives nobody work. By permissions, since
#: an organization may call its roles as it likes; an administrator holds all of them and is judged by no week.
IS_TECHNICIAN = """
    m.is_active
    AND EXISTS (SELECT FROM people q WHERE q.id = m.person_id AND q.is_active AND q.erased_at IS NULL)
    AND EXISTS (SELECT FROM role_permissions h WHERE h.role_id = m.role_id AND h.permission = 'workshop.work')
    AND NOT EXISTS (SELECT FROM role_permissions h WHERE h.role_id = m.role_id AND h.permission = 'workshop.assign')
"""
_COUNT = text(f"SELECT count(*) FROM memberships m WHERE m.org_id = :org AND {IS_TECHNICIAN}")  # noqa: S608 - from above
#: The clock of a database that takes over may be behind.
_SLACK = timedelta(minutes=10)
#: So many rows are counted in full; of more, as many as the page that is shown proves.
COUNTED = 10_000


def most(limit: int, offset: int) -> int:
    """Return how far to count for a page: to `COUNTED`, or one beyond the page."""
    return max(COUNTED, offset + limit + 1)


def count_technicians(connection: Connection, org_id: UUID) -> int:
    """Return how many technicians an organization has."""
    return int(connection.execute(_COUNT, {"org": org_id}).scalar_one())


def first_id(since: datetime) -> UUID:
    """Return an id below those of all rows that were made since a moment (aware): UUIDs of version 7, RFC 9562."""
    milliseconds = max(0, int((since - _SLACK).timestamp() * 1000))
    return UUID(int=milliseconds << 80)
