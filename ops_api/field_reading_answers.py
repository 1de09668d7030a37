"""How a ticket's field work is read over HTTP: its history, and where its time went (contract 000)."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from models.enums import ActorKind, AuditOutcome, DispatchState, TransitionKind
from models.queries.field_tickets import Told
from ops_api.field_answers import FieldTicketAnswer
from pipeline.core.delays import Delays, Party
from pipeline.core.service_levels import Standing

#: Stays that one answer tells one by one; the figures count them all.
_MOST_STAYS = 200


class FieldFacts(FieldTicketAnswer):
    """A ticket's field work and what is known of it now."""

    has_field_work: bool = Field(description="False: it is answered by mail alone, and the rest are defaults.")
    sla_status: Standing | None = Field(description="How `due_at` stands; null once the work is over.")
    remaining_minutes: int | None = Field(description="Whole minutes until `due_at`, rounded down.")
    sla_display: str | None = Field(description="The same as hours and minutes, like -01:05.")
    delay_party: Party | None = Field(description="Who has to act now; null once the work is over.")
    evidence_outstanding: int = Field(description="Promised photos that have not come.")


class MoveAnswer(BaseModel):
    """One change of a state."""

    kind: TransitionKind
    from_state: str | None
    to_state: str


class TimelineEvent(BaseModel):
    """One row of the audit trail about the ticket."""

    id: int = Field(description="Its number in the organization's trail.")
    at: datetime
    actor_type: ActorKind
    actor_id: str
    actor_role: str | None
    tool_name: str = Field(description="What was done, or asked for.")
    before_state: str | None
    after_state: str | None
    transitions: list[MoveAnswer] = Field(description="Every step, of field work and of the conversation.")
    outcome: AuditOutcome
    code: str | None = Field(description="Why it was refused.")
    request_id: str | None
    correlation_id: str | None
    trace_id: str | None
    payload: dict[str, Any]
    is_erased: bool = Field(description="The payload was forgotten with a person.")


class Timeline(BaseModel):
    """A page of what happened to a ticket, oldest first."""

    ticket_id: UUID
    events: list[TimelineEvent]
    next_cursor: str | None = Field(description="Null when nothing follows.")


class StayAnswer(BaseModel):
    """One stretch of time in one state."""

    state: DispatchState
    party: Party
    began_at: datetime
    ended_at: datetime
    minutes: int


class DelaysAnswer(BaseModel):
    """Where a ticket's time went; the minutes of the parties add up to those that elapsed."""

    ticket_id: UUID
    began_at: datetime
    until: datetime = Field(description="Now, or when the work was over.")
    elapsed_minutes: int
    minutes: dict[Party, int]
    by_state: dict[DispatchState, int]
    current_party: Party | None
    stays: list[StayAnswer] = Field(description="The latest 200, oldest first.")


def event_answer(told: Told) -> TimelineEvent:
    """Return a row of the trail as it is answered."""
    row = told.row
    return TimelineEvent(
        id=row.number,
        at=row.at,
        actor_type=row.actor_kind,
        actor_id=row.actor_id,
        actor_role=row.actor_role,
        tool_name=row.action,
        before_state=told.before_state,
        after_state=told.after_state,
        transitions=[MoveAnswer(kind=one.kind, from_state=one.from_state, to_state=one.to_state) for one in told.moves],
        outcome=row.outcome,
        code=row.code,
        request_id=row.request_id,
        correlation_id=row.correlation_id,
        trace_id=row.trace_id,
        payload={name: value for name, value in (row.data or {}).items() if not name.startswith("_")},
        is_erased=row.is_erased,
    )


def delays_answer(ticket_id: UUID, found: Delays) -> DelaysAnswer:
    """Return where the time went as it is answered."""
    return DelaysAnswer(
        ticket_id=ticket_id,
        began_at=found.began_at,
        until=found.until,
        elapsed_minutes=found.elapsed_minutes,
        minutes=dict(found.minutes),
        by_state=dict(found.by_state),
        current_party=found.party,
        stays=[StayAnswer.model_validate(one, from_attributes=True) for one in found.stays[-_MOST_STAYS:]],
    )
