"""Doing a step again: started, looked at, applied and cancelled; and the collision groups of old rows."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from models.enums import ReprocessKind, ReprocessState
from models.queries import reprocessing as queries
from models.queries.reprocessing import Reprocessing
from ops_api.answers import Refusal
from ops_api.dependencies import Provided, SignedIn, Transaction, own_mailbox
from ops_api.guard import GuardedRoute
from pipeline.commands import collisions
from pipeline.commands import reprocessing as commands

router = APIRouter(route_class=GuardedRoute, tags=["reprocessing"])

Cursor = Annotated[str | None, Query(max_length=1024)]
_LARGEST_ID = 2**63 - 1


class ReprocessingAnswer(BaseModel):
    """One repetition."""

    model_config = ConfigDict(from_attributes=True)

    reprocessing_id: int
    mailbox_id: UUID | None = Field(description="Null: every mailbox of the organization.")
    mailbox: str | None
    kind: ReprocessKind
    state: ReprocessState
    version: int
    total: int
    seen: int
    changed: int
    applied: int
    failed: int
    refused: int
    started_by: str
    applied_by: str | None
    started_at: datetime
    finished_at: datetime | None


class ReprocessingAnswers(BaseModel):
    """One page, the newest first."""

    items: list[ReprocessingAnswer]
    next_cursor: str | None


class DifferenceAnswer(BaseModel):
    """What would change, or has changed, of one message or ticket."""

    model_config = ConfigDict(from_attributes=True)

    subject: str = Field(description="A message's id, or a ticket's.")
    changes: dict[str, list[Any]] = Field(
        description="By field [as stored, as it would be]; long values by length, hash and first difference."
    )
    applied_at: datetime | None
    refused: str | None = Field(description="Why it was left as it is, or what failed.")


class DetailAnswer(ReprocessingAnswer):
    """One repetition with its differences, page by page."""

    fields: dict[str, int] = Field(description="How many messages or tickets differ in each field.")
    differences: list[DifferenceAnswer]
    next_cursor: str | None


class StartRequest(BaseModel):
    """What to do again."""

    kind: ReprocessKind
    mailbox_id: UUID | None = None


class BackfilledAnswer(BaseModel):
    """What was looked through and marked (contract 001)."""

    model_config = ConfigDict(from_attributes=True)

    fingerprints_scanned: int
    groups_updated: int
    messages_updated: int


def own_reprocessing(
    reprocessing_id: Annotated[str, Path(max_length=64)], session: SignedIn, connection: Transaction
) -> Reprocessing:
    """Return the repetition of the path when it belongs to the session's organization; 404 otherwise."""
    number = int(reprocessing_id) if reprocessing_id.isascii() and reprocessing_id.isdecimal() else 0
    found = queries.find(connection, session.org_id, number) if 0 < number <= _LARGEST_ID else None
    if found is None:
        raise Refusal(404, f"your organization has no repetition {reprocessing_id}")
    return found


Own = Annotated[Reprocessing, Depends(own_reprocessing, scope="function")]


@router.post(
    "/ops/reprocessings",
    responses={404: {"description": "There is no such mailbox in the organization."}},
)
def start(asked: StartRequest, session: SignedIn, connection: Transaction) -> ReprocessingAnswer:
    """Compare what is stored with what a step would make of it today; changes nothing. 409 while one is under way."""
    if asked.mailbox_id is not None:
        own_mailbox(asked.mailbox_id, session, connection)
    run_id = commands.start(connection, session.org_id, asked.mailbox_id, asked.kind, session.email)
    return _answer(queries.find(connection, session.org_id, run_id))


@router.get("/ops/reprocessings")
def list_reprocessings(
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Cursor = None,
) -> ReprocessingAnswers:
    """Return the organization's repetitions."""
    bound = {"list": "reprocessings", "org": session.org_id}
    before_id = services.cursors.read(cursor, bound)
    found = queries.recent(connection, session.org_id, limit=limit + 1, before_id=before_id)
    last = found[limit - 1].reprocessing_id if len(found) > limit else None
    return ReprocessingAnswers(
        items=[_answer(one) for one in found[:limit]],
        next_cursor=None if last is None else services.cursors.make(last, bound),
    )


@router.get("/ops/reprocessings/{reprocessing_id}")
def show(
    *,
    run: Own,
    connection: Transaction,
    services: Provided,
    field: Annotated[str | None, Query(pattern="^[a-z_]{1,64}$", description="Only what differs in it.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Cursor = None,
) -> DetailAnswer:
    """Return a repetition, how many subjects differ in each field, and the differences."""
    bound = {"of": run.reprocessing_id, "field": field}
    place = services.cursors.read_place(cursor, bound)
    after = None if place is None else str(place["subject"])
    found = queries.differences(connection, run.reprocessing_id, limit=limit + 1, after=after, field=field)
    last = found[limit - 1].subject if len(found) > limit else None
    return DetailAnswer(
        **_answer(run).model_dump(),
        fields=queries.fields(connection, run.reprocessing_id),
        differences=[DifferenceAnswer.model_validate(one) for one in found[:limit]],
        next_cursor=None if last is None else services.cursors.make_place({"subject": last}, bound),
    )


@router.post("/ops/reprocessings/{reprocessing_id}/apply")
def apply(run: Own, session: SignedIn, connection: Transaction) -> ReprocessingAnswer:
    """Make the changes that were compared; safe to ask for again. 409 unless it is compared."""
    commands.apply(connection, session.org_id, run.reprocessing_id, session.email)
    return _answer(queries.find(connection, session.org_id, run.reprocessing_id))


@router.post("/ops/reprocessings/{reprocessing_id}/cancel")
def cancel(run: Own, session: SignedIn, connection: Transaction) -> ReprocessingAnswer:
    """End it where it is; what it has changed already stays changed. 409 when it is over."""
    commands.cancel(connection, session.org_id, run.reprocessing_id)
    return _answer(queries.find(connection, session.org_id, run.reprocessing_id))


@router.post("/ops/messages/collisions/backfill")
def backfill_collisions(session: SignedIn, connection: Transaction) -> BackfilledAnswer:
    """Mark every message that shares its fingerprint with another one; safe to ask for again."""
    return BackfilledAnswer.model_validate(collisions.backfill(connection, session.org_id))


def _answer(found: Reprocessing | None) -> ReprocessingAnswer:
    return ReprocessingAnswer.model_validate(found)
