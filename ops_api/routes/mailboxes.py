"""Mailboxes and their synchronisation (contract 001, sync admin endpoints)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field, StringConstraints

from models.enums import MailboxState, Provider
from models.queries import overview
from models.queries.sync import HELD_BACK, SyncStatus
from ops_api.dependencies import OwnMailbox, SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.job_types import by_type, type_of
from pipeline.commands import sync

router = APIRouter(route_class=GuardedRoute, tags=["mailboxes"])

Minutes = Annotated[int, Query(ge=1, le=10_080, description="How long; a week at most.")]
Reason = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
]


class MailboxAnswer(BaseModel):
    """A mailbox."""

    id: UUID
    #: Every mailbox is read whole: what the contract calls a journal.
    purpose: Literal["journal"] = "journal"
    provider: Provider
    email_address: str
    state: MailboxState
    is_enabled: bool = Field(description="False while a person must act before it is read.")
    paused_until: datetime | None
    pause_reason: str | None
    paused_by: str | None = Field(description="A person, or `breaker`.")
    created_at: datetime


class EnqueuedAnswer(BaseModel):
    """What was asked for. Asking again while it waits or runs names the same job."""

    job_type: str
    job_id: int | None


class SyncAnswer(BaseModel):
    """How a mailbox's synchronisation stands, by the database's clock."""

    mailbox_id: UUID
    state: MailboxState
    is_enabled: bool
    paused_until: datetime | None
    pause_reason: str | None
    paused_by: str | None = Field(description="A person, or `breaker`.")
    gmail_history_id: int | None
    last_full_sync_at: datetime | None
    last_incremental_sync_at: datetime | None
    last_sync_error: str | None
    sync_lag_seconds: int | None
    queued_jobs_by_type: dict[str, int]
    running_jobs_by_type: dict[str, int]


class PausedAnswer(BaseModel):
    """A mailbox that is not read until a time."""

    mailbox_id: UUID
    paused: Literal[True] = True
    paused_until: datetime
    pause_reason: str
    paused_by: str


class ResumedAnswer(BaseModel):
    """A mailbox that is read again; the job is null when there is no history to ask for."""

    mailbox_id: UUID
    resumed: Literal[True] = True
    history_sync_job_id: int | None


@router.get("/mailboxes")
def list_mailboxes(session: SignedIn, connection: Transaction) -> list[MailboxAnswer]:
    """Return the organization's mailboxes by address."""
    return [
        MailboxAnswer(
            id=mailbox.mailbox_id,
            provider=mailbox.provider,
            email_address=mailbox.address,
            state=mailbox.state,
            is_enabled=mailbox.state not in (MailboxState.AUTH_REQUIRED, MailboxState.BLOCKED),
            paused_until=mailbox.paused_until,
            pause_reason=mailbox.state_reason if mailbox.state in HELD_BACK else None,
            paused_by=mailbox.paused_by if mailbox.state in HELD_BACK else None,
            created_at=mailbox.created_at,
        )
        for mailbox in overview.mailboxes_of(connection, session.org_id)
    ]


@router.post("/mailboxes/{mailbox_id}/sync/backfill")
def backfill(
    mailbox_id: OwnMailbox,
    connection: Transaction,
    since: Annotated[AwareDatetime | None, Query(description="How far back; everything when absent.")] = None,
) -> EnqueuedAnswer:
    """List the whole mailbox; joins a listing that is under way."""
    return EnqueuedAnswer(job_type=type_of("backfill"), job_id=sync.request_backfill(connection, mailbox_id, since))


@router.post("/mailboxes/{mailbox_id}/sync/history")
def history(mailbox_id: OwnMailbox, connection: Transaction) -> EnqueuedAnswer:
    """Read what changed since the cursor; 409 for a mailbox of files, which have no history."""
    return EnqueuedAnswer(job_type=type_of("history"), job_id=sync.request_history(connection, mailbox_id))


@router.post("/mailboxes/{mailbox_id}/sync/pause")
def pause(
    mailbox_id: OwnMailbox,
    session: SignedIn,
    connection: Transaction,
    minutes: Minutes = 30,
    reason: Reason = "paused by an operator",
) -> PausedAnswer:
    """Stop reading the mailbox for a while; nothing is lost, it goes on by itself. 409 while a person must act."""
    until = sync.pause(connection, mailbox_id, timedelta(minutes=minutes), reason, session.email)
    return PausedAnswer(mailbox_id=mailbox_id, paused_until=until, pause_reason=reason, paused_by=session.email)


@router.post("/mailboxes/{mailbox_id}/sync/resume")
def resume(mailbox_id: OwnMailbox, connection: Transaction) -> ResumedAnswer:
    """Read the mailbox again at once."""
    return ResumedAnswer(mailbox_id=mailbox_id, history_sync_job_id=sync.resume(connection, mailbox_id))


def sync_fields(found: SyncStatus) -> dict[str, Any]:
    """Return the fields of `SyncAnswer`, with jobs under the contract's names."""
    return {
        "mailbox_id": found.mailbox_id,
        "state": found.state,
        "is_enabled": found.is_enabled,
        "paused_until": found.paused_until,
        "pause_reason": found.pause_reason,
        "paused_by": found.paused_by,
        "gmail_history_id": found.gmail_history_id,
        "last_full_sync_at": found.last_full_sync_at,
        "last_incremental_sync_at": found.last_incremental_sync_at,
        "last_sync_error": found.last_sync_error,
        "sync_lag_seconds": found.sync_lag_seconds,
        "queued_jobs_by_type": by_type(found.queued_jobs_by_type),
        "running_jobs_by_type": by_type(found.running_jobs_by_type),
    }
