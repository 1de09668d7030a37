"""Free time for a ticket's visit, over all technicians who can be sent: what customers and planners choose from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from pipeline.core import free_slots
from pipeline.core.field_work import FieldTicket, Window
from pipeline.core.free_slots import Slot
from pipeline.core.schedule import as_json
from pipeline.core.technicians import Job
from pipeline.runtime import technician_rows

#: Visits and leave so far before and after matter: the way, and what is counted by day.
_AROUND = timedelta(days=1)
#: Free windows that are told to whoever came too late.
NEXT = 5
#: How far ahead these are looked for: near first, then further.
_LOOKED = (timedelta(days=3), timedelta(days=14))


def job_of(connection: Connection, ticket: FieldTicket) -> Job:
    """Return what a ticket asks of who comes."""
    return technician_rows.jobs(connection, ticket.org_id, [ticket.ticket_id])[ticket.ticket_id]


def length_of(ticket: FieldTicket, job: Job) -> timedelta:
    """Return how long its visit takes: as the window that stands on it, else as its template says."""
    window = ticket.window
    return job.visit if window is None else window.ends_at - window.starts_at


def slots(
    connection: Connection, org_id: UUID, job: Job, *, length: timedelta, within: Window, most: int
) -> list[Slot]:
    """Return the first free windows of a stretch of time, from now on at the earliest."""
    start = max(within.starts_at, job.now)
    if start + length > within.ends_at:
        return []
    within = Window(start, within.ends_at)
    around = Window(start - _AROUND, within.ends_at + _AROUND)
    people = technician_rows.technicians(connection, org_id, around)
    return free_slots.slots(people, job, length, within, most=most)


def next_slots(connection: Connection, ticket: FieldTicket, job: Job, after: Window) -> list[dict[str, Any]]:
    """Return a few free windows of the same length from a window on, as they are written."""
    found: list[Slot] = []
    length = after.ends_at - after.starts_at
    for ahead in _LOOKED:  # twice at most
        within = Window(after.starts_at, after.starts_at + ahead + length)
        found = slots(connection, ticket.org_id, job, length=length, within=within, most=NEXT)
        if len(found) >= NEXT:
            break
    return [slot_as_json(one) for one in found]


def who_can_come(
    connection: Connection, org_id: UUID, job: Job, window: Window, only: Sequence[UUID] | None = None
) -> list[UUID]:
    """Return who can come just then, those with least to do first."""
    around = Window(window.starts_at - _AROUND, window.ends_at + _AROUND)
    people = technician_rows.technicians(connection, org_id, around, only=only)
    fit = [one for one in people if free_slots.is_free(one, job, window)]
    return [one.person_id for one in sorted(fit, key=lambda one: (one.load_beside(job.ticket_id), one.person_id))]


def slot_as_json(slot: Slot) -> dict[str, Any]:
    """Return a free window as it is written."""
    return {**as_json(slot.window), "technician_ids": [str(one) for one in slot.person_ids]}
