"""Quarantined messages: listed with their causes, and released by a person."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from models.enums import QuarantineCause
from models.queries import quarantine as reading
from ops_api.answers import Refusal
from ops_api.dependencies import Provided, SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.letter_filters import Reason
from ops_api.routes.dead_letters import Limit
from pipeline.commands import quarantine as commands

router = APIRouter(route_class=GuardedRoute, tags=["quarantine"])

QuarantineId = Annotated[str, Path(max_length=64, description="The id of a quarantined message, as listed.")]
_LARGEST_ID = 2**63 - 1


class QuarantinedAnswer(BaseModel):
    """A message that was set aside, and why; its raw bytes are kept."""

    model_config = ConfigDict(from_attributes=True)

    quarantine_id: int
    cause: QuarantineCause
    evidence: str = Field(description="What showed it, in words.")
    stage: str = Field(description="The step it goes on with when it is released.")
    quarantined_at: AwareDatetime
    occurrence_id: int
    mailbox_id: UUID
    mailbox: str
    provider_id: str
    message_id: int | None
    subject: str | None
    sender: str | None
    machine: str | None
    received_at: AwareDatetime | None
    snippet: str | None
    ticket_id: UUID | None = Field(description="The ticket it stands in already; null for most.")


class QuarantinedMessages(BaseModel):
    """One page, the newest first."""

    items: list[QuarantinedAnswer]
    next_cursor: str | None = Field(description="Null on the last page.")
    total: int = Field(description="Messages that wait, of the cause that was asked for.")


class ReleaseRequest(BaseModel):
    """Why; kept with the message."""

    reason: Reason


class ReleasedAnswer(BaseModel):
    """The message goes on its way to a ticket."""

    status: str = "released"
    quarantine_ids: list[int] = Field(description="It, and what else is the same message in other mailboxes.")


@router.get("/ops/quarantine")
def list_quarantine(
    *,
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    cause: QuarantineCause | None = None,
    limit: Limit = 50,
    cursor: Annotated[str | None, Query(max_length=1024)] = None,
) -> QuarantinedMessages:
    """Return the organization's messages that wait in quarantine."""
    bound: dict[str, object] = {"list": "quarantine", "org_id": session.org_id, "cause": cause}
    before_id = services.cursors.read(cursor, bound)
    found = reading.find(connection, org_id=session.org_id, cause=cause, before_id=before_id, limit=limit + 1)
    page = found[:limit]
    return QuarantinedMessages(
        items=[QuarantinedAnswer.model_validate(one) for one in page],
        next_cursor=services.cursors.make(page[-1].quarantine_id, bound) if len(found) > limit else None,
        total=reading.count(connection, org_id=session.org_id, cause=cause),
    )


@router.post("/ops/quarantine/{quarantine_id}/release")
def release(
    quarantine_id: QuarantineId, session: SignedIn, connection: Transaction, asked: ReleaseRequest
) -> ReleasedAnswer:
    """Let a message go on; nothing screens it again. Of equal calls one releases, the others get 404."""
    number = int(quarantine_id) if quarantine_id.isascii() and quarantine_id.isdecimal() else 0
    ids = [number] if 0 < number <= _LARGEST_ID else []
    done = commands.release(connection, ids, org_id=session.org_id, actor=session.email, reason=asked.reason)
    if not done.quarantine_ids:
        raise Refusal(
            404, f"your organization has nothing {quarantine_id[:64]} in quarantine; it may be released already"
        )
    return ReleasedAnswer(quarantine_ids=list(done.quarantine_ids))
