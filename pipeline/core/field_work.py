"""The field work of a ticket as a value, and the plain rules on it (contract 000)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

from models.enums import DispatchPriority, DispatchState, TicketPriority
from pipeline.core.written import plain

#: Minutes until somebody must be there (seed-behaviours, 1.8).
MINUTES = MappingProxyType(
    {
        DispatchPriority.EMERGENCY: timedelta(minutes=60),
        DispatchPriority.URGENT: timedelta(minutes=240),
        DispatchPriority.ROUTINE: timedelta(minutes=1440),
    }
)
#: So long before it is due, it is due soon.
DUE_SOON = timedelta(minutes=45)
#: By rank, not by spelling: the highest ticket priority is "urgent", and field work has an EMERGENCY above URGENT.
TICKET_PRIORITY = MappingProxyType(
    {
        DispatchPriority.EMERGENCY: TicketPriority.URGENT,
        DispatchPriority.URGENT: TicketPriority.HIGH,
        DispatchPriority.ROUTINE: TicketPriority.NORMAL,
    }
)
#: The dispatcher has nothing more to do in these.
OUT_OF_QUEUE = frozenset(
    {DispatchState.VERIFIED, DispatchState.INVOICED, DispatchState.CLOSED, DispatchState.CANCELLED}
)
#: Nothing is added to the proof any more, and nothing taken from it.
FROZEN = OUT_OF_QUEUE


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time that somebody comes in."""

    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class FieldTicket:
    """A ticket as the commands of contract 000 see it; `state` is its dispatch state."""

    ticket_id: UUID
    org_id: UUID
    code: str
    state: DispatchState
    version: int
    summary: str
    created_at: datetime
    #: The database's time, when it was read.
    now: datetime
    is_merged: bool = False
    merged_into: UUID | None = None
    account_id: UUID | None = None
    site_id: UUID | None = None
    requester_email: str | None = None
    #: False for a ticket that has no field work yet.
    has_work: bool = False
    asset_id: UUID | None = None
    incident_type: str | None = None
    template_id: UUID | None = None
    description: str | None = None
    priority: DispatchPriority = DispatchPriority.ROUTINE
    due_at: datetime | None = None
    arrived_at: datetime | None = None
    nte_cents: int = 0
    currency: str = "USD"
    scheduled_start: datetime | None = None
    scheduled_end: datetime | None = None
    assigned_provider_id: UUID | None = None
    assigned_tech_id: UUID | None = None
    visit_number: int = 0
    customer_name: str | None = None
    customer_phone: str | None = None
    customer_email: str | None = None
    identity_confidence: int | None = None
    classification_confidence: int | None = None
    is_sop_handoff_required: bool = False
    is_sop_handoff_acknowledged: bool = False
    rework_reason: str | None = None
    trace_id: str | None = None
    updated_at: datetime | None = None
    #: What one command's lock looked up besides, by name.
    known: MappingProxyType[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def window(self) -> Window | None:
        """When somebody comes; None while nothing is scheduled."""
        if self.scheduled_start is None or self.scheduled_end is None:
            return None
        return Window(self.scheduled_start, self.scheduled_end)


def due_at(created_at: datetime, priority: DispatchPriority) -> datetime:
    """Return when somebody must be there: 60, 240 or 1440 minutes after the ticket was made, whatever is scheduled."""
    return created_at + MINUTES[priority]


def is_in_queue(state: DispatchState) -> bool:
    """Say whether a dispatcher still has to look after it."""
    return state not in OUT_OF_QUEUE


def is_assigned(ticket: FieldTicket, actor_id: str, person_id: UUID | None) -> bool:
    """Say whether somebody is the technician who was sent."""
    tech = ticket.assigned_tech_id
    return tech is not None and (tech == person_id or str(tech) == actor_id)


def body(ticket: FieldTicket) -> dict[str, Any]:
    """Return the ticket as contract 000 serves it (seed-behaviours, 1.5), and what people need besides."""
    return {
        "id": str(ticket.ticket_id),
        "code": ticket.code,
        "account_id": plain(ticket.account_id),
        "site_id": plain(ticket.site_id),
        "asset_id": plain(ticket.asset_id),
        "state": ticket.state.value,
        "priority": ticket.priority.value,
        "incident_type": ticket.incident_type,
        "summary": ticket.summary,
        "description": ticket.description,
        "nte_cents": ticket.nte_cents,
        "currency": ticket.currency,
        "due_at": plain(ticket.due_at),
        "arrived_at": plain(ticket.arrived_at),
        "scheduled_start": plain(ticket.scheduled_start),
        "scheduled_end": plain(ticket.scheduled_end),
        "assigned_provider_id": plain(ticket.assigned_provider_id),
        "assigned_tech_id": plain(ticket.assigned_tech_id),
        "visit_number": ticket.visit_number,
        "customer_name": ticket.customer_name,
        "customer_phone": ticket.customer_phone,
        "customer_email": ticket.customer_email,
        "identity_confidence": ticket.identity_confidence,
        "classification_confidence": ticket.classification_confidence,
        "sop_handoff_required": ticket.is_sop_handoff_required,
        "sop_handoff_acknowledged": ticket.is_sop_handoff_acknowledged,
        "rework_reason": ticket.rework_reason,
        "version": ticket.version,
        "created_at": plain(ticket.created_at),
        "updated_at": plain(ticket.updated_at or ticket.created_at),
    }
