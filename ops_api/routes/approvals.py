"""Approvals: asked for from the field, decided, and listed (contract 000)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import Response

from models.queries import approvals as queries
from ops_api.commands import Calling
from ops_api.dependencies import OwnTicket, Provided, TicketName, Transaction
from ops_api.field_answers import ApprovalAnswer, Approvals, ChangeRequested, DecidedTicket
from ops_api.guard import GuardedRoute
from pipeline.commands import approvals

router = APIRouter(route_class=GuardedRoute, tags=["field work"])

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=1024)]


@router.post("/tickets/{ticket_id}/tech/request-change", response_model=ChangeRequested)
def request_change(ticket_id: TicketName, call: Calling, asked: approvals.ChangeRequest) -> Response:
    """Ask from the field for more than was agreed; the work waits for the decision."""
    return call.run(approvals.REQUEST_CHANGE, ticket_id, asked)


@router.post("/tickets/{ticket_id}/approval/decide", response_model=DecidedTicket)
def decide(ticket_id: TicketName, call: Calling, asked: approvals.Decision) -> Response:
    """Approve or deny what somebody else asked for. What is approved raises the limit."""
    return call.run(approvals.DECIDE, ticket_id, asked)


@router.get("/tickets/{ticket_id}/approvals")
def list_approvals(
    ticket: OwnTicket, connection: Transaction, services: Provided, limit: Limit = 50, cursor: Cursor = None
) -> Approvals:
    """Return the approvals of a ticket, newest first."""
    bound: dict[str, object] = {"list": "approvals", "ticket": ticket.ticket_id}
    place = services.cursors.read_place(cursor, bound)
    before = UUID(place["id"]) if place else None
    found = queries.of_ticket(connection, ticket.ticket_id, before=before, limit=limit + 1)
    page = [ApprovalAnswer.model_validate(one, from_attributes=True) for one in found[:limit]]
    is_more = len(found) > limit
    next_cursor = services.cursors.make_place({"id": str(page[-1].id)}, bound) if is_more else None
    return Approvals(ticket_id=ticket.ticket_id, approvals=page, next_cursor=next_cursor)
