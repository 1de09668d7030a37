"""What a backup notes of a database: its migration, its rows, its time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from models import schema

#: Rows that nothing takes away: a database restored to a later moment has at least as many.
_LASTING = ("organizations", "mailboxes", "messages", "tickets", "ticket_messages", "outbound", "work_orders", "events")
_COUNTS = text(" UNION ALL ".join(f"SELECT '{table}' AS name, count(*) AS rows FROM {table}" for table in _LASTING))  # noqa: S608 - names from above
_SIZE = text("SELECT sum(pg_database_size(oid)) FROM pg_database")
_HAS_BLOBS = text("SELECT EXISTS (SELECT FROM blobs)")
_NOW = text("SELECT clock_timestamp()")


@dataclass(frozen=True, slots=True)
class Standing:
    """How a database stands at a moment."""

    at: datetime
    revision: str | None
    counts: Mapping[str, int]


def standing(connection: Connection) -> Standing:
    """Return how the database stands; a database without tables has no revision and no counts."""
    at = connection.execute(_NOW).scalar_one()
    revision = schema.current(connection)
    rows = connection.execute(_COUNTS).all() if revision is not None else []
    return Standing(at, revision, {row.name: row.rows for row in rows})


def size(connection: Connection) -> int:
    """Return the bytes of all databases of this server, which a copy holds."""
    return int(connection.execute(_SIZE).scalar_one())


def has_blobs(connection: Connection) -> bool:
    """Tell whether the database names any blob."""
    return bool(connection.execute(_HAS_BLOBS).scalar_one())


def now(connection: Connection) -> datetime:
    """Return the database's time, which goes on within a transaction."""
    found: datetime = connection.execute(_NOW).scalar_one()
    return found
