"""The rows of a ticket's schedule beside its visits: the windows that were offered, and holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import DispatchState, HoldReason, HoldState
from pipeline.core.field_work import FieldTicket, Window
from pipeline.core.schedule import Hold, Proposed

_OFFERED = text("""
    SELECT starts_at, ends_at, technician_id FROM proposed_windows WHERE ticket_id = :ticket ORDER BY position
""")
_TAKE_BACK = text("DELETE FROM proposed_windows WHERE ticket_id = ANY(CAST(:tickets AS uuid[]))")
_OFFER = text("""
    INSERT INTO proposed_windows (ticket_id, position, org_id, starts_at, ends_at, technician_id)
    SELECT :ticket, position, :org, starts_at, ends_at, technician_id
      FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]), CAST(:people AS uuid[]))
           WITH ORDINALITY AS o(starts_at, ends_at, technician_id, position)
""")
_HOLD_COLUMNS = """
    h.id, h.org_id, h.ticket_id, h.reason, h.starts_at, h.ends_at, h.from_state, h.scheduled_start, h.scheduled_end
"""
_OPEN = text(f"""
    SELECT {_HOLD_COLUMNS} FROM schedule_holds h WHERE h.ticket_id = :ticket AND h.state = 'open'
""")  # noqa: S608 - columns from above
_BEGIN = text("""
    INSERT INTO schedule_holds (org_id, ticket_id, reason, starts_at, ends_at, from_state, scheduled_start,
                                scheduled_end)
    VALUES (:org, :ticket, :reason, :starts_at, :ends_at, :state, :kept_start, :kept_end) RETURNING id
""")
_END = text("""
    UPDATE schedule_holds SET state = :state, ended_at = now(), ended_because = :because
     WHERE id = ANY(CAST(:holds AS uuid[])) AND state = 'open'
""")
#: The ticket first, as every command does. What ended meanwhile has nothing left to do.
_LOCK_TICKETS = text("""
    SELECT t.id FROM tickets t
     WHERE t.id IN (SELECT ticket_id FROM schedule_holds WHERE id = ANY(CAST(:holds AS uuid[])) AND state = 'open')
     ORDER BY t.id FOR NO KEY UPDATE
""")
_LAPSED = text(f"""
    SELECT {_HOLD_COLUMNS}, t.dispatch_state, d.trace_id, h.ends_at <= now() AS is_over, now() AS now
      FROM schedule_holds h JOIN tickets t ON t.id = h.ticket_id JOIN dispatches d ON d.ticket_id = h.ticket_id
     WHERE h.id = ANY(CAST(:holds AS uuid[])) AND h.state = 'open' ORDER BY h.ticket_id
""")  # noqa: S608 - columns from above


@dataclass(frozen=True, slots=True)
class Lapsing:
    """An open hold of a locked ticket, and how it stands."""

    hold: Hold
    org_id: UUID
    ticket_id: UUID
    state: DispatchState
    trace_id: str | None
    is_over: bool
    #: Seconds until it is over.
    left_seconds: float


def offered(connection: Connection, ticket_id: UUID) -> list[Proposed]:
    """Return the windows that were offered last, in their order."""
    found = connection.execute(_OFFERED, {"ticket": ticket_id})
    return [Proposed(Window(row.starts_at, row.ends_at), row.technician_id) for row in found]


def offer(connection: Connection, ticket: FieldTicket, windows: Sequence[Proposed]) -> None:
    """Offer these windows instead of those that were offered before."""
    take_back(connection, ticket.ticket_id)
    values = {
        "ticket": ticket.ticket_id,
        "org": ticket.org_id,
        "starts": [one.window.starts_at for one in windows],
        "ends": [one.window.ends_at for one in windows],
        "people": [one.technician_id for one in windows],
    }
    connection.execute(_OFFER, values)


def take_back(connection: Connection, *ticket_ids: UUID) -> None:
    """Offer nothing any more."""
    connection.execute(_TAKE_BACK, {"tickets": list(ticket_ids)})


def open_hold(connection: Connection, ticket_id: UUID) -> Hold | None:
    """Return a ticket's open hold, None when there is none."""
    row = connection.execute(_OPEN, {"ticket": ticket_id}).one_or_none()
    return None if row is None else _hold(row)


def begin_hold(connection: Connection, ticket: FieldTicket, reason: HoldReason, window: Window) -> UUID:
    """Hold a locked ticket's schedule; what it is now is kept for a release. Return the hold's id."""
    kept = ticket.window
    values = {
        "org": ticket.org_id,
        "ticket": ticket.ticket_id,
        "reason": reason.value,
        "starts_at": window.starts_at,
        "ends_at": window.ends_at,
        "state": ticket.state.value,
        "kept_start": kept.starts_at if kept else None,
        "kept_end": kept.ends_at if kept else None,
    }
    found: UUID = connection.execute(_BEGIN, values).scalar_one()
    return found


def end_holds(connection: Connection, hold_ids: Sequence[UUID], state: HoldState, because: str) -> None:
    """End open holds, with the reason."""
    connection.execute(_END, {"holds": list(hold_ids), "state": state.value, "because": because})


def lock_lapsing(connection: Connection, hold_ids: Sequence[UUID]) -> list[Lapsing]:
    """Lock the tickets of holds that are open; return these as they stand then, by ticket."""
    connection.execute(_LOCK_TICKETS, {"holds": list(hold_ids)})
    return [
        Lapsing(
            hold=_hold(row),
            org_id=row.org_id,
            ticket_id=row.ticket_id,
            state=DispatchState(row.dispatch_state),
            trace_id=row.trace_id,
            is_over=row.is_over,
            left_seconds=max(0.0, (row.ends_at - row.now).total_seconds()),
        )
        for row in connection.execute(_LAPSED, {"holds": list(hold_ids)})
    ]


def _hold(row: Row[Any]) -> Hold:
    kept = None if row.scheduled_start is None else Window(row.scheduled_start, row.scheduled_end)
    return Hold(
        hold_id=row.id,
        reason=HoldReason(row.reason),
        window=Window(row.starts_at, row.ends_at),
        from_state=DispatchState(row.from_state),
        kept=kept,
    )
