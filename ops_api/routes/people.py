"""People of an organization: listed, invited and changed by an administrator."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from models.enums import Reach
from models.queries import people
from models.queries.people import Member
from ops_api.answers import Refusal
from ops_api.dependencies import Provided, SignedIn, Transaction
from ops_api.grants import RESPONSES, grantor_of, in_words
from ops_api.guard import GuardedRoute
from pipeline.commands import people_admin
from pipeline.commands.people_admin import Newcomer

router = APIRouter(route_class=GuardedRoute, tags=["people"])

_NO_CONTROLS = r"^[^\x00-\x1f\x7f]*$"
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200, pattern=_NO_CONTROLS)]
Contact = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=320, pattern=_NO_CONTROLS)]
RoleName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64, pattern=_NO_CONTROLS)]
Skill = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=_NO_CONTROLS)]


class PersonAnswer(BaseModel):
    """One person in this organization."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID = Field(validation_alias="person_id")
    email: str | None
    phone: str | None
    full_name: str
    role_id: UUID
    role: str = Field(description="The role's code.")
    role_name: str
    reach: Reach
    account_ids: list[UUID]
    site_ids: list[UUID]
    team_id: UUID | None
    team: str | None
    reports_to_id: UUID | None
    reports_to: str | None
    skills: list[str]
    capacity: int | None = Field(description="Open tickets that rules may give them; null for any number.")
    is_active: bool
    is_disabled: bool = Field(description="Switched off everywhere by the operator of the installation.")
    has_password: bool
    is_locked: bool = Field(description="Too many wrong passwords; passes by itself.")
    created_at: datetime


class People(BaseModel):
    """One page, in the order in which they came."""

    items: list[PersonAnswer]
    next_cursor: str | None = Field(description="Null on the last page.")


class Rights(BaseModel):
    """What somebody is; what is left out stays as it is."""

    full_name: Text | None = None
    phone: Contact | None = None
    role: RoleName | None = Field(default=None, description="A role's code or id.")
    reach: Reach | None = None
    account_ids: list[UUID] | None = Field(default=None, max_length=500, description="With the reach `account`.")
    site_ids: list[UUID] | None = Field(default=None, max_length=500, description="With the reach `site`.")
    team_id: UUID | None = None
    reports_to_id: UUID | None = None
    skills: list[Skill] | None = Field(default=None, max_length=50)
    capacity: int | None = Field(default=None, ge=1, le=100_000)
    is_active: bool | None = None


class Invitation(Rights):
    """Who is to become a member; they sign in by mail address or telephone number."""

    email: Contact | None = None
    role: RoleName = Field(default="viewer", description="A role's code or id.")
    is_told: bool = Field(default=True, description="Send them a mail with a link to set a password.")


@router.get("/people")
def list_people(
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    *,
    cursor: Annotated[str | None, Query(max_length=4096)] = None,
    q: Annotated[Text | None, Query(description="Part of a name, mail address or number.")] = None,
    role: Annotated[RoleName | None, Query(description="A role's code.")] = None,
    is_active: bool | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> People:
    """List members."""
    filters = {"q": q, "role": role, "is_active": is_active, "list": "people", "org": session.org_id}
    place = services.cursors.read_place(cursor, filters)
    after = UUID(str(place["after"])) if place else None
    found = people.members(
        connection, session.org_id, after=after, words=q, role=role, is_active=is_active, limit=limit + 1
    )
    items = [_answer(one) for one in found[:limit]]
    more = services.cursors.make_place({"after": items[-1].id}, filters) if len(found) > limit else None
    return People(items=items, next_cursor=more)


@router.get("/people/{person_id}")
def show(person_id: UUID, session: SignedIn, connection: Transaction) -> PersonAnswer:
    """Return one member."""
    found = people.member(connection, session.org_id, person_id)
    if found is None:
        raise Refusal(404, f"your organization has no person {person_id}")
    return _answer(found)


@router.post("/people", status_code=201, responses=RESPONSES)
def invite(asked: Invitation, session: SignedIn, connection: Transaction, services: Provided) -> PersonAnswer:
    """Make somebody a member, and tell them by mail how to begin."""
    post = services.password_door.post if asked.is_told else None
    more = asked.model_dump(exclude_unset=True, exclude={"email", "phone", "full_name", "role", "is_told"})
    who = Newcomer(asked.email, asked.phone, asked.full_name or "", asked.role, more)
    with in_words():
        return _answer(people_admin.invite(connection, session.org_id, grantor_of(session), who, post))


@router.patch("/people/{person_id}", responses=RESPONSES)
def change(person_id: UUID, asked: Rights, session: SignedIn, connection: Transaction) -> PersonAnswer:
    """Change what somebody is; when their rights change, their sessions end and they sign in again."""
    changes = asked.model_dump(exclude_unset=True)
    with in_words():
        return _answer(people_admin.change(connection, session.org_id, grantor_of(session), person_id, changes))


def _answer(member: Member) -> PersonAnswer:
    return PersonAnswer.model_validate(member)
