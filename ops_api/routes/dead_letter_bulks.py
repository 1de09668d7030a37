"""Many dead letters at once: replayed or discarded by filter or by ids, watched, and cancelled."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy import Connection

from dlq import bulk_reading, bulks, history
from dlq.bulks import Wish
from models.enums import BulkAction, ItemState
from ops_api import bulk_wishes
from ops_api.answers import Refusal
from ops_api.bulk_answers import (
    BulkAnswer,
    BulkDetailAnswer,
    BulkReplayRequest,
    BulkRequest,
    Bulks,
    CancelRequest,
    ItemAnswer,
    Items,
    StartedAnswer,
)
from ops_api.dependencies import OwnBulk, Provided, SignedIn, Transaction
from ops_api.guard import GuardedRoute

_NOT_THERE: dict[int | str, dict[str, Any]] = {404: {"description": "One of the letters is not the organization's."}}

router = APIRouter(route_class=GuardedRoute, tags=["dead letters"])

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=1024)]


@router.post("/ops/jobs/dlq/replay", status_code=202, responses=_NOT_THERE)
def replay_many(asked: BulkReplayRequest, session: SignedIn, connection: Transaction) -> StartedAnswer:
    """Replay letters: canaries first when asked for, not faster than said, each ticket's in order.

    An equal request that comes while this goes on is this one. 409 when more letters match than were counted.
    """
    which = asked.which(session.org_id)
    wish = Wish(
        BulkAction.REPLAY, which, session.email, asked.reason, canaries=asked.canary, per_second=asked.per_second
    )
    return _started(connection, asked, wish)


@router.post("/ops/jobs/dlq/discard", responses=_NOT_THERE)
def discard_many(asked: BulkRequest, session: SignedIn, connection: Transaction) -> StartedAnswer:
    """Discard letters, all in one step; each can be restored for a while. 409 when more match than were counted."""
    wish = Wish(BulkAction.DISCARD, asked.which(session.org_id), session.email, asked.reason)
    return _started(connection, asked, wish)


@router.get("/ops/jobs/dlq/bulks")
def list_bulks(
    session: SignedIn, connection: Transaction, services: Provided, limit: Limit = 50, cursor: Cursor = None
) -> Bulks:
    """Return the organization's bulk replays and discards."""
    bound = {"list": "bulks", "org": session.org_id}
    before_id = services.cursors.read(cursor, bound)
    found = bulk_reading.bulks(connection, org_id=session.org_id, limit=limit + 1, before_id=before_id)
    page = found[:limit]
    return Bulks(
        items=[BulkAnswer.model_validate(one) for one in page],
        next_cursor=services.cursors.make(page[-1].bulk_id, bound) if len(found) > limit else None,
    )


@router.get("/ops/jobs/dlq/bulks/{bulk_id}")
def show_bulk(bulk: OwnBulk, connection: Transaction) -> BulkDetailAnswer:
    """Return one bulk: how far it is, why it ended, and who did what to it."""
    return BulkDetailAnswer.whole(bulk, history.actions(connection, bulk_id=bulk.bulk_id))


@router.get("/ops/jobs/dlq/bulks/{bulk_id}/items")
def list_items(
    *,
    bulk: OwnBulk,
    connection: Transaction,
    services: Provided,
    state: Annotated[ItemState | None, Query(description="Only those in it: `failed` is the result list.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Items:
    """Return what became of each letter of a bulk."""
    bound = {"list": "bulk items", "bulk": bulk.bulk_id, "state": state}
    after = services.cursors.read(cursor, bound)
    found = bulk_reading.items(connection, bulk.bulk_id, state=state, after_place=after, limit=limit + 1)
    page = found[:limit]
    return Items(
        items=[ItemAnswer.model_validate(one) for one in page],
        next_cursor=services.cursors.make(page[-1].place, bound) if len(found) > limit else None,
    )


@router.post("/ops/jobs/dlq/bulks/{bulk_id}/cancel")
def cancel(bulk: OwnBulk, session: SignedIn, connection: Transaction, asked: CancelRequest) -> BulkAnswer:
    """End a bulk: letters that were not let go stay open, those that were go on. 409 when it is over."""
    if not bulks.cancel(connection, bulk.bulk_id, actor=session.email, reason=asked.reason):
        raise Refusal(409, f"bulk {bulk.bulk_id} is over already")
    return BulkAnswer.model_validate(bulk_reading.bulk(connection, bulk.bulk_id, bulk.org_id))


def _started(connection: Connection, asked: BulkRequest, wish: Wish) -> StartedAnswer:
    """Start a wish; 404 when it names a letter that the organization does not have."""
    missing = bulk_wishes.missing(connection, asked.letter_ids or (), wish.which.get("org_id"))
    if missing:
        raise Refusal(404, f"your organization has no dead letter {bulk_wishes.some(missing)}")
    started = bulk_wishes.start(connection, wish, None if asked.counted is None else asked.counted.value())
    found = None if started.bulk_id is None else bulk_reading.bulk(connection, started.bulk_id)
    return StartedAnswer.of(started, found)
