"""Who is on duty: a person's weekly shifts and leave, which assignment by rules goes by."""

from __future__ import annotations

from datetime import datetime, time
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from models.enums import Reach
from models.queries import duty as queries
from ops_api.answers import Refusal
from ops_api.dependencies import SignedIn, Transaction
from ops_api.guard import GuardedRoute
from pipeline.commands import duty as commands
from pipeline.core.duty import Shift
from pipeline.runtime.errors import UserError

router = APIRouter(route_class=GuardedRoute, tags=["duty"])

#: Wall-clock times, whole minutes; `24:00` is written `00:00` of the next day.
_Time = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="HH:MM by the clocks there.")]


class ShiftBody(BaseModel):
    """Hours of one weekday; it ends on the next day where `ends` is not later than `begins`."""

    model_config = ConfigDict(extra="forbid")

    weekday: int = Field(ge=0, le=6, description="Monday is 0.")
    begins: _Time
    ends: _Time
    timezone: str = Field(min_length=1, max_length=60, description="An IANA name, like Europe/Berlin.")

    def shift(self) -> Shift:
        """Return it as a value. Raises `UserError` for a zone that is none, or no time between."""
        try:
            return Shift(self.weekday, time.fromisoformat(self.begins), time.fromisoformat(self.ends), self.timezone)
        except ValueError as error:
            raise UserError(str(error)) from error


class ShiftsBody(BaseModel):
    """A person's weekly hours; without any they are always on duty."""

    model_config = ConfigDict(extra="forbid")

    shifts: list[ShiftBody] = Field(max_length=commands.MOST_SHIFTS)


class LeaveRequest(BaseModel):
    """When somebody is away."""

    model_config = ConfigDict(extra="forbid")

    begins_at: AwareDatetime
    ends_at: AwareDatetime
    reason: str = Field(default="", max_length=200)


class LeaveAnswer(BaseModel):
    """One leave; it is over just before its end."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    begins_at: datetime
    ends_at: datetime
    reason: str
    created_at: datetime


class LeaveAnswers(BaseModel):
    """The latest leaves, by their end."""

    items: list[LeaveAnswer]


def own_colleague(person_id: UUID, session: SignedIn, connection: Transaction) -> UUID:
    """Return the person of the path within the reach of who asks: their organization, their team, or they; else 404."""
    scope = session.scope
    team_id = scope.team_id if scope.reach is Reach.TEAM else None
    own_id = None if scope.is_whole else session.person_id or UUID(int=0)
    if not queries.is_reached(connection, session.org_id, person_id, own_id=own_id, team_id=team_id):
        raise Refusal(404, "your organization has no such person")
    return person_id


Colleague = Annotated[UUID, Depends(own_colleague, scope="function")]


@router.get("/people/{person_id}/shifts")
def list_shifts(person: Colleague, session: SignedIn, connection: Transaction) -> ShiftsBody:
    """Return a person's weekly hours, from Monday."""
    found = queries.shifts(connection, session.org_id, person, limit=commands.MOST_SHIFTS)
    return ShiftsBody(shifts=[_shift(row) for row in found])


@router.put("/people/{person_id}/shifts")
def set_shifts(person: Colleague, session: SignedIn, connection: Transaction, asked: ShiftsBody) -> ShiftsBody:
    """Set a person's weekly hours as a whole."""
    commands.set_shifts(connection, session.org_id, person, [body.shift() for body in asked.shifts])
    return list_shifts(person, session, connection)


@router.get("/people/{person_id}/leaves")
def list_leaves(person: Colleague, session: SignedIn, connection: Transaction) -> LeaveAnswers:
    """Return a person's latest leaves, also those ahead."""
    found = queries.leaves(connection, session.org_id, person)
    return LeaveAnswers(items=[LeaveAnswer.model_validate(row) for row in found])


@router.post("/people/{person_id}/leaves", status_code=201)
def add_leave(person: Colleague, session: SignedIn, connection: Transaction, asked: LeaveRequest) -> LeaveAnswer:
    """Note that a person is away: rules give them nothing meanwhile."""
    made = commands.add_leave(
        connection, session.org_id, person, begins_at=asked.begins_at, ends_at=asked.ends_at, reason=asked.reason
    )
    (found,) = queries.leaves(connection, session.org_id, person, leave_id=made)
    return LeaveAnswer.model_validate(found)


@router.delete("/people/{person_id}/leaves/{leave_id}", status_code=204)
def delete_leave(person: Colleague, leave_id: UUID, session: SignedIn, connection: Transaction) -> None:
    """Take a leave back."""
    if not commands.delete_leave(connection, session.org_id, person, leave_id):
        raise Refusal(404, "this person has no such leave")


def _shift(row: Any) -> ShiftBody:
    return ShiftBody(weekday=row.weekday, begins=f"{row.begins:%H:%M}", ends=f"{row.ends:%H:%M}", timezone=row.timezone)
