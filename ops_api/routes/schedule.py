"""When somebody comes: the commands on a ticket's schedule, its free windows, and technicians' calendars."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID, uuid4

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import Connection
from starlette.responses import Response

from models.enums import DispatchState, HoldReason, HoldState, VisitState
from models.queries import visits as queries
from ops_api.answers import Refusal
from ops_api.commands import Calling
from ops_api.dependencies import OwnTicket, Provided, SignedIn, TicketName, Transaction
from ops_api.field_answers import StretchAnswer
from ops_api.guard import GuardedRoute
from pipeline.commands import holds, scheduling
from pipeline.commands.schedule_arguments import (
    Confirmation,
    HoldBody,
    Move,
    NewLink,
    Proposal,
    Release,
    Rollback,
    Withdrawal,
)
from pipeline.core.canonical_json import canonical
from pipeline.core.field_work import Window
from pipeline.core.schedule import MOST_DAYS, YEARS
from pipeline.runtime import schedule_reading, visit_links
from pipeline.runtime.secrets import Secrets

router = APIRouter(route_class=GuardedRoute, tags=["schedule"])

From = Annotated[AwareDatetime | None, Query(alias="from", description="RFC 3339 with a time zone; else now.")]
To = Annotated[AwareDatetime | None, Query(alias="to", description=f"At most {MOST_DAYS} days later; else a week.")]


class Offered(StretchAnswer):
    """A window that was offered to the customer."""

    technician_id: UUID | None


class VisitAnswer(BaseModel):
    """One visit of a ticket."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    number: int
    technician_id: UUID | None
    starts_at: datetime
    ends_at: datetime
    state: VisitState
    sequence: int = Field(description="How often its invitation changed.")
    ended_at: datetime | None


class HoldAnswer(BaseModel):
    """One hold of a ticket's schedule."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    reason: HoldReason
    state: HoldState
    starts_at: datetime
    ends_at: datetime = Field(description="By when the customer must have confirmed.")
    from_state: DispatchState
    ended_because: str | None
    created_at: datetime
    ended_at: datetime | None


class VisitLinkAnswer(BaseModel):
    """The customer's link; its address is told once, when it is made."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


class ScheduleAnswer(BaseModel):
    """Everything that stands on a ticket's schedule, the latest of each first."""

    ticket_id: UUID
    state: DispatchState
    window: StretchAnswer | None
    proposed_windows: list[Offered]
    visits: list[VisitAnswer]
    holds: list[HoldAnswer]
    link: VisitLinkAnswer | None


class FreeSlotAnswer(StretchAnswer):
    """A window in which each of these technicians can come; who has least to do goes first."""

    technician_ids: list[UUID]


class Slots(BaseModel):
    """Free windows by time."""

    minutes: int = Field(description="How long the visit takes.")
    items: list[FreeSlotAnswer]
    next_from: datetime | None = Field(description="Ask for more from here; null when these are all.")


class CalendarVisit(BaseModel):
    """A visit in a technician's calendar."""

    visit_id: UUID
    ticket_id: UUID
    code: str
    number: int
    start: datetime
    end: datetime
    state: VisitState
    site_id: UUID | None


class TechnicianCalendar(BaseModel):
    """What a technician has, and has not, in a stretch of time."""

    person_id: UUID
    on_duty: list[StretchAnswer]
    leaves: list[StretchAnswer]
    visits: list[CalendarVisit]


@router.post("/tickets/{ticket_id}/schedule/propose", response_model=None)
def propose(ticket_id: TicketName, call: Calling, asked: Proposal) -> Response:
    """Offer the customer windows to choose among."""
    return call.run(scheduling.PROPOSE, ticket_id, asked)


@router.post("/tickets/{ticket_id}/schedule/confirm", response_model=None)
def confirm(ticket_id: TicketName, call: Calling, asked: Confirmation) -> Response:
    """Book one of the windows that were offered."""
    return call.run(scheduling.CONFIRM, ticket_id, asked)


@router.post("/tickets/{ticket_id}/schedule/move", response_model=None)
def move(ticket_id: TicketName, call: Calling, asked: Move) -> Response:
    """Book the visit for another time, at which somebody is free."""
    return call.run(scheduling.MOVE, ticket_id, asked)


@router.post("/tickets/{ticket_id}/schedule/withdraw", response_model=None)
def withdraw(ticket_id: TicketName, call: Calling, asked: Withdrawal) -> Response:
    """Take offers and the booked visit back."""
    return call.run(scheduling.WITHDRAW, ticket_id, asked)


@router.post("/tickets/{ticket_id}/schedule/hold", status_code=201, response_model=None)
def hold(ticket_id: TicketName, call: Calling, asked: HoldBody) -> Response:
    """Wait with the schedule until the customer has confirmed."""
    return call.run(holds.HOLD, ticket_id, asked)


