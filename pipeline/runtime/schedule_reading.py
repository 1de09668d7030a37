"""A ticket's schedule and a technician's calendar, put together for who reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import DispatchState
from pipeline.core import free_slots
from pipeline.core.field_work import Window
from pipeline.core.free_slots import Slot
from pipeline.core.schedule import Proposed
from pipeline.runtime import field_rows, free_time, schedule_rows, technician_rows


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a ticket's schedule stands."""

    state: DispatchState
    window: Window | None
    offered: Sequence[Proposed]


@dataclass(frozen=True, slots=True)
class Free:
    """Free windows, and how long the visit takes."""

    length: timedelta
    slots: Sequence[Slot]


@dataclass(frozen=True, slots=True)
class Calendar:
    """When a technician works, and when they are away; each within what was asked for."""

    on_duty: Sequence[Window]
    leaves: Sequence[Window]


def now(connection: Connection) -> datetime:
    """Return the database's time."""
    found: datetime = connection.execute(text("SELECT now()")).scalar_one()
    return found


def of_ticket(connection: Connection, ticket_id: UUID) -> Standing:
    """Return the schedule of a ticket that is there."""
    ticket = field_rows.read(connection, ticket_id)
    return Standing(ticket.state, ticket.window, schedule_rows.offered(connection, ticket_id))


def slots(connection: Connection, ticket_id: UUID, within: Window, most: int) -> Free:
    """Return the first free windows for a ticket's visit."""
    ticket = field_rows.read(connection, ticket_id)
    job = free_time.job_of(connection, ticket)
    length = free_time.length_of(ticket, job)
    found = free_time.slots(connection, ticket.org_id, job, length=length, within=within, most=most)
    return Free(length, found)


def calendar(connection: Connection, org_id: UUID, person_id: UUID, within: Window) -> Calendar | None:
    """Return a member's hours and leave; None for who is no member."""
    found = technician_rows.technicians(connection, org_id, within, only=[person_id])
    if not found:
        return None
    leaves = [Window(max(one.begins_at, within.starts_at), min(one.ends_at, within.ends_at)) for one in found[0].leaves]
    return Calendar(free_slots.on_duty(found[0], within), leaves)
