"""What service levels look like over HTTP: policies, a ticket's clocks, and their counts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from models.enums import ClockKind, ClockState, IntervalState, TicketPriority, TicketStatus
from models.queries.clocks import Count
from pipeline.core.clocks import Interval
from pipeline.runtime.clock_reading import Explained, Shown

_Row = ConfigDict(from_attributes=True)
_Asked = ConfigDict(extra="forbid")
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]


class TargetsAnswer(BaseModel):
    """Minutes that count until a ticket is to be answered and resolved."""

    model_config = _Asked

    response: Annotated[int, Field(ge=1, le=129_600, strict=True)]
    resolution: Annotated[int, Field(ge=1, le=129_600, strict=True)]


class ConditionsAnswer(BaseModel):
    """Which tickets a policy times; what is left out, or empty, is met by all. Of tags one is enough."""

    model_config = _Asked

    priorities: list[TicketPriority] = Field(default=[], max_length=10)
    queue_ids: list[UUID] = Field(default=[], max_length=200)
    mailbox_ids: list[UUID] = Field(default=[], max_length=200)
    tags: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(default=[], max_length=200)


class PolicyAnswer(BaseModel):
    """Whom a policy times, how soon, and when the clocks stand still."""

    model_config = _Row

    id: UUID
    name: str
    position: int = Field(description="The lowest is tried first.")
    is_enabled: bool
    calendar_id: UUID | None = Field(description="Null: day and night.")
    calendar: str | None
    conditions: ConditionsAnswer
    targets: dict[TicketPriority, TargetsAnswer]
    pauses: list[TicketStatus]
    warning_minutes: int
    version: int = Field(description="Counts its changes, and those of its calendar.")
    created_at: datetime


class PolicyAnswers(BaseModel):
    """All policies of the organization in the order they are tried; at most 200."""

    items: list[PolicyAnswer]


class PolicyRequest(BaseModel):
    """A new policy."""

    model_config = _Asked

    name: Name
    position: Annotated[int, Field(ge=0, le=10_000, strict=True)] = 100
    is_enabled: bool = True
    calendar_id: UUID | None = None
    conditions: ConditionsAnswer = ConditionsAnswer()
    targets: dict[TicketPriority, TargetsAnswer] = Field(min_length=1)
    pauses: list[TicketStatus] = Field(default=[TicketStatus.PENDING], max_length=10)
    warning_minutes: Annotated[int, Field(ge=0, le=43_200, strict=True)] = 45

    def columns(self) -> dict[str, Any]:
        """Return the policy by column."""
        return self.model_dump()


class PolicyChange(BaseModel):
    """What to change of a policy; what is left out stays, and a calendar of null means day and night."""

    model_config = _Asked

    name: Name | None = None
    position: Annotated[int | None, Field(ge=0, le=10_000, strict=True)] = None
    is_enabled: bool | None = None
    calendar_id: UUID | None = None
    conditions: ConditionsAnswer | None = None
    targets: dict[TicketPriority, TargetsAnswer] | None = Field(default=None, min_length=1)
    pauses: list[TicketStatus] | None = Field(default=None, max_length=10)
    warning_minutes: Annotated[int | None, Field(ge=0, le=43_200, strict=True)] = None

    def columns(self) -> dict[str, Any]:
        """Return what is to be changed, by column."""
        said = self.model_dump(exclude_unset=True)
        return {name: value for name, value in said.items() if value is not None or name == "calendar_id"}


class ClockAnswer(BaseModel):
    """A clock of a ticket; durations are seconds that count by the policy's calendar."""

    kind: ClockKind
    state: ClockState
    standing: str = Field(description="healthy, warning or breach while it runs, else its state.")
    target_seconds: int
    elapsed_seconds: int
    remaining_seconds: int = Field(description="Below zero when it is late.")
    started_at: datetime
    warn_at: datetime | None
    due_at: datetime | None = Field(description="Null while it stands still.")
    warned_at: datetime | None
    breached_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def of(cls, shown: Shown) -> ClockAnswer:
        """Return what a clock shows."""
        clock = shown.clock
        return cls(
            kind=clock.kind,
            state=clock.state,
            standing=shown.standing,
            target_seconds=_seconds(clock.target),
            elapsed_seconds=_seconds(shown.elapsed),
            remaining_seconds=_seconds(shown.remaining),
            started_at=clock.started_at,
            warn_at=clock.warn_at,
            due_at=clock.due_at,
            warned_at=clock.warned_at,
            breached_at=clock.breached_at,
            ended_at=clock.ended_at,
        )


