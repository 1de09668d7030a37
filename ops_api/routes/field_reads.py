"""A ticket's field work, reading: what happened to it, and where its time went (contract 000)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from models.permissions import Permission
from models.queries import field_tickets
from ops_api.dependencies import Provided, SignedIn, Transaction
from ops_api.field_reading_answers import DelaysAnswer, Timeline, delays_answer, event_answer
from ops_api.field_tickets import NamedTicket
from ops_api.guard import GuardedRoute
from pipeline.runtime import field_reading

router = APIRouter(route_class=GuardedRoute, tags=["field work"])

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=1024)]


@router.get("/tickets/{ticket_id}/timeline")
def show_timeline(
    *,
    ticket: NamedTicket,
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Timeline:
    """Return what was done to a ticket, oldest first; whoever dispatches sees what was refused, too."""
    is_told = session.may(Permission.DISPATCH_READ)
    filters = {"list": "timeline", "ticket": ticket.ticket_id, "refused": is_told}
    place = services.cursors.read(cursor, filters)
    found = field_tickets.timeline(
        connection,
        session.org_id,
        ticket.ticket_id,
        ticket.code,
        after=place or 0,
        limit=limit + 1,
        with_refused=is_told,
    )
    events = [event_answer(one) for one in found[:limit]]
    more = services.cursors.make(events[-1].id, filters) if len(found) > limit else None
    return Timeline(ticket_id=ticket.ticket_id, events=events, next_cursor=more)


@router.get("/tickets/{ticket_id}/delays")
def show_delays(ticket: NamedTicket, connection: Transaction) -> DelaysAnswer:
    """Return how long a ticket waited for whom: the customer, us, or nobody we know."""
    return delays_answer(ticket.ticket_id, field_reading.where_time_went(connection, ticket.ticket_id))
