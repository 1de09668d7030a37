"""The rows of visits: booked, given to a technician, moved, called off. The ticket of a visit is locked meanwhile.

Two visits of one technician never overlap: the database refuses the second (`ex_visits_overlap`). Whoever books for a
technician takes their calendar's lock first, else two that book at once could wait for each other for ever.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import IntegrityError

from models.enums import Lane, VisitState
from pipeline.core.field_work import FieldTicket, Window
from pipeline.runtime.db import constraint_of
from pipeline.runtime.jobs import Emit

#: The stage that writes to the customer.
INVITE = "invite"
_OVERLAP = "ex_visits_overlap"

_COLUMNS = "id, org_id, ticket_id, number, technician_id, starts_at, ends_at, state, sequence, is_overlap_allowed"
#: Short of rows to lock: somebody without a row in `technicians` is one, too.
_CALENDARS = text("""
    SELECT pg_advisory_xact_lock(hashtext('calendar'), hashtext(CAST(person AS text)))
      FROM unnest(CAST(:people AS uuid[])) AS p(person)
""")
_CURRENT = text(f"""
    SELECT {_COLUMNS} FROM visits WHERE ticket_id = :ticket AND state IN ('booked', 'under_way')
     ORDER BY number DESC LIMIT 1
""")  # noqa: S608 - columns from above
_NEW = text(f"""
    INSERT INTO visits (org_id, ticket_id, number, technician_id, starts_at, ends_at, is_overlap_allowed)
    VALUES (:org, :ticket, (SELECT coalesce(max(number), 0) + 1 FROM visits WHERE ticket_id = :ticket), :person,
            :starts_at, :ends_at, :may_overlap) RETURNING {_COLUMNS}
""")  # noqa: S608 - columns from above
#: Whoever is invited hears of another time alone: who comes is not in the invitation.
_MOVE = text(f"""
    UPDATE visits SET technician_id = :person, starts_at = :starts_at, ends_at = :ends_at,
                      is_overlap_allowed = :may_overlap,
                      sequence = sequence + CASE WHEN (starts_at, ends_at) = (:starts_at, :ends_at) THEN 0 ELSE 1 END
     WHERE id = :visit RETURNING {_COLUMNS}
""")  # noqa: S608 - columns from above
_CALL_OFF = text(f"""
    UPDATE visits SET state = 'cancelled', ended_at = now(), sequence = sequence + 1
     WHERE ticket_id = ANY(CAST(:tickets AS uuid[])) AND state = 'booked' RETURNING {_COLUMNS}
""")  # noqa: S608 - columns from above
_STATE = text(f"""
    UPDATE visits SET state = :state, ended_at = CASE WHEN :state IN ('done', 'cancelled') THEN now() END
     WHERE id = :visit RETURNING {_COLUMNS}
""")  # noqa: S608 - columns from above


class Taken(Exception):
    """The technician has another visit then; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit as it stands."""

    visit_id: UUID
    org_id: UUID
    ticket_id: UUID
    number: int
    technician_id: UUID | None
    window: Window
    state: VisitState
    sequence: int
    may_overlap: bool = False


def lock_calendars(connection: Connection, person_ids: Iterable[UUID]) -> None:
    """Let nobody else book for these technicians until the transaction ends; in the order of their ids."""
    connection.execute(_CALENDARS, {"people": sorted(set(person_ids))})


def current(connection: Connection, ticket_id: UUID) -> Visit | None:
    """Return the visit that is booked or under way, None when there is none."""
    row = connection.execute(_CURRENT, {"ticket": ticket_id}).one_or_none()
    return None if row is None else visit_of(row)


def book(
    connection: Connection,
    ticket: FieldTicket,
    window: Window,
    technician_id: UUID | None = None,
    *,
    may_overlap: bool = False,
) -> Visit:
    """Book a locked ticket's visit, or move the one that is booked or under way. Raises `Taken`.

    The caller keeps `visit_number`, `scheduled_start` and `scheduled_end` of the field work in step (`changes_of`).
    """
    before = current(connection, ticket.ticket_id)
    values = {
        "org": ticket.org_id,
        "ticket": ticket.ticket_id,
        "visit": before.visit_id if before else None,
        "person": technician_id,
        "starts_at": window.starts_at,
        "ends_at": window.ends_at,
        "may_overlap": may_overlap,
    }
    try:
        with connection.begin_nested():
            # In the savepoint: who came too late lets go of the calendar, and may lock others in their order.
            if technician_id is not None:
                lock_calendars(connection, [technician_id])
            return visit_of(connection.execute(_MOVE if before else _NEW, values).one())
    except IntegrityError as error:
        if constraint_of(error) == _OVERLAP:
            raise Taken from error
        raise


def changes_of(visit: Visit) -> dict[str, Any]:
    """Return what a booked visit changes of its ticket's field work."""
    return {
        "visit_number": visit.number,
        "scheduled_start": visit.window.starts_at,
        "scheduled_end": visit.window.ends_at,
    }


def call_off(connection: Connection, *ticket_ids: UUID) -> list[Visit]:
    """Cancel the booked visits of locked tickets; return them. One under way goes on: `end` is for those."""
    found = connection.execute(_CALL_OFF, {"tickets": list(ticket_ids)})
    return [visit_of(row) for row in found]


def set_state(connection: Connection, visit: Visit, state: VisitState) -> Visit:
    """Lead a visit to a state: under way, done, cancelled."""
    return visit_of(connection.execute(_STATE, {"visit": visit.visit_id, "state": state.value}).one())


def invitation(visit: Visit, trace_id: str | None = None) -> Emit:
    """Return the step that tells the customer of a visit as it stands now: when it is, or that it is called off."""
    key = f"{visit.visit_id}:{visit.sequence}"
    return Emit(INVITE, key, visit.org_id, None, Lane.LIVE, 0, trace_id or secrets.token_hex(16))


def visit_of(row: Row[Any]) -> Visit:
    """Return a row of `visits` as a value."""
    starts_at: datetime = row.starts_at
    return Visit(
        visit_id=row.id,
        org_id=row.org_id,
        ticket_id=row.ticket_id,
        number=row.number,
        technician_id=row.technician_id,
        window=Window(starts_at, row.ends_at),
        state=VisitState(row.state),
        sequence=row.sequence,
        may_overlap=row.is_overlap_allowed,
    )
