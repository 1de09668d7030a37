"""The ticket desk, reading: list and search, and a ticket with everything that stands in it (contract 001)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from models.queries import ticket_detail, ticket_list
from models.queries.ticket_detail import Message
from models.queries.ticket_list import Place
from ops_api.answers import Refusal
from ops_api.dependencies import OwnTicket, Provided, SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.ticket_answers import (
    EventAnswer,
    Events,
    MessageAnswer,
    Messages,
    NoteAnswer,
    Notes,
    Older,
    TicketDetail,
    Tickets,
    message_answer,
    message_answers,
    ticket_answer,
    whole_ticket,
)
from ops_api.ticket_filters import TicketQuery
from ops_api.versions import etag
from pipeline.runtime import field_reading, identity

router = APIRouter(route_class=GuardedRoute, tags=["tickets"])

Cursor = Annotated[str | None, Query(max_length=1024)]
PageOfMessages = Annotated[int, Query(ge=1, le=50)]
PageOfWords = Annotated[int, Query(ge=1, le=100)]
#: How much of each a ticket is answered with; the rest comes page by page.
_MESSAGES, _EVENTS, _NOTES = 50, 100, 100


async def filters_of(asked: Annotated[TicketQuery, Query()]) -> TicketQuery:
    """Return the filters of an address."""
    return asked


@router.get("/tickets")
def list_tickets(
    *,
    asked: Annotated[TicketQuery, Depends(filters_of)],
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Cursor = None,
) -> Tickets:
    """Return tickets, newest activity first. Follow `next_cursor` until it is null: a page may be short before that."""
    filters = {"list": "tickets", "org": session.org_id, **asked.model_dump()}
    place = services.cursors.read_place(cursor, filters)
    after = None if place is None else Place(datetime.fromisoformat(place["at"]), UUID(place["id"]))
    reach = identity.ticket_reach(session)
    found = ticket_list.find(connection, session.org_id, asked.wanted(), reach, limit=limit, after=after)
    last = found.last and {"at": found.last.at.isoformat(), "id": str(found.last.ticket_id)}
    return Tickets(
        items=[ticket_answer(row) for row in found.rows],
        next_cursor=services.cursors.make_place(last, filters) if last else None,
    )


@router.get("/tickets/{ticket_id}")
def show_ticket(ticket: OwnTicket, connection: Transaction, services: Provided, response: Response) -> TicketDetail:
    """Return a ticket with its newest 50 messages, 100 events and 100 notes, and its field work.

    `older` goes on into the past.
    """
    row = ticket_detail.ticket(connection, ticket.ticket_id)
    messages = ticket_detail.messages(connection, ticket.ticket_id, limit=_MESSAGES)
    events = ticket_detail.events(connection, ticket.ticket_id, limit=_EVENTS)
    notes = ticket_detail.notes(connection, ticket.ticket_id, limit=_NOTES)
    response.headers["ETag"] = etag(row.version)
    return TicketDetail(
        **field_reading.shown(connection, ticket.ticket_id),
        ticket=whole_ticket(row),
        messages=message_answers(messages.items),
        events=[EventAnswer.model_validate(one) for one in events.items],
        notes=[NoteAnswer.model_validate(one) for one in notes.items],
        older=Older(
            messages=_older(services, ticket.ticket_id, "messages", messages),
            events=_older(services, ticket.ticket_id, "events", events),
            notes=_older(services, ticket.ticket_id, "notes", notes),
        ),
    )


@router.get("/tickets/{ticket_id}/messages")
def list_messages(
    ticket: OwnTicket, connection: Transaction, services: Provided, limit: PageOfMessages = 50, cursor: Cursor = None
) -> Messages:
    """Return messages of a ticket, oldest first; the newest without a cursor."""
    place = services.cursors.read_place(cursor, _filters(ticket.ticket_id, "messages"))
    before = None if place is None else (datetime.fromisoformat(place["at"]), int(place["id"]))
    page = ticket_detail.messages(connection, ticket.ticket_id, limit=limit, before=before)
    return Messages(items=message_answers(page.items), next_cursor=_older(services, ticket.ticket_id, "messages", page))


@router.get("/tickets/{ticket_id}/messages/{message_id}")
def show_message(
    ticket: OwnTicket, connection: Transaction, message_id: Annotated[int, Path(ge=1, lt=2**63)]
) -> MessageAnswer:
    """Return one message of a ticket with its whole body."""
    found = ticket_detail.message(connection, ticket.ticket_id, message_id)
    if found is None:
        raise Refusal(404, "this ticket has no such message")
    return message_answer(found)


@router.get("/tickets/{ticket_id}/events")
def list_events(
    ticket: OwnTicket, connection: Transaction, services: Provided, limit: PageOfWords = 100, cursor: Cursor = None
) -> Events:
    """Return what happened to a ticket, oldest first; the newest without a cursor."""
    before = _before(services, ticket.ticket_id, "events", cursor)
    page = ticket_detail.events(connection, ticket.ticket_id, limit=limit, before=before)
    items = [EventAnswer.model_validate(one) for one in page.items]
    return Events(items=items, next_cursor=_older(services, ticket.ticket_id, "events", page))


@router.get("/tickets/{ticket_id}/notes")
def list_notes(
    ticket: OwnTicket, connection: Transaction, services: Provided, limit: PageOfWords = 100, cursor: Cursor = None
) -> Notes:
    """Return notes on a ticket, oldest first; the newest without a cursor."""
    before = _before(services, ticket.ticket_id, "notes", cursor)
    page = ticket_detail.notes(connection, ticket.ticket_id, limit=limit, before=before)
    items = [NoteAnswer.model_validate(one) for one in page.items]
    return Notes(items=items, next_cursor=_older(services, ticket.ticket_id, "notes", page))


def _filters(ticket_id: UUID, what: str) -> dict[str, object]:
    return {"list": what, "ticket": ticket_id}


def _before(services: Provided, ticket_id: UUID, what: str, cursor: str | None) -> UUID | None:
    place = services.cursors.read_place(cursor, _filters(ticket_id, what))
    return None if place is None else UUID(place["id"])


def _older(services: Provided, ticket_id: UUID, what: str, page: ticket_detail.Page) -> str | None:
    """Return the cursor to what came before a page, None when nothing did."""
    if not page.has_older:
        return None
    oldest = page.items[0]
    if isinstance(oldest, Message):
        place = {"id": str(oldest.row.id), "at": oldest.row.received_at.isoformat()}
    else:
        place = {"id": str(oldest.id)}
    return services.cursors.make_place(place, _filters(ticket_id, what))
