"""The ledger of points: one's own, others' for those who may read them, and points given by hand (contract 002)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from models.enums import XpKind
from models.queries import xp as queries
from models.queries.xp import Wanted
from ops_api.commands import Calling
from ops_api.dependencies import SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.own_points import check_own, sees_others
from ops_api.workshop_answers import AskedPage, Envelope, Results
from pipeline.commands import xp
from pipeline.commands.xp import Adjustment

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1/xp", tags=["workshop points"])


class TransactionAnswer(BaseModel):
    """One row of the ledger; it is never changed."""

    id: UUID
    user: UUID
    user_name: str
    entry_type: XpKind
    amount: int
    reference: str = Field(description="What it was given for; each is given once.")
    ticket: UUID | None
    comment: str | None
    created_by: str
    created_at: datetime


@router.get("/transactions/", response_model=Results[TransactionAnswer])
def list_transactions(
    session: SignedIn,
    connection: Transaction,
    page: AskedPage,
    user: Annotated[
        UUID | None, Query(description="Whose; without, one's own, or everybody's who may be read.")
    ] = None,
    entry_type: XpKind | None = None,
) -> dict[str, Any]:
    """List points, newest first."""
    person_id = user or (None if sees_others(session) else session.person_id)
    check_own(session, person_id)
    wanted = Wanted(session.org_id, person_id, entry_type)
    found = [xp.said(row) for row in queries.page(connection, wanted, **page.bounds)]
    return page.of(found, queries.count(connection, wanted, **page.bounds))


@router.post("/adjustments/", status_code=201, response_model=Envelope[TransactionAnswer])
def adjust(call: Calling, asked: Adjustment) -> Response:
    """Give points to somebody else, or take them, with a comment."""
    return call.run(xp.ADJUST, None, asked)
