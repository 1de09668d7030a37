"""The labour clock of a ticket: begun at check-in, resume and rework, ended where the work waits, is done or ends."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.core.field_work import FieldTicket

#: A technician's own clock may say anything: no time before the last that was counted, and none that is still to come.
_BEGIN = text("""
    INSERT INTO time_entries (org_id, ticket_id, kind, technician_id, began_at, recorded_by)
    SELECT :org, :ticket, 'labor', :technician,
           least(now(), greatest(CAST(:at AS timestamptz), (
               SELECT max(ended_at) FROM time_entries
                WHERE ticket_id = :ticket AND kind = 'labor' AND removed_at IS NULL))), :by
        ON CONFLICT (ticket_id) WHERE ended_at IS NULL DO NOTHING
""")
_END = text("""
    UPDATE time_entries SET ended_at = greatest(began_at, least(now(), CAST(:at AS timestamptz)))
     WHERE ticket_id = :ticket AND ended_at IS NULL
""")
_RUNS = text("SELECT EXISTS (SELECT FROM time_entries WHERE ticket_id = :ticket AND ended_at IS NULL)")

_SENT_AT = text("SELECT assigned_at FROM assignments WHERE ticket_id = :ticket AND ended_at IS NULL")


def begin(connection: Connection, ticket: FieldTicket, at: datetime, recorded_by: str) -> bool:
    """Begin counting the labour of the technician who was sent; False when it is counted already.

    It begins at `at`, but not before the labour that was counted last had ended, and not in the future.
    """
    values = {
        "org": ticket.org_id,
        "ticket": ticket.ticket_id,
        "technician": ticket.assigned_tech_id,
        "at": at,
        "by": recorded_by,
    }
    return connection.execute(_BEGIN, values).rowcount > 0


def end(connection: Connection, ticket: FieldTicket, at: datetime) -> bool:
    """End what is counted of a ticket; False when nothing is."""
    return connection.execute(_END, {"ticket": ticket.ticket_id, "at": at}).rowcount > 0


def runs(connection: Connection, ticket: FieldTicket) -> bool:
    """Say whether labour is counted now."""
    return bool(connection.execute(_RUNS, {"ticket": ticket.ticket_id}).scalar_one())


def sent_at(connection: Connection, ticket_id: UUID) -> datetime | None:
    """Return when the technician who has the ticket was sent; None when nobody has it."""
    found: datetime | None = connection.execute(_SENT_AT, {"ticket": ticket_id}).scalar_one_or_none()
    return found
