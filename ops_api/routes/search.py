"""Searching messages (issue 4): words, phrases and filters; the best first, page by page."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from models.enums import Direction, TicketStatus
from models.queries.search import Place
from ops_api.dependencies import Provided, SignedIn, Transaction
from ops_api.guard import GuardedRoute
from pipeline.runtime import searching
from pipeline.runtime.identity import ticket_reach
from pipeline.runtime.searching import Hit

router = APIRouter(route_class=GuardedRoute, tags=["search"])

_QUESTION = (
    'Words that must all occur; "a phrase", -not, one or other, begin*; from: to: subject: has:attachment '
    "before:2026-03-31 after:2026-01-01."
)


class HitAnswer(BaseModel):
    """One message that answers."""

    message_id: int
    ticket_id: UUID | None = Field(description="Null while the message waits in quarantine or in line.")
    ticket_code: str | None
    ticket_status: TicketStatus | None
    direction: Direction
    from_address: str | None
    from_name: str | None
    subject: str
    received_at: datetime
    snippet: str
    highlights: list[tuple[int, int]] = Field(description="Where words begin and end in the snippet, in characters.")
    matched_in: list[str] = Field(description="Where words were found: subject, people, body, attachments.")


class SearchAnswer(BaseModel):
    """One page, the best first; newer ones first among equals."""

    items: list[HitAnswer]
    total: int
    is_capped: bool = Field(description="More messages match: the newest 10,000 were ranked.")
    next_cursor: str | None = Field(description="Null on the last page.")


@router.get("/search")
def search(
    *,
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    q: Annotated[str, Query(min_length=1, max_length=500, description=_QUESTION)],
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=1024)] = None,
) -> SearchAnswer:
    """Find messages by what stands in their subject, addresses, text and attachments."""
    filters = {"q": q, "org": session.org_id}
    after = services.cursors.read_place(cursor, filters)
    found = searching.search(
        connection,
        session.org_id,
        q,
        limit=limit,
        after=None if after is None else _place(after),
        reach=ticket_reach(session),
    )
    return SearchAnswer(
        items=[_answer(hit) for hit in found.hits],
        total=found.total,
        is_capped=found.is_capped,
        next_cursor=None if found.last is None else services.cursors.make_place(_stored(found.last), filters),
    )


def _stored(place: Place) -> dict[str, object]:
    return {"rank": place.rank, "at": place.at.isoformat(), "id": place.message_id, "up_to": place.up_to}


def _place(stored: dict[str, str]) -> Place:
    at = datetime.fromisoformat(stored["at"])
    return Place(float(stored["rank"]), at, int(stored["id"]), int(stored["up_to"]))


def _answer(hit: Hit) -> HitAnswer:
    return HitAnswer(
        message_id=hit.message_id,
        ticket_id=hit.ticket_id,
        ticket_code=hit.ticket_code,
        ticket_status=hit.ticket_status,
        direction=hit.direction,
        from_address=hit.from_address,
        from_name=hit.from_name,
        subject=hit.subject,
        received_at=hit.received_at,
        snippet=hit.piece.text,
        highlights=list(hit.piece.marks),
        matched_in=list(hit.matched_in),
    )
