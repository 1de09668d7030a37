"""Tickets as they are answered: in a list, and whole with what stands in them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from models.enums import (
    AddressRole,
    Confidence,
    Direction,
    DispatchState,
    Disposition,
    MachineKind,
    OccurrenceState,
    RecipientSource,
    StitchReason,
    TicketPriority,
    TicketStatus,
)
from models.queries.ticket_clauses import Sla
from models.queries.ticket_detail import Message
from ops_api.field_reading_answers import FieldFacts

_Row = ConfigDict(from_attributes=True)
#: Objects only: whatever an event or a header left is told as it is.
_Facts = Annotated[
    dict[str, Any], BeforeValidator(lambda found: found if isinstance(found, dict) else {"value": found})
]


class SlaAnswer(BaseModel):
    """How the next deadline stands; both are null while nothing is due."""

    state: Sla | None
    due_at: datetime | None


class TicketAnswer(BaseModel):
    """A ticket in a list."""

    model_config = _Row

    id: UUID
    code: str
    status: TicketStatus
    dispatch_state: DispatchState
    priority: TicketPriority
    subject: str
    requester_email: str | None
    requester_name: str | None
    assignee_user_id: UUID | None
    assignee_name: str | None
    assignee_queue_id: UUID | None
    queue_name: str | None
    tags: list[str]
    account_id: UUID | None
    site_id: UUID | None
    mailbox_id: UUID | None
    first_message_at: datetime
    last_message_at: datetime
    last_activity_at: datetime
    closed_at: datetime | None
    created_at: datetime
    merged_into: UUID | None
    sla: SlaAnswer
    version: int = Field(description="What If-Match takes.")


class Tickets(BaseModel):
    """One page, newest activity first. It may be short, even empty, and yet not be the last."""

    items: list[TicketAnswer]
    next_cursor: str | None = Field(description="Null when nothing follows.")


class WholeTicket(TicketAnswer):
    """A ticket with its deadlines."""

    merged_into_code: str | None = Field(description="Where it went on, when it was merged.")
    response_due_at: datetime | None
    resolution_due_at: datetime | None
    responded_at: datetime | None
    resolved_at: datetime | None


class WrittenToAnswer(BaseModel):
    """Somebody a message was written to."""

    model_config = _Row

    role: AddressRole
    address: str
    name: str


class AttachmentAnswer(BaseModel):
    """A file of a message; its content comes by `download`."""

    model_config = _Row

    id: int
    filename: str
    content_type: str
    size: int
    disposition: Disposition
    content_id: str | None = Field(description="What the HTML calls it.")
    sha256: str
    is_quarantined: bool = Field(description="Looks dangerous: it is not given out.")


class OccurrenceAnswer(BaseModel):
    """One sighting of a message, and the recipient that its headers prove (contract 001)."""

    model_config = _Row

    id: int
    mailbox_id: UUID
    mailbox: str
    state: OccurrenceState
    labels: list[str]
    internal_at: datetime | None
    recipient: str | None
    source: RecipientSource
    confidence: Confidence
    evidence: list[Any] | dict[str, Any]


class RejectedTicket(BaseModel):
    """A ticket that a message's evidence named, and why that was not believed."""

    ticket_id: UUID
    reference: str
    why_not: str


class MessageAnswer(BaseModel):
    """A message, why it stands here, its files, and where it was seen."""

    model_config = _Row

    id: int
    rfc_message_id: str | None
    direction: Direction
    machine: MachineKind | None
    from_address: str | None
    from_name: str | None
    recipients: list[WrittenToAnswer]
    subject: str
    dated_at: datetime | None = Field(description="As its Date header says; anybody may write anything there.")
    received_at: datetime
    snippet: str
    flags: list[str]
    list_id: str | None
    forwarded_from: str | None
    collision_group_id: UUID | None
    body_text: str | None
    fresh_text: str | None = Field(description="Without quotes and signature; null when that is the whole text.")
    body_html: str | None = Field(description="A safe subset.")
    is_cut: bool = Field(description="The body is longer: `/messages/{message_id}` has it whole.")
    reason: StitchReason
    confidence: Confidence
    evidence: str | None
    rejected: list[RejectedTicket]
    is_pinned: bool = Field(description="A person put it here.")
    linked_at: datetime
    attachments: list[AttachmentAnswer]
    occurrences: list[OccurrenceAnswer]


class EventAnswer(BaseModel):
    """Something that happened to the ticket."""

    model_config = _Row

    id: UUID
    kind: str
    at: datetime
    actor: str
    data: _Facts


class NoteAnswer(BaseModel):
    """A note among colleagues."""

    model_config = _Row

    id: UUID
    body_markdown: str
    actor: str
    person_id: UUID | None
    author_name: str | None
    created_at: datetime


class Older(BaseModel):
    """Cursors to what came before the windows that were answered; null where that was all."""

    messages: str | None
    events: str | None
    notes: str | None


class TicketDetail(FieldFacts):
    """A ticket with its newest messages, events and notes, each oldest first; beside them its field work.

    `ticket` is what contract 001 says, `priority` and all; the fields beside it are those of contract 000.
    """

    model_config = ConfigDict(extra="ignore")

    ticket: WholeTicket
    messages: list[MessageAnswer]
    events: list[EventAnswer]
    notes: list[NoteAnswer]
    older: Older


class Messages(BaseModel):
    """Messages of a ticket, oldest first; `next_cursor` goes on into the past."""

    items: list[MessageAnswer]
    next_cursor: str | None


class Events(BaseModel):
    """Events of a ticket, oldest first; `next_cursor` goes on into the past."""

    items: list[EventAnswer]
    next_cursor: str | None


class Notes(BaseModel):
    """Notes of a ticket, oldest first; `next_cursor` goes on into the past."""

    items: list[NoteAnswer]
    next_cursor: str | None


def ticket_answer(row: Any) -> TicketAnswer:
    """Return a row of the list as it is answered."""
    return TicketAnswer.model_validate(_flat(row))


def whole_ticket(row: Any) -> WholeTicket:
    """Return the row of one ticket as it is answered."""
    return WholeTicket.model_validate(_flat(row))


def message_answers(found: Iterable[Message]) -> list[MessageAnswer]:
    """Return messages as they are answered."""
    return [message_answer(one) for one in found]


def message_answer(found: Message) -> MessageAnswer:
    """Return a message as it is answered."""
    parts = {"recipients": found.people, "attachments": found.files, "occurrences": found.seen}
    return MessageAnswer.model_validate(found.row._asdict() | parts)


def _flat(row: Any) -> dict[str, Any]:
    found: dict[str, Any] = row._asdict()
    return found | {"sla": SlaAnswer(state=row.sla_state, due_at=row.sla_due_at)}
