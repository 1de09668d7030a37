"""Queues and who works them (contract 001)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator
from sqlalchemy import Connection

from models.queries import queues as queries
from ops_api.answers import Refusal
from ops_api.dependencies import SignedIn, Transaction
from ops_api.guard import GuardedRoute
from pipeline.commands import queues as commands
from pipeline.core.principals import Principal

router = APIRouter(route_class=GuardedRoute, tags=["queues"])

Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")
]
Slug = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=commands.SLUG)]
_Row = ConfigDict(from_attributes=True)


class NewQueue(BaseModel):
    """A queue; without a slug one is made of its name."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    slug: Slug | None = None


class QueueChange(BaseModel):
    """What changes; what is not named stays."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    slug: Slug | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.name is None and self.slug is None:
            raise ValueError("name a new name or slug")
        return self


class QueueAnswer(BaseModel):
    """A queue."""

    model_config = _Row

    id: UUID
    slug: str
    name: str
    members: int
    created_at: datetime


class MemberAnswer(BaseModel):
    """Somebody who works a queue."""

    model_config = _Row

    person_id: UUID
    full_name: str
    email: str | None
    is_active: bool
    assigned_at: datetime | None
    created_at: datetime


class Members(BaseModel):
    """Who works a queue, by name."""

    items: list[MemberAnswer]


def own_queue(queue_id: UUID, session: SignedIn, connection: Transaction) -> UUID:
    """Return the queue of the path when it belongs to the organization of who asks; 404 otherwise."""
    if not queries.queues(connection, session.org_id, queue_id):
        raise Refusal(404, "your organization has no such queue")
    return queue_id


OwnQueue = Annotated[UUID, Depends(own_queue, scope="function")]


@router.get("/queues")
def list_queues(session: SignedIn, connection: Transaction) -> list[QueueAnswer]:
    """Return the organization's queues by name."""
    return [QueueAnswer.model_validate(row) for row in queries.queues(connection, session.org_id)]


@router.post("/queues", status_code=201)
def add_queue(session: SignedIn, connection: Transaction, asked: NewQueue) -> QueueAnswer:
    """Make a queue."""
    return _answer(connection, session, commands.add_queue(connection, session.org_id, asked.name, asked.slug))


@router.patch("/queues/{queue_id}")
def change_queue(queue_id: OwnQueue, session: SignedIn, connection: Transaction, asked: QueueChange) -> QueueAnswer:
    """Give a queue another name or slug."""
    commands.change_queue(connection, session.org_id, queue_id, asked.name, asked.slug)
    return _answer(connection, session, queue_id)


@router.delete("/queues/{queue_id}", status_code=204)
def delete_queue(queue_id: OwnQueue, session: SignedIn, connection: Transaction) -> None:
    """Delete a queue that no ticket and no rule names."""
    commands.delete_queue(connection, session.org_id, queue_id)


@router.get("/queues/{queue_id}/members")
def list_members(queue_id: OwnQueue, session: SignedIn, connection: Transaction) -> Members:
    """Return who works a queue."""
    rows = queries.members(connection, session.org_id, queue_id)
    return Members(items=[MemberAnswer.model_validate(row) for row in rows])


@router.put("/queues/{queue_id}/members/{person_id}")
def join_queue(queue_id: OwnQueue, person_id: UUID, session: SignedIn, connection: Transaction) -> MemberAnswer:
    """Let a person of the organization work a queue; again changes nothing."""
    if not commands.join_queue(connection, session.org_id, queue_id, person_id):
        raise Refusal(404, "your organization has no such person")
    (row,) = queries.members(connection, session.org_id, queue_id, person_id)
    return MemberAnswer.model_validate(row)


@router.delete("/queues/{queue_id}/members/{person_id}", status_code=204)
def leave_queue(queue_id: OwnQueue, person_id: UUID, session: SignedIn, connection: Transaction) -> None:
    """Take a person out of a queue; tickets that they have stay theirs."""
    if not commands.leave_queue(connection, session.org_id, queue_id, person_id):
        raise Refusal(404, "this person does not work that queue")


def _answer(connection: Connection, session: Principal, queue_id: UUID) -> QueueAnswer:
    (row,) = queries.queues(connection, session.org_id, queue_id)
    return QueueAnswer.model_validate(row)
