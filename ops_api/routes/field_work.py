"""The work on site: arriving, waiting, going on, coming again, completing, and the check (contract 000)."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from ops_api.commands import Calling
from ops_api.dependencies import Provided, TicketName
from ops_api.evidence_answers import CompletedTicket
from ops_api.field_answers import FieldTicketAnswer
from ops_api.guard import GuardedRoute
from pipeline.commands import closing, visits
from pipeline.commands.field_arguments import GivenReason

router = APIRouter(route_class=GuardedRoute, tags=["field work"])


@router.post("/tickets/{ticket_id}/tech/check-in", response_model=FieldTicketAnswer)
def check_in(ticket_id: TicketName, call: Calling, asked: visits.CheckIn) -> Response:
    """Say that the technician is on site; the work and its time begin."""
    return call.run(visits.CHECK_IN, ticket_id, asked)


@router.post("/tickets/{ticket_id}/tech/hold", response_model=FieldTicketAnswer)
def hold(ticket_id: TicketName, call: Calling, asked: GivenReason) -> Response:
    """Let the work wait; its time stops."""
    return call.run(visits.HOLD, ticket_id, asked)


@router.post("/tickets/{ticket_id}/tech/resume", response_model=FieldTicketAnswer)
def resume(ticket_id: TicketName, call: Calling, asked: visits.Nothing | None = None) -> Response:
    """Go on with work that waited; its time runs again."""
    return call.run(visits.RESUME, ticket_id, asked or visits.Nothing())


@router.post("/tickets/{ticket_id}/tech/start-rework", response_model=FieldTicketAnswer)
def start_rework(ticket_id: TicketName, call: Calling, asked: visits.Nothing | None = None) -> Response:
    """Take work up again that a check, a decision or a reopening sent back; its time runs again."""
    return call.run(visits.START_REWORK, ticket_id, asked or visits.Nothing())


@router.post("/tickets/{ticket_id}/tech/return-visit", response_model=FieldTicketAnswer)
def return_visit(ticket_id: TicketName, call: Calling, asked: GivenReason) -> Response:
    """End this visit undone; a time for the next one is to be found."""
    return call.run(visits.RETURN, ticket_id, asked)


@router.post("/tickets/{ticket_id}/tech/complete", response_model=CompletedTicket)
def complete(ticket_id: TicketName, call: Calling, services: Provided, asked: closing.CompletionReport) -> Response:
    """Say that the work is done. 409 CLOSEOUT_REQUIREMENTS_INCOMPLETE says what is missing."""
    whole = closing.CompleteWork(**asked.model_dump(), schemes=services.settings.object_store_schemes)
    return call.run(closing.COMPLETE, ticket_id, whole)


@router.post("/tickets/{ticket_id}/closeout/candidate", response_model=CompletedTicket)
def candidate(ticket_id: TicketName, call: Calling, services: Provided, asked: closing.CompletionReport) -> Response:
    """Propose as a machine that the work is done; 409 MANUAL_REVIEW_REQUIRED where the risk is high."""
    whole = closing.CompleteWork(**asked.model_dump(), schemes=services.settings.object_store_schemes)
    return call.run(closing.CANDIDATE, ticket_id, whole)


@router.post("/tickets/{ticket_id}/qa/verify", response_model=CompletedTicket)
def verify(ticket_id: TicketName, call: Calling, services: Provided, asked: closing.Check) -> Response:
    """Check finished work: PASS verifies it and freezes its evidence, FAIL sends it back with the notes."""
    whole = closing.VerifyWork(**asked.model_dump(), schemes=services.settings.object_store_schemes)
    return call.run(closing.VERIFY, ticket_id, whole)
