"""What somebody was notified of, and that they read it (contract 004, the bell)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from models.enums import NotificationKind
from models.queries import notifications
from models.queries.notifications import NotificationRow
from ops_api.answers import Refusal
from ops_api.dependencies import Provided, SignedIn, Transaction
from ops_api.guard import GuardedRoute
from pipeline.commands import devices as commands
from pipeline.core.written import read_id

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["technician"])


class NotificationAnswer(BaseModel):
    """One thing that somebody was told."""

    id: UUID
    type: NotificationKind
    title: str
    body: str
    at: datetime
    read: bool
    workOrderId: UUID


class NotificationAnswers(BaseModel):
    """One page, the newest first."""

    items: list[NotificationAnswer]
    unread: int = Field(description="Of all, not of this page.")
    nextCursor: str | None = Field(description="Null on the last page.")


@router.get("/me/notifications")
def my_notifications(
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=1024)] = None,
) -> NotificationAnswers:
    """Return what you were notified of; work orders and their deadlines."""
    if session.person_id is None:
        return NotificationAnswers(items=[], unread=0, nextCursor=None)
    bound = {"list": "notifications", "org": session.org_id, "person": session.person_id}
    place = services.cursors.read_place(cursor, bound)
    before = None if place is None else UUID(place["id"])
    found = notifications.page(connection, session.org_id, session.person_id, before=before, limit=limit + 1)
    page = found[:limit]
    cursor = services.cursors.make_place({"id": str(page[-1].id)}, bound) if len(found) > limit else None
    unread = notifications.unread(connection, session.org_id, session.person_id)
    return NotificationAnswers(items=[_answer(one) for one in page], unread=unread, nextCursor=cursor)


@router.post("/me/notifications/read-all", status_code=204)
def read_all(
    session: SignedIn,
    connection: Transaction,
    until: Annotated[
        UUID | None, Query(description="The newest that was seen; what came since then stays unread.")
    ] = None,
) -> None:
    """Note that you read all of them."""
    commands.read_all(connection, session, until)


@router.post("/me/notifications/{notification_id}/read", status_code=204)
def read_one(notification_id: Annotated[str, Path(max_length=64)], session: SignedIn, connection: Transaction) -> None:
    """Note that you read one; again changes nothing."""
    found = read_id(notification_id)
    if found is None or not commands.read(connection, session, found):
        raise Refusal(404, "you have no such notification")


def _answer(row: NotificationRow) -> NotificationAnswer:
    return NotificationAnswer(
        id=row.id,
        type=NotificationKind(row.kind),
        title=row.title,
        body=row.body,
        at=row.created_at,
        read=row.is_read,
        workOrderId=row.order_id,
    )
