"""Service levels: how soon a ticket is to be answered and resolved, by the first policy whose conditions it meets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

from models.enums import ClockKind, DispatchPriority, TicketPriority, TicketStatus
from pipeline.core.calendars import Calendar
from pipeline.core.field_work import MINUTES


class Standing(StrEnum):
    """How a deadline stands (contract 000)."""

    HEALTHY = "healthy"
    WARNING = "warning"
    BREACH = "breach"


#: The contracts time the response alone; the resolution is due after this many response times (4 h, 16 h, 4 d).
_RESOLUTION_FACTOR = 4
#: By rank, not by spelling: the highest ticket priority has the shortest time although its name is "urgent".
_CLASS_OF = {
    TicketPriority.URGENT: DispatchPriority.EMERGENCY,
    TicketPriority.HIGH: DispatchPriority.URGENT,
    TicketPriority.NORMAL: DispatchPriority.ROUTINE,
    TicketPriority.LOW: DispatchPriority.ROUTINE,
}
#: Up to so many minutes before it, a deadline is a warning (contract 000).
WARNING_MINUTES = 45
#: A ticket in one of these may make its clocks stand still; the others end them.
PAUSABLE = (TicketStatus.NEW, TicketStatus.OPEN, TicketStatus.PENDING)
#: The longest target, in minutes that count: 90 days.
LONGEST = 129_600
MOST_NAMED = 200

Targets = Mapping[ClockKind, timedelta]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a policy may ask of a ticket."""

    priority: TicketPriority
    queue_id: UUID | None = None
    mailbox_id: UUID | None = None
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Conditions:
    """Which tickets a policy times; what is empty is met by all, and of tags one is enough."""

    priorities: frozenset[TicketPriority] = frozenset()
    queue_ids: frozenset[UUID] = frozenset()
    mailbox_ids: frozenset[UUID] = frozenset()
    tags: frozenset[str] = frozenset()

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Conditions:
        """Return conditions as they are stored. Raises ValueError for an unknown name or value, and for too many."""
        unknown = set(written) - {"priorities", "queue_ids", "mailbox_ids", "tags"}
        if unknown:
            raise ValueError(f"a policy has no condition {min(unknown)[:40]!r}")
        if any(len(values) > MOST_NAMED for values in written.values()):
            raise ValueError(f"a condition names at most {MOST_NAMED}")
        return cls(
            frozenset(TicketPriority(one) for one in written.get("priorities", ())),
            frozenset(UUID(str(one)) for one in written.get("queue_ids", ())),
            frozenset(UUID(str(one)) for one in written.get("mailbox_ids", ())),
            frozenset(str(one).lower() for one in written.get("tags", ())),
        )

    def misses(self, facts: Facts) -> str | None:
        """Return the first condition that a ticket does not meet, None when it meets all."""
        checks = (
            ("priority", not self.priorities or facts.priority in self.priorities),
            ("queue", not self.queue_ids or facts.queue_id in self.queue_ids),
            ("mailbox", not self.mailbox_ids or facts.mailbox_id in self.mailbox_ids),
            ("tags", not self.tags or not self.tags.isdisjoint(facts.tags)),
        )
        return next((name for name, is_met in checks if not is_met), None)


@dataclass(frozen=True, slots=True)
class Policy:
    """How the tickets that meet it are timed; `version` counts its changes and those of its calendar."""

    policy_id: UUID | None
    name: str
    version: int
    targets: Mapping[TicketPriority, Targets]
    conditions: Conditions = field(default_factory=Conditions)
    #: None: day and night.
    calendar: Calendar | None = None
    pauses: frozenset[TicketStatus] = frozenset({TicketStatus.PENDING})
    warning: timedelta = timedelta(minutes=WARNING_MINUTES)


def _default_targets(priority: TicketPriority) -> Targets:
    response = MINUTES[_CLASS_OF[priority]]
    return MappingProxyType({ClockKind.RESPONSE: response, ClockKind.RESOLUTION: _RESOLUTION_FACTOR * response})


#: Contract 000's times, day and night, for what no policy times.
DEFAULT = Policy(None, "default", 0, MappingProxyType({one: _default_targets(one) for one in TicketPriority}))


def choose(policies: Sequence[Policy], facts: Facts) -> Policy:
    """Return the first policy that a ticket meets, else the default times."""
    return next((one for one in policies if one.conditions.misses(facts) is None), DEFAULT)


def read_targets(
    written: Mapping[str, Mapping[str, Any]], conditions: Conditions
) -> Mapping[TicketPriority, Mapping[ClockKind, timedelta]]:
    """Return targets as they are stored: minutes by priority. Raises ValueError with words.

    Every priority that the conditions let through needs both; a response is due no later than its resolution.
    """
    targets = {_priority(name): _targets(name, minutes) for name, minutes in written.items()}
    missing = (conditions.priorities or set(TicketPriority)) - set(targets)
    if missing:
        raise ValueError(f"the policy has no targets for the priority {min(missing)}; add them, or name priorities")
    return targets


def read_pauses(written: Iterable[str]) -> frozenset[TicketStatus]:
    """Return the statuses in which clocks stand still. Raises ValueError with words for one that ends them."""
    pauses = set(written)
    wrong = pauses - set(PAUSABLE)
    if wrong:
        raise ValueError(f"clocks cannot pause in {min(wrong)[:40]!r}; only in {', '.join(PAUSABLE)}")
    if {TicketStatus.NEW, TicketStatus.OPEN} <= pauses:
        raise ValueError("clocks that pause in both new and open never run")
    return frozenset(TicketStatus(one) for one in pauses)


def _priority(name: str) -> TicketPriority:
    try:
        return TicketPriority(name)
    except ValueError:
        raise ValueError(f"{name[:40]!r} is no priority; known: {', '.join(TicketPriority)}") from None


def _targets(name: str, written: Mapping[str, Any]) -> dict[ClockKind, timedelta]:
    if set(written) != set(ClockKind):
        raise ValueError(f"targets for {name} are minutes for response and resolution")
    for kind, minutes in written.items():
        if isinstance(minutes, bool) or not isinstance(minutes, int) or not 1 <= minutes <= LONGEST:
            raise ValueError(f"the {kind} target for {name} is a whole number of minutes, 1 to {LONGEST}")
    if written[ClockKind.RESPONSE] > written[ClockKind.RESOLUTION]:
        raise ValueError(f"the response for {name} is due after its resolution")
    return {ClockKind(kind): timedelta(minutes=minutes) for kind, minutes in written.items()}


def remaining_minutes(due_at: datetime, now: datetime) -> int:
    """Return whole minutes until `due_at`, rounded down: half a minute late is -1."""
    return (due_at - now) // timedelta(minutes=1)


def standing(remaining: int) -> Standing:
    """Return how a deadline with `remaining` minutes stands: below 0 breach, up to 45 warning, else healthy."""
    if remaining < 0:
        return Standing.BREACH
    return Standing.WARNING if remaining <= WARNING_MINUTES else Standing.HEALTHY
