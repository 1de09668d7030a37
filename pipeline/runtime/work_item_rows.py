"""Time and parts of tickets in the database; all of it under the ticket's lock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import TimeKind
from pipeline.core.field_work import FieldTicket
from pipeline.core.invoicing import Part, Stretch, Work

#: Pieces of time, and parts, that one ticket may have: an invoice reads them all.
MOST_ENTRIES = 500

_TIMES = text("""
    SELECT kind, began_at, ended_at FROM time_entries
     WHERE ticket_id = :ticket AND ended_at IS NOT NULL AND removed_at IS NULL
""")
_PARTS = text("""
    SELECT id, name, sku, quantity, unit_price_cents FROM part_entries WHERE ticket_id = :ticket AND removed_at IS NULL
""")
#: Somebody came: what was only booked, or called off, is not paid for.
_VISITS = text("SELECT count(*) FROM visits WHERE ticket_id = :ticket AND state IN ('under_way', 'done')")
_TIME_STANDING = text("""
    SELECT count(*) AS entries,
           coalesce(bool_or(kind = :kind AND began_at < :ended AND coalesce(ended_at, 'infinity') > :began), false)
               AS is_taken
      FROM time_entries WHERE ticket_id = :ticket AND removed_at IS NULL
""")
_TELL_TIME = text("""
    INSERT INTO time_entries (org_id, ticket_id, kind, technician_id, began_at, ended_at, recorded_by)
    VALUES (:org, :ticket, :kind, :technician, :began, :ended, :by) RETURNING id, created_at
""")
_TIME = text("""
    SELECT id AS time_id, kind, technician_id, began_at, ended_at, recorded_by, created_at, removed_at, removed_by
      FROM time_entries WHERE ticket_id = :ticket AND id = :time
""")
_REMOVE_TIME = text(
    "UPDATE time_entries SET removed_at = now(), removed_by = :by WHERE id = :time RETURNING removed_at"
)
_COUNT_PARTS = text("SELECT count(*) FROM part_entries WHERE ticket_id = :ticket AND removed_at IS NULL")
_ADD_PART = text("""
    INSERT INTO part_entries (org_id, ticket_id, sku, name, quantity, unit_price_cents, recorded_by)
    VALUES (:org, :ticket, :sku, :name, :quantity, :price, :by) RETURNING id, created_at
""")
_PART = text("""
    SELECT id, name, sku, quantity, unit_price_cents, recorded_by, created_at, removed_at, removed_by
      FROM part_entries WHERE ticket_id = :ticket AND id = :part
""")
_REMOVE_PART = text(
    "UPDATE part_entries SET removed_at = now(), removed_by = :by WHERE id = :part RETURNING removed_at"
)


@dataclass(frozen=True, slots=True)
class PartEntry:
    """A part as it was told; `removed_at` when it was taken back."""

    part: Part
    recorded_by: str
    created_at: datetime
    removed_at: datetime | None = None
    removed_by: str | None = None


@dataclass(frozen=True, slots=True)
class TimeEntry:
    """A piece of time; `ended_at` is None while it goes on, `removed_at` says when it was taken back."""

    time_id: UUID
    kind: TimeKind
    technician_id: UUID | None
    began_at: datetime
    ended_at: datetime | None
    recorded_by: str
    created_at: datetime
    removed_at: datetime | None = None
    removed_by: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What was made: its id, and when."""

    entry_id: UUID
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TimeStanding:
    """How much time a ticket has, and whether some of the same kind lies where new time would; none of it removed."""

    entries: int
    is_taken: bool


def work_of(connection: Connection, ticket: FieldTicket) -> Work:
    """Return all that a ticket may be billed for."""
    named = {"ticket": ticket.ticket_id}
    times = connection.execute(_TIMES, named)
    parts = connection.execute(_PARTS, named)
    return Work(
        currency=ticket.currency,
        stretches=[Stretch(TimeKind(row.kind), row.began_at, row.ended_at) for row in times],
        parts=[Part(row.id, row.name, row.quantity, row.unit_price_cents, row.sku) for row in parts],
        visits=connection.execute(_VISITS, named).scalar_one(),
    )


def time_standing(
    connection: Connection, ticket_id: UUID, kind: TimeKind, began_at: datetime, ended_at: datetime
) -> TimeStanding:
    """Return how new time would stand to what is there."""
    values = {"ticket": ticket_id, "kind": kind.value, "began": began_at, "ended": ended_at}
    row = connection.execute(_TIME_STANDING, values).one()
    return TimeStanding(row.entries, row.is_taken)


def tell_time(
    connection: Connection,
    ticket: FieldTicket,
    kind: TimeKind,
    began_at: datetime,
    ended_at: datetime,
    *,
    technician_id: UUID | None,
    by: str,
) -> Told:
    """Add time that is over."""
    values = {
        "org": ticket.org_id,
        "ticket": ticket.ticket_id,
        "kind": kind.value,
        "technician": technician_id,
        "began": began_at,
        "ended": ended_at,
        "by": by,
    }
    row = connection.execute(_TELL_TIME, values).one()
    return Told(row.id, row.created_at)


def time_of(connection: Connection, ticket_id: UUID, time_id: UUID) -> TimeEntry | None:
    """Return a ticket's piece of time, also one that was taken back; None when there is none."""
    row = connection.execute(_TIME, {"ticket": ticket_id, "time": time_id}).mappings().one_or_none()
    if row is None:
        return None
    return TimeEntry(**{**row, "kind": TimeKind(row["kind"])})


def remove_time(connection: Connection, time_id: UUID, *, by: str) -> datetime:
    """Take time back that is over; it stays for the record. Return when."""
    found: datetime = connection.execute(_REMOVE_TIME, {"time": time_id, "by": by}).scalar_one()
    return found


def count_parts(connection: Connection, ticket_id: UUID) -> int:
    """Return how many parts a ticket has that were not taken back."""
    found: int = connection.execute(_COUNT_PARTS, {"ticket": ticket_id}).scalar_one()
    return found


def add_part(
    connection: Connection,
    ticket: FieldTicket,
    *,
    name: str,
    sku: str | None,
    quantity: Decimal,
    unit_price_cents: int,
    by: str,
) -> Told:
    """Add a part to a ticket."""
    values = {"org": ticket.org_id, "ticket": ticket.ticket_id, "sku": sku, "name": name, "quantity": quantity}
    row = connection.execute(_ADD_PART, values | {"price": unit_price_cents, "by": by}).one()
    return Told(row.id, row.created_at)


def part_of(connection: Connection, ticket_id: UUID, part_id: UUID) -> PartEntry | None:
    """Return a ticket's part, also one that was taken back; None when there is none."""
    row = connection.execute(_PART, {"ticket": ticket_id, "part": part_id}).one_or_none()
    if row is None:
        return None
    part = Part(row.id, row.name, row.quantity, row.unit_price_cents, row.sku)
    return PartEntry(part, row.recorded_by, row.created_at, row.removed_at, row.removed_by)


def remove_part(connection: Connection, part_id: UUID, *, by: str) -> datetime:
    """Take a part back; it stays for the record. Return when."""
    found: datetime = connection.execute(_REMOVE_PART, {"part": part_id, "by": by}).scalar_one()
    return found
