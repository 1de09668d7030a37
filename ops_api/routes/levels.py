"""Levels of technicians and the leaderboard (contract 002)."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from models.enums import LevelSource, LevelStatus
from models.queries import levels as queries
from ops_api.answers import Refusal
from ops_api.commands import Calling
from ops_api.dependencies import SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.own_points import check_own
from ops_api.workshop_answers import AskedPage, Envelope, Results
from pipeline.commands import levels
from pipeline.commands.levels import Evaluation, LevelChange
from pipeline.core import leaderboard
from pipeline.runtime import standings

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["workshop levels"])


class StandingAnswer(BaseModel):
    """Where a technician stands, and what they earned in the days that were asked for."""

    user: UUID
    user_name: str
    level: int
    is_warned: bool
    xp: int = Field(description="Of these days.")
    target_xp: int = Field(description="The week's target in proportion to the days, rounded up.")
    is_target_met: bool
    total_xp: int
    next_level_xp: int | None = Field(description="Points of the next level; null at the highest.")
    date_from: date
    date_to: date


class JudgedAnswer(BaseModel):
    """What a week did to somebody's level."""

    user: UUID
    status: LevelStatus
    week_xp: int
    total_xp: int
    from_level: int
    to_level: int


class EvaluationAnswer(BaseModel):
    """What a week did; without those who were judged before."""

    week_start: date
    evaluated: int
    statuses: dict[str, int]
    results: list[JudgedAnswer]


class LevelAnswer(BaseModel):
    """Somebody's level after a change."""

    user: UUID
    user_name: str
    level: int
    is_warned: bool
    total_xp: int
    statuses: list[LevelStatus]


class LevelEventAnswer(BaseModel):
    """One row of somebody's history; it is never changed."""

    id: UUID
    user: UUID
    status: LevelStatus
    source: LevelSource
    week_start: date | None
    week_xp: int | None
    total_xp: int
    from_level: int
    to_level: int
    reason: str
    coupon_amount: int | None
    coupon_currency: str | None
    created_by: str
    created_at: datetime


class LeaderAnswer(BaseModel):
    """One place of the leaderboard, with all that counted."""

    rank: int
    user: UUID
    user_name: str
    level: int
    score: int
    done: int
    xp: int
    first_pass: int
    green: int
    yellow: int
    red: int
    attendance_days: int
    reworked: int
    qc_fails: int


@router.get("/levels/", response_model=Results[StandingAnswer])
def overview(
    session: SignedIn,
    connection: Transaction,
    page: AskedPage,
    *,
    date_from: Annotated[date | None, Query(description="The first local day; the week's Monday without.")] = None,
    date_to: Annotated[date | None, Query(description="The last local day; today without.")] = None,
) -> dict[str, Any]:
    """List technicians with their level, and their points of some days, at most 366."""
    found = standings.overview(connection, session.org_id, date_from, date_to, **page.bounds)
    return page.of(found.rows, found.total)


@router.post("/levels/evaluate/", response_model=Envelope[EvaluationAnswer])
def evaluate(call: Calling, asked: Evaluation | None = None) -> Response:
    """Judge a week that is over; whoever was judged for it, or a later one, stays as they are."""
    return call.run(levels.EVALUATE, None, asked or Evaluation())


@router.get("/levels/users/{person_id}/history/", response_model=Results[LevelEventAnswer])
def history(person_id: UUID, session: SignedIn, connection: Transaction, page: AskedPage) -> dict[str, Any]:
    """List what became of somebody's level, newest first; one's own, or others' with `xp.read`."""
    if not queries.is_member(connection, session.org_id, person_id):
        raise Refusal(404, "your organization has no such member", code="USER_NOT_FOUND")
    check_own(session, person_id)
    found = [standings.event(row) for row in queries.history(connection, session.org_id, person_id, **page.bounds)]
    return page.of(found, queries.count_history(connection, session.org_id, person_id, **page.bounds))


@router.post("/levels/users/{person_id}/set-level/", response_model=Envelope[LevelAnswer])
def set_level(person_id: UUID, call: Calling, asked: LevelChange) -> Response:
    """Give a technician a level, with a reason; a warning stays unless it is cleared."""
    return call.run(levels.SET_LEVEL, str(person_id), asked)


@router.get("/leaderboard/", response_model=Results[LeaderAnswer])
def leaders(
    session: SignedIn,
    connection: Transaction,
    page: AskedPage,
    *,
    days: Annotated[int, Query(ge=1, le=leaderboard.MOST_DAYS, description="Local days up to today.")] = (
        leaderboard.DAYS
    ),
) -> dict[str, Any]:
    """List technicians by their score, the best first; an equal score is an equal rank."""
    found = standings.leaderboard(connection, session.org_id, days, **page.bounds)
    return page.of(found.rows, found.total)
