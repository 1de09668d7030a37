"""The dispatcher's queue (contract 000)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from models.queries import dispatch_queue
from models.queries.dispatch_queue import Place
from ops_api.dependencies import Provided, SignedIn, Transaction
from ops_api.dispatch_queue_answers import QueuePage, QueueQuery, queued_answers
from ops_api.guard import GuardedRoute
from pipeline.runtime import identity

router = APIRouter(route_class=GuardedRoute, tags=["field work"])


async def filters_of(asked: Annotated[QueueQuery, Query()]) -> QueueQuery:
    """Return the filters of an address."""
    return asked


@router.get("/dispatch/queue")
def show_queue(
    *,
    asked: Annotated[QueueQuery, Depends(filters_of)],
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=1024)] = None,
) -> QueuePage:
    """Return open field work, what is due first at the top. Follow `next_cursor` until it is null."""
    filters = {"list": "queue", "org": session.org_id, **asked.model_dump()}
    place = services.cursors.read_place(cursor, filters)
    after = None if place is None else Place(datetime.fromisoformat(place["at"]), UUID(place["id"]))
    now, reach = dispatch_queue.now(connection), identity.ticket_reach(session)
    found = dispatch_queue.find(connection, session.org_id, asked.wanted(now), reach, limit=limit, after=after)
    last = found.last and {"at": found.last.due_at.isoformat(), "id": str(found.last.ticket_id)}
    return QueuePage(
        asked_at=now,
        items=queued_answers(found.rows, session, now),
        next_cursor=services.cursors.make_place(last, filters) if last else None,
    )
