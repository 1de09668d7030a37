"""Business calendars: hours of work in a time zone, and the holidays in between."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from fastapi import APIRouter, Response

from models.queries import clocks as queries
from ops_api.answers import Refusal
from ops_api.calendar_answers import (
    CalendarAnswer,
    CalendarAnswers,
    CalendarChange,
    CalendarRequest,
    HolidayAnswer,
    HolidayAnswers,
    HolidaysRequest,
)
from ops_api.dependencies import SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.routes.sla import CONFLICTS, conflicts
from ops_api.versions import Seen, etag
from pipeline.commands import calendars as commands

router = APIRouter(route_class=GuardedRoute, tags=["sla"])


@router.get("/sla/calendars")
def list_calendars(session: SignedIn, connection: Transaction) -> CalendarAnswers:
    """Return the organization's calendars."""
    found = queries.calendars(connection, session.org_id)
    return CalendarAnswers(items=[CalendarAnswer.model_validate(one) for one in found])


@router.post("/sla/calendars", status_code=201, responses=CONFLICTS)
def add_calendar(
    asked: CalendarRequest, session: SignedIn, connection: Transaction, response: Response
) -> CalendarAnswer:
    """Add a calendar; 409 for a taken name, 422 for an unknown time zone or spans that overlap."""
    with conflicts():
        made = commands.add_calendar(connection, session.org_id, asked.model_dump())
    return _calendar(connection, session.org_id, made, response)


@router.patch("/sla/calendars/{calendar_id}", responses=CONFLICTS)
def change_calendar(
    *,
    calendar_id: UUID,
    asked: CalendarChange,
    session: SignedIn,
    connection: Transaction,
    seen: Seen,
    response: Response,
) -> CalendarAnswer:
    """Change a calendar; the clocks of open tickets follow. 409 when it is not at the version of If-Match."""
    with conflicts():
        commands.change_calendar(connection, session.org_id, calendar_id, asked.columns(), version=seen)
    return _calendar(connection, session.org_id, calendar_id, response)


@router.delete("/sla/calendars/{calendar_id}", status_code=204, responses=CONFLICTS)
def delete_calendar(calendar_id: UUID, session: SignedIn, connection: Transaction, seen: Seen) -> None:
    """Delete a calendar; 409 while a policy has it."""
    with conflicts():
        is_deleted = commands.delete_calendar(connection, session.org_id, calendar_id, version=seen)
    if not is_deleted:
        raise _no_calendar()


@router.get("/sla/calendars/{calendar_id}/holidays")
def list_holidays(calendar_id: UUID, session: SignedIn, connection: Transaction) -> HolidayAnswers:
    """Return the holidays of a calendar."""
    if not queries.calendars(connection, session.org_id, calendar_id):
        raise _no_calendar()
    found = queries.holidays(connection, session.org_id, calendar_id)
    return HolidayAnswers(items=[HolidayAnswer.model_validate(one) for one in found])


@router.post("/sla/calendars/{calendar_id}/holidays")
def add_holidays(
    calendar_id: UUID, asked: HolidaysRequest, session: SignedIn, connection: Transaction
) -> HolidayAnswers:
    """Add days on which nothing counts; the clocks of open tickets follow. A day that is there gets the name."""
    days = {one.day: one.name for one in asked.items}
    if not commands.add_holidays(connection, session.org_id, calendar_id, days):
        raise _no_calendar()
    found = queries.holidays(connection, session.org_id, calendar_id)
    return HolidayAnswers(items=[HolidayAnswer.model_validate(one) for one in found])


@router.delete("/sla/calendars/{calendar_id}/holidays/{day}", status_code=204)
def delete_holiday(calendar_id: UUID, day: date, session: SignedIn, connection: Transaction) -> None:
    """Let a day be one like any other."""
    if not commands.delete_holiday(connection, session.org_id, calendar_id, day):
        raise Refusal(404, "that calendar has no such holiday")


def _calendar(connection: Transaction, org_id: UUID, calendar_id: UUID, response: Response) -> CalendarAnswer:
    found = queries.calendars(connection, org_id, calendar_id)
    if not found:
        raise _no_calendar()
    response.headers["ETag"] = etag(found[0].version)
    return CalendarAnswer.model_validate(found[0])


def _no_calendar() -> Refusal:
    return Refusal(404, "your organization has no such calendar")
