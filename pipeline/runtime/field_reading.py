"""A ticket's field work as people read it: what it is, how its deadline stands, and where its time went."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from models.queries import field_tickets
from pipeline.core import dispatch_queue
from pipeline.core.delays import Delays, delays, party_of
from pipeline.core.field_work import OUT_OF_QUEUE, FieldTicket, body
from pipeline.runtime import evidence_rows, field_rows


def shown(connection: Connection, ticket_id: UUID) -> dict[str, Any]:
    """Return a ticket's field work with what is known of it now; the ticket exists."""
    ticket = field_rows.read(connection, ticket_id)
    return {
        **body(ticket),
        "has_field_work": ticket.has_work,
        **_deadline(ticket),
        "delay_party": None if ticket.state in OUT_OF_QUEUE else party_of(ticket.state).value,
        "evidence_outstanding": evidence_rows.outstanding(connection, ticket_id),
    }


def where_time_went(connection: Connection, ticket_id: UUID) -> Delays:
    """Return whose delay a ticket's time was; the ticket exists."""
    found = field_tickets.course(connection, ticket_id)
    return delays(found.began_at, found.first, found.entered, found.now)


def _deadline(ticket: FieldTicket) -> dict[str, Any]:
    """Return how the deadline stands; nothing where none runs."""
    if ticket.due_at is None or ticket.state in OUT_OF_QUEUE:
        return {"sla_status": None, "remaining_minutes": None, "sla_display": None}
    found = dispatch_queue.due(ticket.due_at, ticket.now)
    return {
        "sla_status": found.standing.value,
        "remaining_minutes": found.remaining_minutes,
        "sla_display": found.display,
    }
