"""Scheduling for tests: windows that lie ahead, and the commands that lead a ticket through its schedule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from models.enums import HoldReason
from pipeline.adapters.clock import SystemClock
from pipeline.commands import holds, scheduling
from pipeline.commands.schedule_arguments import (
    Confirmation,
    HoldBody,
    Move,
    Option,
    Proposal,
    Release,
    Rollback,
    WindowBody,
    Withdrawal,
)
from pipeline.core.field_work import Window
from pipeline.executor import Answer

if TYPE_CHECKING:
    from tests.commands.field_desk import FieldDesk

HOUR = timedelta(hours=1)


def ahead(hours: float = 48, length: timedelta = HOUR) -> Window:
    """Return a window so many hours after the next full hour."""
    hour = SystemClock().now().astimezone(UTC).replace(minute=0, second=0, microsecond=0) + HOUR
    return Window(hour + timedelta(hours=hours), hour + timedelta(hours=hours) + length)


def option(window: Window, technician_id: UUID | None = None) -> Option:
    """Return a window as it is offered."""
    return Option(start=window.starts_at, end=window.ends_at, technician_id=technician_id)


def propose(desk: FieldDesk, ticket_id: UUID, *windows: Window, technician_id: UUID | None = None) -> Answer:
    """Offer windows, else one in two days."""
    options = [option(one, technician_id) for one in windows or (ahead(),)]
    return desk.run(scheduling.PROPOSE, Proposal(options=options), ticket_id, by="agent")


def offered(desk: FieldDesk, ticket_id: UUID) -> list[Window]:
    """Return the windows that stand offered."""
    statement = "SELECT starts_at, ends_at FROM proposed_windows WHERE ticket_id = :id ORDER BY position"
    return [Window(*row) for row in desk.rows(statement, id=ticket_id)]


def confirm(desk: FieldDesk, ticket_id: UUID, window: Window | None = None, **more: Any) -> Answer:
    """Confirm a window, else the first that was offered."""
    found = window or offered(desk, ticket_id)[0]
    asked = Confirmation(start=found.starts_at, end=found.ends_at)
    return desk.run(scheduling.CONFIRM, asked, ticket_id, **more)


def move(desk: FieldDesk, ticket_id: UUID, window: Window, **more: Any) -> Answer:
    """Move the visit."""
    technician_id = more.pop("technician_id", None)
    asked = Move(start=window.starts_at, end=window.ends_at, technician_id=technician_id)
    return desk.run(scheduling.MOVE, asked, ticket_id, **more)


def hold(desk: FieldDesk, ticket_id: UUID, until: datetime | None = None, **more: Any) -> Answer:
    """Hold the schedule for a day, or until a moment."""
    start = SystemClock().now() - HOUR
    window = WindowBody(start=start, end=until or start + 24 * HOUR)
    asked = HoldBody(hold_reason=HoldReason.CUSTOMER_PENDING, confirmation_window=window)
    return desk.run(holds.HOLD, asked, ticket_id, **more)


def release(desk: FieldDesk, ticket_id: UUID, hold_id: object, **more: Any) -> Answer:
    """Release a hold."""
    return desk.run(holds.RELEASE, Release(customer_confirmation_log=str(hold_id)), ticket_id, **more)


def roll_back(desk: FieldDesk, ticket_id: UUID, hold_id: object = None, **more: Any) -> Answer:
    """Roll a hold back."""
    asked = Rollback.model_validate({"confirmation_id": hold_id, "reason": "the customer never called back"})
    return desk.run(holds.ROLLBACK, asked, ticket_id, **more)


def withdraw(desk: FieldDesk, ticket_id: UUID, **more: Any) -> Answer:
    """Withdraw offers and visit."""
    return desk.run(scheduling.WITHDRAW, Withdrawal(reason="the part is late"), ticket_id, **more)