class IntervalAnswer(BaseModel):
    """A stretch in which the ticket's time counted, or stood still; the last one is open."""

    state: IntervalState
    because: str = Field(description="The status it began with, or what began it.")
    began_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, one: Interval) -> IntervalAnswer:
        """Return an interval."""
        return cls(state=one.state, because=one.because, began_at=one.began_at, ended_at=one.ended_at)


class TriedAnswer(BaseModel):
    """A policy that was looked at; `misses` names the condition that the ticket does not meet."""

    policy_id: UUID
    name: str
    misses: str | None = Field(description="priority, queue, mailbox or tags; null for the one in force.")


class TicketLevels(BaseModel):
    """The clocks of a ticket, their ledger, the policy in force, and why it is that one."""

    ticket_id: UUID
    status: TicketStatus
    policy_id: UUID | None = Field(description="Null: the default times, day and night.")
    policy: str
    policy_version: int
    why: list[TriedAnswer] = Field(description="The policies that were looked at, in order.")
    pauses: list[TicketStatus]
    clocks: list[ClockAnswer] = Field(description="None where nothing was asked for, as with spam.")
    intervals: list[IntervalAnswer] = Field(description="The newest 200, in order of time, without a gap.")
    has_more_intervals: bool
    at: datetime

    @classmethod
    def of(cls, ticket_id: UUID, found: Explained) -> TicketLevels:
        """Return what was found."""
        return cls(
            ticket_id=ticket_id,
            status=found.status,
            policy_id=found.policy.policy_id,
            policy=found.policy.name,
            policy_version=found.policy.version,
            why=[TriedAnswer(policy_id=one.policy_id, name=one.name, misses=one.misses) for one in found.tried],
            pauses=sorted(found.policy.pauses),
            clocks=[ClockAnswer.of(one) for one in found.clocks],
            intervals=[IntervalAnswer.of(one) for one in found.intervals],
            has_more_intervals=found.has_more_intervals,
            at=found.at,
        )


class Standings(BaseModel):
    """How many clocks of a kind stand how."""

    healthy: int = 0
    warning: int = 0
    breach: int = 0
    paused: int = 0


class OverviewRow(BaseModel):
    """The clocks of one queue's open tickets of a priority."""

    queue_id: UUID | None = Field(description="Null: tickets of no queue, a person's or nobody's.")
    queue: str | None
    priority: TicketPriority
    response: Standings
    resolution: Standings


class Overview(BaseModel):
    """How the clocks of open tickets stand, by queue and priority."""

    response: Standings
    resolution: Standings
    items: list[OverviewRow]
    is_complete: bool = Field(
        description="False when there are so many that only the 20,000 tickets due first were counted."
    )

    @classmethod
    def of(cls, counts: list[Count], *, is_complete: bool) -> Overview:
        """Add up the counts."""
        whole = cls(response=Standings(), resolution=Standings(), items=[], is_complete=is_complete)
        rows: dict[tuple[UUID | None, str], OverviewRow] = {}
        for one in counts:
            row = rows.setdefault((one.queue_id, one.priority), _row(one))
            for sums in (whole, row):
                kind: Standings = getattr(sums, one.kind)
                setattr(kind, one.standing, getattr(kind, one.standing) + one.clocks)
        whole.items = list(rows.values())
        return whole


def _row(one: Count) -> OverviewRow:
    priority = TicketPriority(one.priority)
    return OverviewRow(
        queue_id=one.queue_id, queue=one.queue, priority=priority, response=Standings(), resolution=Standings()
    )


def _seconds(duration: timedelta) -> int:
    return duration // timedelta(seconds=1)
