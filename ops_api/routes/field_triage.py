"""Triage of field work, and the ends of it (contract 000)."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from ops_api.commands import Calling
from ops_api.dependencies import TicketName
from ops_api.field_answers import ClassifiedTicket, FieldTicketAnswer, TriagedTicket
from ops_api.guard import GuardedRoute
from pipeline.commands import endings, triaging

router = APIRouter(route_class=GuardedRoute, tags=["field work"])


@router.post("/tickets/{ticket_id}/triage", response_model=TriagedTicket)
def triage(ticket_id: TicketName, call: Calling, asked: triaging.Triage) -> Response:
    """Say what kind of trouble it is, how soon it must be seen to, and what may follow."""
    return call.run(triaging.TRIAGE, ticket_id, asked)


@router.post("/tickets/{ticket_id}/classify", response_model=ClassifiedTicket)
def classify(ticket_id: TicketName, call: Calling, asked: triaging.Classification) -> Response:
    """Say what kind of trouble it turned out to be, until the work is completed."""
    return call.run(triaging.CLASSIFY, ticket_id, asked)


@router.post("/tickets/{ticket_id}/request-info", response_model=FieldTicketAnswer)
def request_info(ticket_id: TicketName, call: Calling, asked: triaging.Question) -> Response:
    """Wait for what the customer must tell; triage leads on once it is known."""
    return call.run(triaging.REQUEST_INFO, ticket_id, asked)


@router.post("/tickets/{ticket_id}/cancel", response_model=FieldTicketAnswer)
def cancel(ticket_id: TicketName, call: Calling, asked: endings.Ending) -> Response:
    """Give the work up: visits, holds, approvals, links and running time end with it."""
    return call.run(endings.CANCEL, ticket_id, asked)


@router.post("/tickets/{ticket_id}/reopen", response_model=FieldTicketAnswer)
def reopen(ticket_id: TicketName, call: Calling, asked: endings.Ending) -> Response:
    """Take up again what was cancelled, or what was verified and is not billed yet."""
    return call.run(endings.REOPEN, ticket_id, asked)


@router.post("/tickets/{ticket_id}/close", response_model=FieldTicketAnswer)
def close(ticket_id: TicketName, call: Calling, asked: endings.Closing) -> Response:
    """End it for good: billed, or with the reason why not."""
    return call.run(endings.CLOSE, ticket_id, asked)
