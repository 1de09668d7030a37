"""Who is sent to a ticket: recommended, dispatched, exchanged, taken off, and why (contract 000)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from models.enums import AssignmentMode
from models.queries import technicians as queries
from ops_api.commands import Calling
from ops_api.dependencies import OwnTicket, Provided, SignedIn, TicketName, Transaction
from ops_api.field_answers import FieldTicketAnswer
from ops_api.guard import GuardedRoute
from pipeline.commands import assigning_work
from pipeline.commands.assignment_arguments import Dispatch, Reassignment, Recommendation, Unassignment
from pipeline.core.matching import Filter

router = APIRouter(route_class=GuardedRoute, tags=["assignment"])


class SentAnswer(BaseModel):
    """Who was sent, and by what right."""

    assignment_id: UUID
    tech_id: UUID
    provider_id: UUID | None
    mode: AssignmentMode
    recommendation_snapshot_id: UUID | None
    has_snapshot: bool
    place: int | None = Field(description="In the table of candidates, 1 is the best.")
    overruled: list[Filter] = Field(description="Filters that spoke against them and did not count.")


class AssignedTicket(FieldTicketAnswer):
    """A ticket and who was sent to it."""

    assignment: SentAnswer


class RecommendedTechnicians(BaseModel):
    """The best of the table; the whole of it is read at `assignment/candidates`."""

    ticket_id: UUID
    service_type: str | None
    what_if: bool = Field(description="Nothing was kept.")
    recommendation_snapshot_id: UUID | None = Field(default=None, description="Missing for what-if.")
    recommendations: list[dict[str, Any]] = Field(description="Best first, with filters, points and reasons.")
    fit: int = Field(description="How many could be sent.")
    candidates: int = Field(description="How many were weighed.")
    ticket: FieldTicketAnswer


class Candidates(BaseModel):
    """The table that a ticket's technician was chosen by: everybody, with filters, points and reasons."""

    ticket_id: UUID
    source: str | None = Field(
        default=None,
        description="`assignment`: of who was sent; `recommendation`: nobody was sent yet; null: nobody was weighed.",
    )
    id: UUID | None = Field(default=None, description="Of the assignment or recommendation.")
    at: datetime | None = Field(default=None, description="When it stood so.")
    mode: AssignmentMode | None = None
    overruled_because: str | None = Field(
        default=None, description="Why what spoke against who was sent did not count."
    )
    candidates: list[dict[str, Any]] = Field(default_factory=list, description="Best first.")
    next_cursor: str | None = Field(default=None, description="Null on the last page.")


@router.post("/tickets/{ticket_id}/assignment/recommend", status_code=201, response_model=RecommendedTechnicians)
def recommend(ticket_id: TicketName, call: Calling, asked: Recommendation) -> Response:
    """Weigh every technician for the ticket. With a window, weights or filters of your own nothing is kept (200)."""
    return call.run(assigning_work.RECOMMEND, ticket_id, asked)


@router.post("/tickets/{ticket_id}/assignment/dispatch", response_model=AssignedTicket)
def dispatch(ticket_id: TicketName, call: Calling, asked: Dispatch) -> Response:
    """Send a technician: to the scheduled visit, or at once to an emergency."""
    return call.run(assigning_work.DISPATCH, ticket_id, asked)


@router.post("/tickets/{ticket_id}/assignment/reassign", response_model=AssignedTicket)
def reassign(ticket_id: TicketName, call: Calling, asked: Reassignment) -> Response:
    """Send another technician instead; the ticket's state stays."""
    return call.run(assigning_work.REASSIGN, ticket_id, asked)


@router.post("/tickets/{ticket_id}/assignment/unassign", response_model=FieldTicketAnswer)
def unassign(ticket_id: TicketName, call: Calling, asked: Unassignment) -> Response:
    """Take the technician off before they begin."""
    return call.run(assigning_work.UNASSIGN, ticket_id, asked)


@router.get("/tickets/{ticket_id}/assignment/candidates")
def candidates(
    ticket: OwnTicket,
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    *,
    technician_id: Annotated[UUID | None, Query(description="Why them, or why not.")] = None,
    cursor: Annotated[str | None, Query(max_length=4096)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Candidates:
    """Return who was weighed for the ticket and what came of it, as it stood then."""
    filters = {"list": "candidates", "ticket": ticket.ticket_id, "technician": technician_id}
    place = services.cursors.read_place(cursor, filters)
    after = int(place["after"]) if place else 0
    found = queries.candidates(
        connection, session.org_id, ticket.ticket_id, technician_id=technician_id, after=after, limit=limit + 1
    )
    if found is None:
        return Candidates(ticket_id=ticket.ticket_id)
    shown = list(found.lines[:limit])
    more = services.cursors.make_place({"after": shown[-1]["place"]}, filters) if len(found.lines) > limit else None
    return Candidates(
        ticket_id=ticket.ticket_id,
        source=found.source,
        id=found.id,
        at=found.at,
        mode=AssignmentMode(found.mode) if found.mode else None,
        overruled_because=found.overruled_because,
        candidates=shown,
        next_cursor=more,
    )
