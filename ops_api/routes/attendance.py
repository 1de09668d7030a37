"""Who came to work, and when (contract 002)."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from models.queries import attendance as queries
from models.queries.attendance import Wanted
from ops_api.commands import Calling
from ops_api.dependencies import SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.workshop_answers import AskedPage, Envelope, Results
from pipeline.commands import attendance as commands
from pipeline.commands.attendance import Whose
from pipeline.core.attendance import Punctuality
from pipeline.runtime import attendance_rows

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1/attendance", tags=["workshop attendance"])


class DayAnswer(BaseModel):
    """One local day of somebody."""

    id: UUID
    user: UUID
    user_name: str
    work_date: date
    check_in_at: datetime
    check_out_at: datetime | None


class ArrivalAnswer(DayAnswer):
    """A day with what coming then is called, and what it is worth."""

    punctuality: Punctuality | None = Field(description="As it was called by the rules of that day.")
    xp: int | None


@router.post("/checkin/", status_code=201, response_model=Envelope[ArrivalAnswer])
def check_in(call: Calling, asked: Whose) -> Response:
    """Note that somebody came; once a local day."""
    return call.run(commands.CHECK_IN, None, asked)


@router.post("/checkout/", response_model=Envelope[DayAnswer])
def check_out(call: Calling, asked: Whose) -> Response:
    """Note that somebody went; after they came, and once."""
    return call.run(commands.CHECK_OUT, None, asked)


@router.get("/records/", response_model=Results[ArrivalAnswer])
def records(
    session: SignedIn,
    connection: Transaction,
    page: AskedPage,
    *,
    user: UUID | None = None,
    date_from: Annotated[date | None, Query(description="The first local day.")] = None,
    date_to: Annotated[date | None, Query(description="The last local day.")] = None,
) -> dict[str, Any]:
    """List days, newest first."""
    wanted = Wanted(session.org_id, user, date_from, date_to)
    found = [attendance_rows.listed(row) for row in queries.page(connection, wanted, **page.bounds)]
    return page.of(found, queries.count(connection, wanted, **page.bounds))
