"""The work on tickets of the workshop and the clock of it: begin, pause, go on, stop, hand over (contract 002)."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from models.enums import WorkSessionAction, WorkSessionState
from models.queries import work_sessions as events
from ops_api.commands import Calling
from ops_api.dependencies import Transaction
from ops_api.guard import GuardedRoute
from ops_api.routes.workshop_reads import OwnRepair
from ops_api.workshop_answers import AskedPage, Envelope, RepairAnswer, RepairName, Results
from pipeline.commands import work_sessions
from pipeline.commands.workshop_arguments import Nothing
from pipeline.core.work_sessions import described_event

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["workshop"])

_TICKET = "/tickets/{repair_id}"
_SESSION = f"{_TICKET}/work-session"


class WorkSessionAnswer(BaseModel):
    """A work session after something was done to it."""

    id: UUID
    ticket: UUID
    technician: UUID
    status: WorkSessionState
    started_at: datetime
    last_started_at: datetime = Field(description="For the first time, or after the last pause.")
    ended_at: datetime | None
    active_seconds: int = Field(description="Worked in this session, by its events; without its pauses.")
    pause_seconds_left: int = Field(description="Of the technician's budget for pauses on this local day.")
    auto_resume_at: datetime | None = Field(description="When this pause will be over by itself.")


class SessionEventAnswer(BaseModel):
    """One event of a ticket's work sessions."""

    id: int
    work_session: UUID
    ticket: UUID
    technician: UUID
    action: WorkSessionAction
    from_status: WorkSessionState | None
    to_status: WorkSessionState
    event_at: datetime
    actor: str = Field(description='"system" where a pause was over by itself.')
    actor_name: str | None
    metadata: dict[str, Any]


@router.post(f"{_TICKET}/start/", response_model=Envelope[RepairAnswer])
def start(repair_id: RepairName, call: Calling) -> Response:
    """Begin the work, or go on after its session was stopped; a work session runs from now on."""
    return call.run(work_sessions.START, repair_id, Nothing())


@router.post(f"{_TICKET}/to-waiting-qc/", response_model=Envelope[RepairAnswer])
def to_waiting_qc(repair_id: RepairName, call: Calling) -> Response:
    """Hand the work over to quality control; its work session must have been stopped before."""
    return call.run(work_sessions.TO_WAITING_QC, repair_id, Nothing())


@router.post(f"{_SESSION}/pause/", response_model=Envelope[WorkSessionAnswer])
def pause(repair_id: RepairName, call: Calling) -> Response:
    """Pause one's own work session; it goes on by itself when the day's budget of pauses runs out."""
    return call.run(work_sessions.PAUSE, repair_id, Nothing())


@router.post(f"{_SESSION}/resume/", response_model=Envelope[WorkSessionAnswer])
def resume(repair_id: RepairName, call: Calling) -> Response:
    """Go on after a pause."""
    return call.run(work_sessions.RESUME, repair_id, Nothing())


@router.post(f"{_SESSION}/stop/", response_model=Envelope[WorkSessionAnswer])
def stop(repair_id: RepairName, call: Calling) -> Response:
    """End one's own work session, out of a pause as well."""
    return call.run(work_sessions.STOP, repair_id, Nothing())


@router.get(f"{_SESSION}/history/", response_model=Results[SessionEventAnswer])
def history(order_id: OwnRepair, connection: Transaction, page: AskedPage) -> dict[str, Any]:
    """List what happened in a ticket's work sessions, newest first."""
    found = events.history(connection, order_id, **page.bounds)
    total = events.count(connection, order_id, **page.bounds)
    return page.of([described_event(row._asdict()) for row in found], total)
