"""Tickets as conversations: why messages stand in one, and merging, splitting and undoing."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from models.enums import Confidence, Direction, MachineKind, RecipientSource, RegroupingKind, StitchReason, TicketStatus
from models.queries import conversations
from ops_api.dependencies import OwnTicket, SignedIn, Transaction
from ops_api.guard import GuardedRoute
from pipeline.commands import regrouping
from pipeline.runtime.identity import ticket_reach

router = APIRouter(route_class=GuardedRoute, tags=["tickets"])

Reason = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
    ),
]
TicketName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9-]+$")]
_Row = ConfigDict(from_attributes=True)


class RejectedAnswer(BaseModel):
    """A ticket that a message's evidence named, and why that was not believed."""

    ticket_id: UUID
    reference: str
    why_not: str


class SeenAnswer(BaseModel):
    """One sighting: the mailbox, and the recipient that the headers prove, with source and confidence."""

    model_config = _Row

    occurrence_id: int
    mailbox: str
    recipient: str | None
    source: RecipientSource
    confidence: Confidence


class PlacedAnswer(BaseModel):
    """One message, and why it stands here."""

    model_config = _Row

    message_id: int
    rfc_message_id: str | None
    from_address: str | None
    subject: str
    received_at: datetime
    direction: Direction
    machine: MachineKind | None
    reason: StitchReason
    confidence: Confidence
    evidence: str | None
    rejected: list[RejectedAnswer]
    is_pinned: bool = Field(description="A person put it here.")
    seen: list[SeenAnswer] = Field(description="Every mailbox that has it.")


class PossibleAnswer(BaseModel):
    """A ticket that a reference connects, though nobody may speak in both."""

    model_config = _Row

    ticket_id: UUID
    code: str
    subject: str
    how: str
    reference: str
    from_address: str | None
    is_held_apart: bool


class RegroupingAnswer(BaseModel):
    """A merge or a split; `actor` is `system` for the rules."""

    model_config = _Row

    regrouping_id: int
    kind: RegroupingKind
    ticket: str
    others: list[str]
    actor: str
    reason: str
    created_at: datetime
    undone_at: datetime | None
    undone_by: str | None


class ConversationAnswer(BaseModel):
    """A ticket's newest 200 messages, newest first, what may belong to it, and its merges and splits."""

    ticket_id: UUID
    code: str
    status: TicketStatus
    subject: str
    merged_into: str | None
    messages: list[PlacedAnswer]
    possibly_related: list[PossibleAnswer]
    regroupings: list[RegroupingAnswer]


class MergeRequest(BaseModel):
    """The tickets, by id or code, that merge into the one of the path, and why."""

    model_config = ConfigDict(extra="forbid")

    ticket_ids: list[TicketName] = Field(min_length=1, max_length=100)
    reason: Reason


class SplitRequest(BaseModel):
    """The messages that become a ticket of their own, and why."""

    model_config = ConfigDict(extra="forbid")

    message_ids: list[Annotated[int, Field(ge=1, lt=2**63)]] = Field(min_length=1, max_length=10_000)
    reason: Reason


class MergedAnswer(BaseModel):
    """The ticket that stayed, and the regrouping that undo takes."""

    ticket_id: UUID
    code: str
    regrouping_id: int


class UndoneAnswer(BaseModel):
    """What was undone, and how many messages that came since stand elsewhere now."""

    regrouping_id: int
    kind: RegroupingKind
    messages_replaced: int


@router.get("/tickets/{ticket_id}/conversation")
def conversation(ticket: OwnTicket, session: SignedIn, connection: Transaction) -> ConversationAnswer:
    """Return how a ticket came to be what it is."""
    found = conversations.conversation(connection, ticket, ticket_reach(session))
    return ConversationAnswer(
        ticket_id=ticket.ticket_id,
        code=ticket.code,
        status=TicketStatus(ticket.status),
        subject=ticket.subject,
        merged_into=ticket.merged_into,
        messages=[PlacedAnswer.model_validate(one) for one in found.messages],
        possibly_related=[PossibleAnswer.model_validate(one) for one in found.possible],
        regroupings=[RegroupingAnswer.model_validate(one) for one in found.regroupings],
    )


@router.post("/tickets/{ticket_id}/merge")
def merge(ticket: OwnTicket, session: SignedIn, connection: Transaction, asked: MergeRequest) -> MergedAnswer:
    """Merge other tickets into this one; their later replies follow."""
    names = [str(ticket.ticket_id), *asked.ticket_ids]
    into, *others = regrouping.find_tickets(connection, session.org_id, names, ticket_reach(session))
    done = regrouping.merge_tickets(connection, session.org_id, into, others, actor=session.email, reason=asked.reason)
    return MergedAnswer(ticket_id=into.ticket_id, code=into.code, regrouping_id=done)


@router.post("/tickets/{ticket_id}/split")
def split(ticket: OwnTicket, session: SignedIn, connection: Transaction, asked: SplitRequest) -> MergedAnswer:
    """Make messages of this ticket a ticket of their own; the answer names the new one."""
    (found,) = regrouping.find_tickets(connection, session.org_id, [str(ticket.ticket_id)])
    done = regrouping.split_ticket(
        connection, session.org_id, found, asked.message_ids, actor=session.email, reason=asked.reason
    )
    return MergedAnswer(ticket_id=done.ticket_id, code=done.code, regrouping_id=done.regrouping_id)


@router.post("/tickets/{ticket_id}/regroupings/{regrouping_id}/undo")
def undo(
    ticket: OwnTicket,
    regrouping_id: Annotated[int, Path(ge=1, lt=2**63)],
    session: SignedIn,
    connection: Transaction,
) -> UndoneAnswer:
    """Undo a merge or a split of this ticket; the last one first."""
    regrouping.check_part(connection, ticket.ticket_id, regrouping_id, ticket_reach(session))
    done = regrouping.undo_regrouping(connection, session.org_id, regrouping_id, actor=session.email)
    return UndoneAnswer(regrouping_id=regrouping_id, kind=done.kind, messages_replaced=done.replaced)
