"""Day plans: made as drafts, looked at, compared, applied as a whole."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from models.enums import PlanState
from ops_api.answers import Refusal
from ops_api.commands import Caller, Calling, IdempotencyKey, body_of, refusal_of
from ops_api.dependencies import Provided, SignedIn, Transaction
from ops_api.guard import GuardedRoute
from pipeline.command import Refused
from pipeline.commands import planning
from pipeline.commands.planning_arguments import Apply, PlanWish, WeightsBody
from pipeline.core.plan_reasons import Reason
from pipeline.runtime import plan_rows

router = APIRouter(route_class=GuardedRoute, tags=["plans"])


class CostAnswer(BaseModel):
    """What a plan costs, in parts; whole numbers, by the weights that it was made with."""

    travel: int
    lateness: int
    left_out: int
    imbalance: int
    continuity: int


class StopAnswer(BaseModel):
    """One visit."""

    ticket_id: UUID
    code: str
    starts_at: datetime
    ends_at: datetime
    begins: int = Field(description="Seconds after midnight by the plan's time zone.")
    travel_seconds: int = Field(description="On the way to it.")
    late_seconds: int = Field(description="After it is due, as far as anybody could help it that day.")
    why: list[str]


class RouteAnswer(BaseModel):
    """One technician's visits, in order."""

    technician_id: UUID
    name: str
    travel_seconds: int = Field(description="From home, between all visits of the day, and back.")
    work_seconds: int
    stops: list[StopAnswer]


class LeftOutAnswer(BaseModel):
    """A ticket that nobody gets, and why; each reason was tested."""

    ticket_id: UUID
    code: str
    reason: Reason
    said: str
    filters: dict[str, int] = Field(description="How many technicians each filter of matching rules out.")


class SummaryAnswer(BaseModel):
    """A plan in numbers."""

    tickets: int
    planned: int
    left_out: int
    technicians: int
    cost: int
    greedy_cost: int = Field(description="What the plan costs that needs no solver; `cost` is never more.")
    solved_by: Literal["greedy", "solver"]
    note: str | None = Field(description="What is worth to know, such as a solver that failed.")


class PlanAskedAnswer(BaseModel):
    """What a plan was made with."""

    timezone: str
    time_limit_seconds: int
    weights: WeightsBody


class PlanHead(BaseModel):
    """A plan without its routes."""

    id: UUID
    day: date
    state: PlanState
    created_by: str
    created_at: datetime
    applied_by: str | None
    applied_at: datetime | None
    asked: PlanAskedAnswer
    summary: SummaryAnswer


class PlanAnswer(PlanHead):
    """A plan with its routes and reasons."""

    cost: CostAnswer
    greedy_cost: CostAnswer
    routes: list[RouteAnswer]
    left_out: list[LeftOutAnswer]


class Plans(BaseModel):
    """One page, the newest first."""

    items: list[PlanHead]
    next_cursor: str | None = Field(description="Null on the last page.")


@router.post(
    "/dispatch/plans",
    status_code=201,
    response_model=PlanAnswer,
    responses={404: {"description": "Your organization has no such ticket or technician."}},
)
def make(
    asked: PlanWish,
    session: SignedIn,
    services: Provided,
    *,
    request: Request,
    body: Annotated[bytes, Depends(body_of)],
    key: IdempotencyKey = None,
) -> Response:
    """Plan a day and keep the draft; nothing is booked, so that any number of them may be tried and compared.

    It takes as long as the solver may look, and a few seconds more.
    """
    with services.plans.turn(session.org_id):
        try:
            with services.begin(session) as connection:
                found = planning.read_day(connection, session, asked)
        except Refused as refused:
            raise refusal_of(refused) from refused
        draft = planning.draft_of(asked, found, services.plans.solve(found.day.problem, found.limit))
        with services.begin(session) as connection:
            return Caller(request, connection, session, body, key, None).run(planning.MAKE, None, draft)


@router.get("/dispatch/plans")
def list_plans(
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    *,
    day: date | None = None,
    cursor: Annotated[str | None, Query(max_length=4096)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> Plans:
    """List plans with what they come to."""
    filters = {"list": "plans", "org": session.org_id, "day": day}
    place = services.cursors.read_place(cursor, filters)
    before = UUID(str(place["before"])) if place else None
    found = plan_rows.listed(connection, session.org_id, day=day, before=before, limit=limit + 1)
    items = [PlanHead.model_validate(planning.head(one)) for one in found[:limit]]
    more = services.cursors.make_place({"before": str(items[-1].id)}, filters) if len(found) > limit else None
    return Plans(items=items, next_cursor=more)


@router.get("/dispatch/plans/{plan_id}")
def read_plan(plan_id: UUID, session: SignedIn, connection: Transaction) -> PlanAnswer:
    """Show a plan: who goes where when, what is left out, and why."""
    found = plan_rows.read(connection, session.org_id, plan_id)
    if found is None:
        raise Refusal(404, "your organization has no such plan", code="PLAN_NOT_FOUND")
    return PlanAnswer.model_validate(planning.described(connection, found))


@router.post("/dispatch/plans/{plan_id}/apply", response_model=PlanAnswer)
def apply(plan_id: UUID, call: Calling, asked: Apply | None = None) -> Response:
    """Book every visit of a plan, or none where anything that it rests on has changed; again is once."""
    return call.run(planning.APPLY, str(plan_id), asked or Apply())