@router.post("/tickets/{ticket_id}/schedule/release", response_model=None)
def release(ticket_id: TicketName, call: Calling, asked: Release) -> Response:
    """End a hold, since the customer confirmed."""
    return call.run(holds.RELEASE, ticket_id, asked)


@router.post("/tickets/{ticket_id}/schedule/rollback", response_model=None)
def rollback(ticket_id: TicketName, call: Calling, asked: Rollback) -> Response:
    """Give a hold up; possible at any time."""
    return call.run(holds.ROLLBACK, ticket_id, asked)


@router.post("/tickets/{ticket_id}/schedule/link", status_code=201, response_model=None)
def link(ticket_id: TicketName, call: Calling, services: Provided, request: Request) -> Response:
    """Make the customer's link; the one before is good no more. Its address is told in this answer alone."""
    keys, link_id = Secrets.of(services.settings), uuid4()
    asked = NewLink(link_id=link_id, token_hash=visit_links.hash_of(visit_links.token_of(keys, link_id)))
    answer = call.run(scheduling.LINK, ticket_id, asked)
    said = orjson.loads(answer.body)
    base = (services.settings.public_url or str(request.base_url)).rstrip("/")
    said["url"] = f"{base}/visit/{visit_links.token_of(keys, UUID(said['link_id']))}"
    del answer.headers["content-length"]
    return Response(canonical(said), answer.status_code, dict(answer.headers), media_type="application/json")


@router.get("/tickets/{ticket_id}/schedule")
def schedule(ticket: OwnTicket, session: SignedIn, connection: Transaction) -> ScheduleAnswer:
    """Return what stands on a ticket's schedule: offers, visits, holds, and whether the customer has a link."""
    found = schedule_reading.of_ticket(connection, ticket.ticket_id)
    org_id = session.org_id
    link = queries.link(connection, org_id, ticket.ticket_id)
    return ScheduleAnswer(
        ticket_id=ticket.ticket_id,
        state=found.state,
        window=_stretch(found.window) if found.window else None,
        proposed_windows=[
            Offered(start=one.window.starts_at, end=one.window.ends_at, technician_id=one.technician_id)
            for one in found.offered
        ],
        visits=[VisitAnswer.model_validate(row) for row in queries.of_ticket(connection, org_id, ticket.ticket_id)],
        holds=[HoldAnswer.model_validate(row) for row in queries.holds(connection, org_id, ticket.ticket_id)],
        link=VisitLinkAnswer.model_validate(link) if link else None,
    )


@router.get("/tickets/{ticket_id}/schedule/slots")
def slots(
    ticket: OwnTicket,
    connection: Transaction,
    begins: From = None,
    ends: To = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Slots:
    """Return windows in which somebody can come who passes every filter: skills, zone, duty, leave, visits, travel."""
    within = _bounded(connection, begins, ends)
    found = schedule_reading.slots(connection, ticket.ticket_id, within, limit + 1)
    shown = found.slots[:limit]
    more = found.slots[limit].window.starts_at if len(found.slots) > limit else None
    items = [
        FreeSlotAnswer(start=one.window.starts_at, end=one.window.ends_at, technician_ids=list(one.person_ids))
        for one in shown
    ]
    return Slots(minutes=int(found.length.total_seconds() // 60), items=items, next_from=more)


@router.get("/dispatch/technicians/{person_id}/calendar")
def calendar(
    person_id: UUID, session: SignedIn, connection: Transaction, *, begins: From = None, ends: To = None
) -> TechnicianCalendar:
    """Return a technician's hours, leave and visits of a stretch of time."""
    within = _bounded(connection, begins, ends)
    found = schedule_reading.calendar(connection, session.org_id, person_id, within)
    if found is None:
        raise Refusal(404, "your organization has no such technician")
    rows = queries.calendar(connection, session.org_id, person_id, within.starts_at, within.ends_at)
    visits = [
        CalendarVisit(
            visit_id=row.id,
            ticket_id=row.ticket_id,
            code=row.code,
            number=row.number,
            start=row.starts_at,
            end=row.ends_at,
            state=row.state,
            site_id=row.site_id,
        )
        for row in rows
    ]
    on_duty, leaves = [_stretch(one) for one in found.on_duty], [_stretch(one) for one in found.leaves]
    return TechnicianCalendar(person_id=person_id, on_duty=on_duty, leaves=leaves, visits=visits)


def _bounded(connection: Connection, begins: datetime | None, ends: datetime | None) -> Window:
    start = begins or schedule_reading.now(connection)
    if start.year in YEARS and start < (end := ends or start + timedelta(days=7)) <= start + timedelta(days=MOST_DAYS):
        return Window(start.astimezone(UTC), end.astimezone(UTC))
    raise Refusal(422, f"`to` must be after `from`, at most {MOST_DAYS} days later")


def _stretch(window: Window) -> StretchAnswer:
    return StretchAnswer(start=window.starts_at, end=window.ends_at)
