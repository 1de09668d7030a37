"""How field work reads over HTTP (contract 000), in the documentation: what `pipeline.core.field_work.body` holds."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from models.enums import ApprovalKind, ApprovalState, DispatchPriority, DispatchState


class StretchAnswer(BaseModel):
    """A stretch of time."""

    start: datetime
    end: datetime


class FieldTicketAnswer(BaseModel):
    """A ticket's field work after a command; its version is the answer's ETag."""

    model_config = ConfigDict(extra="allow")

    id: UUID
    code: str
    account_id: UUID | None
    site_id: UUID | None
    asset_id: UUID | None
    state: DispatchState
    priority: DispatchPriority
    incident_type: str | None
    summary: str
    description: str | None
    nte_cents: int = Field(description="Not to exceed; 0 for no limit.")
    currency: str
    due_at: datetime | None = Field(description="When somebody must be there.")
    arrived_at: datetime | None
    scheduled_start: datetime | None
    scheduled_end: datetime | None
    assigned_provider_id: UUID | None
    assigned_tech_id: UUID | None
    visit_number: int
    customer_name: str | None
    customer_phone: str | None
    customer_email: str | None
    identity_confidence: int | None
    classification_confidence: int | None
    sop_handoff_required: bool
    sop_handoff_acknowledged: bool
    rework_reason: str | None
    version: int
    created_at: datetime
    updated_at: datetime


class ApprovalAnswer(BaseModel):
    """An approval: what is asked for, by whom, and what was decided."""

    id: UUID
    status: ApprovalState
    approval_type: ApprovalKind
    amount_delta_cents: int | None
    reason: str
    evidence_refs: list[str]
    source: str = Field(description="The command that asked for it.")
    return_state: DispatchState
    requested_by: str
    requested_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    notes: str | None


class ClassifiedTicket(FieldTicketAnswer):
    """A ticket whose kind of trouble was said."""

    warning: str | None = Field(default=None, description="What will be in the way later.")


class TriagedTicket(ClassifiedTicket):
    """A ticket after triage."""

    approval: ApprovalAnswer | None = Field(default=None, description="What was asked for, when triage asks.")


class ChangeRequested(BaseModel):
    """A ticket that waits for an approval, and the approval."""

    ticket: FieldTicketAnswer
    approval: ApprovalAnswer


class DecidedTicket(FieldTicketAnswer):
    """A ticket after a decision, and the decision."""

    approval: ApprovalAnswer


class Approvals(BaseModel):
    """A page of a ticket's approvals, newest first."""

    ticket_id: UUID
    approvals: list[ApprovalAnswer]
    next_cursor: str | None
