"""What people do to a ticket: change it, note on it, tag it (contract 001)."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from models.enums import DispatchState, TicketPriority, TicketStatus
from ops_api.commands import Calling
from ops_api.dependencies import TicketName
from ops_api.guard import GuardedRoute
from pipeline.commands import desk
from pipeline.commands.desk_arguments import NewNote, TagChange, TicketUpdate

router = APIRouter(route_class=GuardedRoute, tags=["tickets"])


class ChangedTicket(BaseModel):
    """A ticket after a change; its version is the answer's ETag."""

    id: UUID
    code: str
    status: TicketStatus
    dispatch_state: DispatchState
    priority: TicketPriority
    subject: str
    requester_email: str | None
    requester_name: str | None
    assignee_user_id: UUID | None
    assignee_queue_id: UUID | None
    account_id: UUID | None
    site_id: UUID | None
    mailbox_id: UUID | None
    tags: list[str]
    first_message_at: datetime
    last_message_at: datetime
    last_activity_at: datetime
    closed_at: datetime | None
    created_at: datetime
    version: int


class Note(BaseModel):
    """A note as it was written."""

    id: UUID
    ticket_id: UUID
    person_id: UUID | None = Field(description="Null for a token's subject that is nobody we know.")
    actor: str
    body_markdown: str
    created_at: datetime
    version: int = Field(description="Of the ticket.")


@router.patch("/tickets/{ticket_id}", response_model=ChangedTicket)
def update(ticket_id: TicketName, call: Calling, asked: TicketUpdate) -> Response:
    """Change status, priority, assignee or place. From then on no rule decides on the ticket."""
    return call.run(desk.UPDATE, ticket_id, asked)


@router.post("/tickets/{ticket_id}/notes", status_code=201, response_model=Note)
def add_note(ticket_id: TicketName, call: Calling, asked: NewNote) -> Response:
    """Add a note for colleagues."""
    return call.run(desk.ADD_NOTE, ticket_id, asked)


@router.post("/tickets/{ticket_id}/tags", response_model=ChangedTicket)
def change_tags(ticket_id: TicketName, call: Calling, asked: TagChange) -> Response:
    """Add and remove tags."""
    return call.run(desk.CHANGE_TAGS, ticket_id, asked)
