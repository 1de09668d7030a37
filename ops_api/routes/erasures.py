"""Forgetting the mail of an address, and what was forgotten so far."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from models.enums import ErasureKind, ErasureState
from ops_api.dependencies import Provided, SignedIn, Transaction
from ops_api.guard import GuardedRoute
from pipeline.commands import erasing
from pipeline.runtime import erasures

router = APIRouter(route_class=GuardedRoute, tags=["erasure"])

_PRINTED = r"^[^\x00-\x1f\x7f]*$"


class ErasureRequest(BaseModel):
    """Whose mail is forgotten, and why."""

    model_config = ConfigDict(extra="forbid")

    address: Annotated[str, StringConstraints(min_length=3, max_length=320, pattern=_PRINTED)]
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=_PRINTED)]


class ErasureBegun(BaseModel):
    """The erasure that goes on; not new when an equal one was under way."""

    erasure_id: int
    is_new: bool


class ErasureAnswer(BaseModel):
    """One erasure; its address is there until it is done."""

    model_config = ConfigDict(from_attributes=True)

    erasure_id: int
    kind: ErasureKind
    state: ErasureState
    address: str | None
    before_at: datetime | None
    actor: str
    reason: str
    counts: dict[str, int] = Field(description="How many of what are gone.")
    created_at: datetime
    finished_at: datetime | None


class ErasureList(BaseModel):
    """One page, newest first."""

    items: list[ErasureAnswer]
    next_cursor: str | None = Field(description="Null on the last page.")


@router.post("/erasures", status_code=202)
def erase(asked: ErasureRequest, session: SignedIn, connection: Transaction) -> ErasureBegun:
    """Begin to forget what an address wrote and what was written to it; workers do it."""
    erasure_id, is_new, _ = erasing.erase_address(
        connection, session.org_id, asked.address, actor=session.email, reason=asked.reason
    )
    return ErasureBegun(erasure_id=erasure_id, is_new=is_new)


@router.get("/erasures")
def list_erasures(
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=1024)] = None,
) -> ErasureList:
    """Return what was forgotten, and how much went."""
    filters = {"list": "erasures", "org": session.org_id}
    before = services.cursors.read(cursor, filters)
    found = erasures.listed(connection, session.org_id, limit=limit + 1, before=before)
    page = found[:limit]
    more = services.cursors.make(page[-1].erasure_id, filters) if len(found) > limit else None
    return ErasureList(items=[ErasureAnswer.model_validate(one) for one in page], next_cursor=more)
