"""Contract 003's answers as HTTP has them: its envelope and its types; fields that it does not name are additive."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from fastapi import Path
from pydantic import BaseModel, Field

from models.enums import (
    AssessedBecause,
    CaseEnd,
    CaseState,
    GridStress,
    RecommendedAction,
    RootCause,
    TaskResult,
    TaskStatus,
    TriageMode,
    TruthSource,
    WorkOrderState,
)

Data = TypeVar("Data")
CaseName = Annotated[
    str, Path(max_length=600, description="The id of a case; without `__2` the newest of its charger. Or its uuid.")
]


class CaseEnvelope(BaseModel, Generic[Data]):
    """What every answer of contract 003 is wrapped in."""

    ok: Literal[True] = True
    data: Data
    error: None = None


class CaseAnswer(BaseModel):
    """The triage view of one charger's trouble."""

    id: str
    charger_id: str
    priority_score: int = Field(ge=0, le=100)
    sla_hours: int
    root_cause_tag: RootCause
    confidence: float = Field(ge=0, le=1)
    recommended_action: RecommendedAction
    evidence_ids: list[str] = Field(description="Newest first, the newest 1,000; `signal_count` says how many.")
    grid_stress_level: GridStress
    explanation: str
    uncertainty_reasons: list[str]
    verification_required: bool
    uuid: UUID
    mode: TriageMode
    state: CaseState
    number: int = Field(description="Which trouble of this charger it is.")
    version: int
    policy_version: int = Field(description="Of the triage policy that assessed it; 0 is the built-in one.")
    signal_count: int
    first_signal_at: datetime | None
    last_signal_at: datetime | None
    verified_result: TaskResult | None
    verified_at: datetime | None
    decided_at: datetime | None = Field(description="When it was clear that somebody goes, or that nobody has to.")
    is_real: bool | None = Field(description="Whether something was wrong, as far as anybody has found out.")
    assessed_at: datetime
    created_at: datetime
    closed_at: datetime | None
    closed_because: CaseEnd | None


class VerificationTaskAnswer(BaseModel):
    """A question that a person answers."""

    id: str
    case_id: str
    question: str
    owner: str
    status: TaskStatus
    result: TaskResult | None


class WaitingTask(VerificationTaskAnswer):
    """An open question, with what tells how soon its answer is wanted."""

    charger_id: str
    priority_score: int
    sla_hours: int
    created_at: datetime


class AskedTask(VerificationTaskAnswer):
    """A question of a case's history."""

    created_at: datetime
    ended_at: datetime | None


class CaseOrder(BaseModel):
    """A work order of a case."""

    id: str
    case_id: str
    assigned_team: str | None
    due_at: datetime
    state: Literal["created", "in_progress", "done", "cancelled"]
    order_state: WorkOrderState = Field(description="The same in the words of contract 004.")
    ticket_id: UUID | None = Field(description="The ticket whose field work it follows.")
    version: int


class CancelledOrder(BaseModel):
    """An order that was called off."""

    id: str
    state: WorkOrderState


class AssessmentAnswer(BaseModel):
    """What triage said of a case, and what made it say so."""

    version: int
    because: AssessedBecause
    policy_version: int
    priority_score: int
    confidence: float
    recommended_action: RecommendedAction
    signal_count: int
    at: datetime


class OutcomeAnswer(BaseModel):
    """What somebody answered to a question."""

    task_id: str
    result: TaskResult
    notes: str
    actor_id: str
    at: datetime


class TruthAnswer(BaseModel):
    """What somebody found to be true."""

    source: TruthSource
    is_real: bool
    note: str
    actor_id: str
    at: datetime


class BaselineRun(BaseModel):
    """The cases of the chargers that were reported about."""

    cases: list[CaseAnswer]


class CertaintyRun(BaselineRun):
    """The cases, and what they wait for."""

    verification_tasks: list[VerificationTaskAnswer]


class CaseList(BaselineRun):
    """A page of cases, the most urgent first."""

    mode: TriageMode
    next_cursor: str | None


class WaitingTasks(BaseModel):
    """A page of open questions, the oldest first."""

    verification_tasks: list[WaitingTask]
    next_cursor: str | None


class CaseDetail(BaseModel):
    """A case with what became of it: of each kind the newest hundred, newest first."""

    case: CaseAnswer
    assessments: list[AssessmentAnswer]
    verification_tasks: list[AskedTask]
    outcomes: list[OutcomeAnswer]
    truths: list[TruthAnswer]
    work_orders: list[CaseOrder]


class CaseDispatched(BaseModel):
    """The work order of a case."""

    work_order: CaseOrder


class CaseVerified(BaseModel):
    """The question that is answered, and the case as it is now."""

    verification_task: VerificationTaskAnswer
    case: CaseAnswer
    cancelled_work_orders: list[CancelledOrder]


def whole(data: Any) -> dict[str, Any]:
    """Return data in the envelope, for an answer model to read."""
    return {"ok": True, "data": data, "error": None}
