"""A work order as a value, and the plain rules on it (contracts 002 and 004)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

from models.enums import TicketPriority, WorkOrderState, WorkPolicy

#: So long before it is due, an order of the field is due soon (decision 40).
DUE_SOON = timedelta(minutes=60)
#: When it is due where nobody says so, by its priority: as contract 000's EMERGENCY, URGENT and ROUTINE.
DUE_IN = MappingProxyType(
    {
        TicketPriority.URGENT: timedelta(minutes=60),
        TicketPriority.HIGH: timedelta(minutes=240),
        TicketPriority.NORMAL: timedelta(minutes=1440),
        TicketPriority.LOW: timedelta(minutes=2880),
    }
)
#: Over: nothing is done to it any more.
OVER = frozenset({WorkOrderState.DONE, WorkOrderState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Order:
    """A work order as its commands see it, whatever its policy."""

    order_id: UUID
    org_id: UUID
    number: int
    policy: WorkPolicy
    state: WorkOrderState
    version: int
    title: str
    priority: TicketPriority
    created_at: datetime
    #: The database's time, when it was read.
    now: datetime
    case_id: UUID | None = None
    #: Its field work is followed: what is done, is done to the ticket.
    ticket_id: UUID | None = None
    checklist_id: UUID | None = None
    item_id: UUID | None = None
    site_id: UUID | None = None
    asset_id: UUID | None = None
    team_id: UUID | None = None
    assigned_to_id: UUID | None = None
    assigned_by_id: UUID | None = None
    assigned_at: datetime | None = None
    #: Which giving to somebody this is; 0 before the first.
    attempt: int = 0
    created_by_id: UUID | None = None
    instructions: str | None = None
    return_reason: str | None = None
    fix_note: str | None = None
    outsourced_to: str | None = None
    started_at: datetime | None = None
    closed_at: datetime | None = None
    due_at: datetime | None = None
    trace_id: str | None = None
    #: What the gates of one command looked up under its lock.
    known: MappingProxyType[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def code(self) -> str:
        """How people call it: `wo_007`."""
        return code_of(self.number)


def code_of(number: int) -> str:
    """Return how people call an order by its number."""
    return f"wo_{number:03d}"


def is_overdue(order: Order) -> bool:
    """Say whether it is late and not over."""
    return order.due_at is not None and order.due_at < order.now and order.state not in OVER


def sla(order: Order) -> dict[str, Any]:
    """Return `sla` as contract 004 tells it: `dueAt`, `ageHrs` since it was made (one decimal), `overdue`."""
    end = order.closed_at or order.now
    hours = round((end - order.created_at).total_seconds() / 3600, 1)
    return {"dueAt": order.due_at, "ageHrs": hours, "overdue": is_overdue(order)}
