"""Answers to tickets: queued, followed, and decided by a person where nobody else can (contract 001, replies)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from models.enums import JobState, OutboundKind, OutboundState, SendIdentityStatus
from models.queries import outbound
from ops_api.answers import Refusal
from ops_api.dependencies import OwnTicket, Provided, SignedIn, Transaction
from ops_api.guard import GuardedRoute
from pipeline.commands import replies
from pipeline.core.composing import BODY_LENGTH, MOST_CC, MOST_TO, SUBJECT_LENGTH
from pipeline.runtime.identity import ticket_reach
from pipeline.runtime.outgoing import UnknownIdentity

router = APIRouter(route_class=GuardedRoute, tags=["replies"])

Email = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=320)]
Subject = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=SUBJECT_LENGTH, pattern=r"^[^\x00-\x1f\x7f]*$"),
]
Body = Annotated[
    str,
    StringConstraints(min_length=1, max_length=BODY_LENGTH, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"),
]
RequestKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[!-~]+$",
        description="The caller's own name for this reply: sent again it is the same reply.",
    ),
]


class ReplyRequest(BaseModel):
    """A mail to the people of a ticket."""

    send_identity_id: UUID
    to_emails: list[Email] = Field(min_length=1, max_length=MOST_TO)
    cc_emails: list[Email] = Field(default=[], max_length=MOST_CC)
    subject: Subject
    body_text: Body


class ReplyAnswer(BaseModel):
    """The reply stands in its ticket and will be sent."""

    status: Literal["queued"] = "queued"
    job_id: int | None = Field(description="Null when it was sent already.")
    message_id: int
    oss_message_id: UUID = Field(description="The outbound message: what /outbound takes.")


class SendIdentityAnswer(BaseModel):
    """An address that may be written from once it is verified."""

    id: UUID
    mailbox_id: UUID
    from_email: str
    display_name: str
    status: SendIdentityStatus
    is_enabled: bool


class SendIdentities(BaseModel):
    """The enabled addresses, by address."""

    items: list[SendIdentityAnswer]


class OutboundAnswer(BaseModel):
    """One message that we send."""

    model_config = ConfigDict(from_attributes=True)

    outbound_id: UUID
    message_id: int
    ticket_id: UUID | None
    ticket: str | None
    kind: OutboundKind
    state: OutboundState
    mailbox: str
    from_address: str
    recipient: str
    subject: str
    created_by: str
    created_at: datetime
    handed_over: int
    handed_over_at: datetime | None
    sent_at: datetime | None
    last_error: str | None
    bounced_at: datetime | None
    bounce_reason: str | None
    job_state: JobState | None = Field(description="Of the job that sends it; null when there is none.")


class OutboundMessages(BaseModel):
    """One page, the newest first."""

    items: list[OutboundAnswer]
    next_cursor: str | None = Field(description="Null on the last page.")


class DecidedAnswer(BaseModel):
    """How the message stands now."""

    outbound_id: UUID
    state: OutboundState


@router.get("/tickets/send-identities")
def list_send_identities(session: SignedIn, connection: Transaction) -> SendIdentities:
    """Return the addresses of the organization that are enabled."""
    found = outbound.send_identities(connection, session.org_id, only_enabled=True)
    return SendIdentities(
        items=[
            SendIdentityAnswer(
                id=one.identity_id,
                mailbox_id=one.mailbox_id,
                from_email=one.from_email,
                display_name=one.display_name,
                status=one.status,
                is_enabled=one.is_enabled,
            )
            for one in found
        ]
    )


@router.post("/tickets/{ticket_id}/reply", status_code=202)
def reply(
    *,
    ticket: OwnTicket,
    asked: ReplyRequest,
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    request_key: RequestKey = None,
) -> ReplyAnswer:
    """Queue a reply; it is sent exactly once, or a person is asked."""
    try:
        queued = replies.reply(
            connection,
            services.reply_tokens,
            org_id=session.org_id,
            ticket_id=ticket.ticket_id,
            identity_id=asked.send_identity_id,
            to=asked.to_emails,
            cc=asked.cc_emails,
            subject=asked.subject,
            body_text=asked.body_text,
            created_by=session.email,
            request_key=request_key,
        )
    except UnknownIdentity as error:
        raise Refusal(404, str(error)) from error
    return ReplyAnswer(job_id=queued.job_id, message_id=queued.message_id, oss_message_id=queued.outbound_id)


@router.get("/outbound")
def list_outbound(
    *,
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    state: OutboundState | None = None,
    ticket_id: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=1024)] = None,
) -> OutboundMessages:
    """Return the organization's outbound messages."""
    bound = {"list": "outbound", "org": session.org_id, "state": state, "ticket": ticket_id}
    found = outbound.outbound_messages(
        connection,
        org_id=session.org_id,
        state=state,
        ticket_id=ticket_id,
        before=services.cursors.read(cursor, bound),
        limit=limit + 1,
        reach=ticket_reach(session),
    )
    page = found[:limit]
    next_cursor = services.cursors.make(page[-1].message_id, bound) if len(found) > limit else None
    return OutboundMessages(items=[OutboundAnswer.model_validate(one) for one in page], next_cursor=next_cursor)


@router.post("/outbound/{outbound_id}/retry")
def retry(outbound_id: UUID, session: SignedIn, connection: Transaction) -> DecidedAnswer:
    """Send a message again that failed, is unknown or got stuck; whoever asks answers for a second copy."""
    _own(connection, session, outbound_id)
    replies.retry(connection, outbound_id, actor=session.email, org_id=session.org_id)
    return DecidedAnswer(outbound_id=outbound_id, state=OutboundState.QUEUED)


@router.post("/outbound/{outbound_id}/settle")
def settle(outbound_id: UUID, session: SignedIn, connection: Transaction) -> DecidedAnswer:
    """Note that a message whose fate is unknown did leave."""
    _own(connection, session, outbound_id)
    replies.settle(connection, outbound_id, actor=session.email, org_id=session.org_id)
    return DecidedAnswer(outbound_id=outbound_id, state=OutboundState.SENT)


@router.post("/outbound/{outbound_id}/cancel")
def cancel(outbound_id: UUID, session: SignedIn, connection: Transaction) -> DecidedAnswer:
    """Keep a message from being sent that is still queued."""
    _own(connection, session, outbound_id)
    replies.cancel(connection, outbound_id, actor=session.email, org_id=session.org_id)
    return DecidedAnswer(outbound_id=outbound_id, state=OutboundState.CANCELLED)


def _own(connection: Transaction, session: SignedIn, outbound_id: UUID) -> None:
    if outbound.outbound_message(connection, outbound_id, session.org_id, ticket_reach(session)) is None:
        raise Refusal(404, "your organization has no such outbound message")
