"""The dispatcher's queue as it is asked for and answered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from models.enums import DispatchPriority, DispatchState
from models.queries.dispatch_queue import Wanted
from ops_api.dispatch_actions import actions
from pipeline.core import dispatch_queue
from pipeline.core.dispatch_queue import ANY_TIME, Urgency
from pipeline.core.principals import Principal
from pipeline.core.service_levels import Standing


class QueueQuery(BaseModel):
    """The filters of the queue; what is left out narrows nothing."""

    model_config = ConfigDict(extra="ignore")

    state: DispatchState | None = None
    priority: DispatchPriority | None = None
    sla_status: Standing | None = Field(default=None, description="How the deadline stands now.")
    account_id: UUID | None = None
    site_id: UUID | None = None
    assigned_tech_id: UUID | None = None
    incident_type: str | None = Field(default=None, min_length=1, max_length=100)

    def wanted(self, now: datetime) -> Wanted:
        """Return what the query means at a time."""
        stretch = dispatch_queue.stretch_of(self.sla_status, now) if self.sla_status else ANY_TIME
        return Wanted(
            state=self.state,
            priority=self.priority,
            due_since=stretch.since,
            due_before=stretch.before,
            account_id=self.account_id,
            site_id=self.site_id,
            assigned_tech_id=self.assigned_tech_id,
            incident_type=self.incident_type and self.incident_type.strip().upper(),
        )


class QueuedAnswer(BaseModel):
    """One ticket that waits for work."""

    id: UUID
    code: str
    summary: str
    state: DispatchState
    version: int
    account_id: UUID | None
    account: str | None
    site_id: UUID | None
    site: str | None
    region: str | None
    region_weight: int
    asset_id: UUID | None
    incident_type: str | None
    priority: DispatchPriority
    due_at: datetime
    remaining_minutes: int = Field(description="Whole minutes until `due_at`, rounded down.")
    sla_status: Standing
    sla_display: str = Field(description="Hours and minutes that are left, like -01:05.")
    arrived_at: datetime | None
    is_on_time: bool | None = Field(description="Whether somebody was there by `due_at`; null until somebody is.")
    scheduled_start: datetime | None
    scheduled_end: datetime | None
    assigned_tech_id: UUID | None
    technician: str | None
    visit_number: int
    rework_reason: str | None
    created_at: datetime
    updated_at: datetime
    actions: dict[str, str | None] = Field(
        description="Every command: null where it is possible now for who asks, else the code of the refusal."
    )


class QueuePage(BaseModel):
    """A page of the queue, the most urgent first. It may be short, even empty, and yet not be the last."""

    asked_at: datetime
    items: list[QueuedAnswer]
    next_cursor: str | None = Field(description="Null when nothing follows.")


def queued_answers(rows: Sequence[Any], principal: Principal, now: datetime) -> list[QueuedAnswer]:
    """Return rows of the queue in the order in which they are shown."""
    possible = cache(lambda state: dict(actions(principal, state)))
    answers = [_answer(row, now, possible(DispatchState(row.state))) for row in rows]
    return dispatch_queue.in_order((_urgency(one), one) for one in answers)


def _answer(row: Any, now: datetime, possible: dict[str, str | None]) -> QueuedAnswer:
    due = dispatch_queue.due(row.due_at, now)
    return QueuedAnswer(
        **row._asdict(),
        region_weight=dispatch_queue.region_weight(row.region),
        remaining_minutes=due.remaining_minutes,
        sla_status=due.standing,
        sla_display=due.display,
        is_on_time=None if row.arrived_at is None else row.arrived_at <= row.due_at,
        actions=possible,
    )


def _urgency(one: QueuedAnswer) -> Urgency:
    return Urgency(one.remaining_minutes, one.priority, one.region, one.updated_at, str(one.id))
