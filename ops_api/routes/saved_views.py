"""Saved views of the ticket list (contract 001)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from models.queries import saved_views as queries
from ops_api.answers import Refusal
from ops_api.dependencies import SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.ticket_filters import ViewFilter
from pipeline.commands import saved_views as commands

router = APIRouter(route_class=GuardedRoute, tags=["tickets"])

Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")
]


class NewView(BaseModel):
    """A name for filters of the ticket list."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    filters: ViewFilter


class ViewAnswer(BaseModel):
    """A saved view; its filters are parameters of the ticket list."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    filters: dict[str, Any]
    created_by_id: UUID | None
    created_by_name: str | None
    created_at: datetime


class SavedViews(BaseModel):
    """The organization's views, by name."""

    items: list[ViewAnswer] = Field(max_length=queries.MOST)


@router.get("/tickets/saved-views")
def list_views(session: SignedIn, connection: Transaction) -> SavedViews:
    """Return the saved views of the organization."""
    rows = queries.saved_views(connection, session.org_id)
    return SavedViews(items=[ViewAnswer.model_validate(row) for row in rows])


@router.post("/tickets/saved-views", status_code=201)
def save_view(session: SignedIn, connection: Transaction, asked: NewView) -> ViewAnswer:
    """Save filters under a name, for everybody in the organization."""
    filters = asked.filters.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    made = commands.save_view(connection, session.org_id, asked.name, filters, person_id=session.person_id)
    (row,) = queries.saved_views(connection, session.org_id, made)
    return ViewAnswer.model_validate(row)


@router.delete("/tickets/saved-views/{view_id}", status_code=204)
def delete_view(view_id: UUID, session: SignedIn, connection: Transaction) -> None:
    """Delete a saved view."""
    if not commands.delete_view(connection, session.org_id, view_id):
        raise Refusal(404, "your organization has no such view")
