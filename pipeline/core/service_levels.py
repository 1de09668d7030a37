"""Response and resolution deadlines: when they fall, how they pause, how they stand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from models.enums import TicketPriority


class DispatchPriority(StrEnum):
    """How soon field work must start (contract 000)."""

    EMERGENCY = "EMERGENCY"
    URGENT = "URGENT"
    ROUTINE = "ROUTINE"


class Standing(StrEnum):
    """How a deadline stands (contract 000)."""

    HEALTHY = "healthy"
    WARNING = "warning"
    BREACH = "breach"


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Facts to store at the start of a clock; `paused_at` is set while the customer is awaited."""

    response_at: datetime
    resolution_at: datetime
    paused_at: datetime | None = None


#: Minutes until the response is due: seed behaviours 1.9 (SLA).
_RESPONSE = {
    DispatchPriority.EMERGENCY: timedelta(minutes=60),
    DispatchPriority.URGENT: timedelta(minutes=240),
    DispatchPriority.ROUTINE: timedelta(minutes=1440),
}
#: The contracts time the response alone; the resolution is due after this many response times (4 h, 16 h, 4 d).
_RESOLUTION_FACTOR = 4
#: By rank, not by spelling: the highest ticket priority has the shortest time although its name is "urgent".
_CLASS_OF = {
    TicketPriority.URGENT: DispatchPriority.EMERGENCY,
    TicketPriority.HIGH: DispatchPriority.URGENT,
    TicketPriority.NORMAL: DispatchPriority.ROUTINE,
    TicketPriority.LOW: DispatchPriority.ROUTINE,
}
_WARNING_MINUTES = 45


def dispatch_priority(priority: DispatchPriority | TicketPriority) -> DispatchPriority:
    """Return the dispatch priority whose times apply to `priority`."""
    return _CLASS_OF[priority] if isinstance(priority, TicketPriority) else priority


def start_clock(priority: DispatchPriority | TicketPriority, at: datetime) -> Deadlines:
    """Return the deadlines of work that became due at `at`: 60, 240 or 1440 minutes to respond, four times to resolve.

    Call it once, when the work is created; scheduling a visit does not start it again. Raises TypeError for a plain
    string: "urgent" and "URGENT" are different priorities, so the type must say which is meant.
    """
    if not isinstance(priority, DispatchPriority | TicketPriority):
        raise TypeError(f"not a priority: {priority!r}")
    response = _RESPONSE[dispatch_priority(priority)]
    return Deadlines(at + response, at + _RESOLUTION_FACTOR * response)


def pause(deadlines: Deadlines, at: datetime) -> Deadlines:
    """Return the deadlines with the clock stopped since `at`; a clock that is stopped already stays as it is."""
    return deadlines if deadlines.paused_at else replace(deadlines, paused_at=at)


def resume(deadlines: Deadlines, at: datetime) -> Deadlines:
    """Return running deadlines, later by the time paused; a running clock and a time before the pause add nothing."""
    if deadlines.paused_at is None:
        return deadlines
    paused = max(at - deadlines.paused_at, timedelta(0))
    return Deadlines(deadlines.response_at + paused, deadlines.resolution_at + paused)


def remaining_minutes(due_at: datetime, now: datetime) -> int:
    """Return whole minutes until `due_at`, rounded down: half a minute late is -1."""
    return (due_at - now) // timedelta(minutes=1)


def standing(remaining: int) -> Standing:
    """Return how a deadline with `remaining` minutes stands: below 0 breach, up to 45 warning, else healthy."""
    if remaining < 0:
        return Standing.BREACH
    return Standing.WARNING if remaining <= _WARNING_MINUTES else Standing.HEALTHY
