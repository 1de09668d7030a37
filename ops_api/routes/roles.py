"""Roles: the built-in ones to look at, an organization's own to make and change."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from models.permissions import Permission
from models.queries import people
from ops_api.dependencies import SignedIn, Transaction
from ops_api.grants import RESPONSES, grantor_of, in_words
from ops_api.guard import GuardedRoute
from pipeline.commands import roles_admin

router = APIRouter(route_class=GuardedRoute, tags=["people"])

Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")
]


class RoleAnswer(BaseModel):
    """A role, as it is in force now."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID = Field(validation_alias="role_id")
    code: str
    name: str
    aliases: list[str]
    is_built_in: bool
    permissions: list[str]
    members: int = Field(description="Active members that have it.")


class Roles(BaseModel):
    """The built-in ones first."""

    items: list[RoleAnswer]


class NewRole(BaseModel):
    """A role of one's own; it may hold only what one holds oneself."""

    code: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    name: Name
    permissions: list[Permission] = Field(max_length=100)


class RoleChange(BaseModel):
    """What is left out stays as it is; permissions are given whole."""

    name: Name | None = None
    permissions: list[Permission] | None = Field(default=None, max_length=100)


@router.get("/roles")
def list_roles(session: SignedIn, connection: Transaction) -> Roles:
    """List the roles that may be given, with their permissions."""
    return Roles(items=[RoleAnswer.model_validate(one) for one in people.roles(connection, session.org_id)])


@router.post("/roles", status_code=201, responses=RESPONSES)
def add(asked: NewRole, session: SignedIn, connection: Transaction) -> RoleAnswer:
    """Make a role."""
    with in_words():
        made = roles_admin.add(
            connection, session.org_id, grantor_of(session), code=asked.code, name=asked.name,
            permissions=asked.permissions,
        )  # fmt: skip
    return RoleAnswer.model_validate(made)


@router.patch("/roles/{role_id}", responses=RESPONSES)
def change(role_id: UUID, asked: RoleChange, session: SignedIn, connection: Transaction) -> RoleAnswer:
    """Change an own role; it works from the next request of its members on."""
    with in_words():
        made = roles_admin.change(
            connection, session.org_id, grantor_of(session), role_id, name=asked.name, permissions=asked.permissions
        )
    return RoleAnswer.model_validate(made)


@router.delete("/roles/{role_id}", status_code=204, responses=RESPONSES)
def remove(role_id: UUID, session: SignedIn, connection: Transaction) -> None:
    """Remove an own role that nobody has."""
    with in_words():
        roles_admin.remove(connection, session.org_id, grantor_of(session), role_id)
