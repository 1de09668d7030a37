"""What operators ask of a mailbox's synchronisation: backfill, history, pause, resume."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import JobState, Lane, MailboxState, Provider
from pipeline.runtime import ledger, listing
from pipeline.runtime.errors import UserError
from pipeline.runtime.jobs import Emit

_MAILBOX = text(
    "SELECT id, org_id, address, provider, state, sync_cursor FROM mailboxes WHERE id = :id FOR NO KEY UPDATE"
)
_PAUSE = text("""
    UPDATE mailboxes SET state = 'paused', state_reason = :reason, paused_until = now() + :duration, paused_at = now(),
                         paused_by = :actor
     WHERE id = :id AND state NOT IN ('auth_required', 'blocked') RETURNING paused_until
""")
_RESUME = text("""
    UPDATE mailboxes SET state = 'active', state_reason = NULL, paused_until = NULL, paused_at = NULL, paused_by = NULL,
                         failures_in_row = 0, trips = 0
     WHERE id = :id AND state <> 'active'
""")
_JOB = text("SELECT id, state FROM jobs WHERE stage = :stage AND key = :key")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A mailbox whose row is locked by this transaction."""

    org_id: UUID
    address: str
    provider: Provider
    state: MailboxState
    cursor: str | None


def request_backfill(connection: Connection, mailbox_id: UUID, since: datetime | None = None) -> int | None:
    """Ask for a listing of the whole mailbox, or back to `since`; return the job's id.

    While one is running this joins it, reaching further back when asked. A paused mailbox keeps the wish.
    """
    mailbox = _locked(connection, mailbox_id)
    listing.ask(connection, mailbox_id, since=since)
    return _put(connection, "backfill", mailbox.org_id, mailbox_id, Lane.BACKFILL)


def request_history(connection: Connection, mailbox_id: UUID) -> int | None:
    """Ask for the changes since the cursor; return the job's id. Without a cursor this lists the mailbox first."""
    mailbox = _locked(connection, mailbox_id)
    if mailbox.provider == Provider.FILES:
        raise UserError(f"{mailbox.address} reads files, which have no history; import them again instead")
    return _put(connection, "history", mailbox.org_id, mailbox_id, Lane.LIVE)


def pause(connection: Connection, mailbox_id: UUID, duration: timedelta, reason: str, actor: str) -> datetime:
    """Stop reading a mailbox for a while; nothing is lost meanwhile. Returns when it goes on by itself.

    Who paused it and why is kept and shown. What is asked for meanwhile is kept, too.
    """
    _locked(connection, mailbox_id)
    until = connection.execute(
        _PAUSE, {"id": mailbox_id, "duration": duration, "reason": reason or "no reason given", "actor": actor}
    ).scalar_one_or_none()
    if until is None:
        raise UserError("the mailbox waits for a person and reads nothing; connect it again instead of pausing it")
    found: datetime = until
    return found


def resume(connection: Connection, mailbox_id: UUID) -> int | None:
    """Read a mailbox again at once: its parked jobs become ready and history is asked for; return that job's id."""
    mailbox = _locked(connection, mailbox_id)
    connection.execute(_RESUME, {"id": mailbox_id})
    ledger.unblock(connection, mailbox_id)
    ledger.hasten(connection, mailbox_id)
    if mailbox.provider == Provider.FILES or mailbox.cursor is None:
        return None
    # A dead history must not keep the mailbox paused: the schedule revives it within the hour.
    return _put(connection, "history", mailbox.org_id, mailbox_id, Lane.LIVE, may_be_dead=True)


def _locked(connection: Connection, mailbox_id: UUID) -> Mailbox:
    row = connection.execute(_MAILBOX, {"id": mailbox_id}).one_or_none()
    if row is None:
        raise UserError(f"unknown mailbox {mailbox_id}")
    return Mailbox(row.org_id, row.address, Provider(row.provider), MailboxState(row.state), row.sync_cursor)


def _put(
    connection: Connection, stage: str, org_id: UUID, mailbox_id: UUID, lane: Lane, *, may_be_dead: bool = False
) -> int | None:
    key = str(mailbox_id)
    ledger.put(connection, [Emit(stage, key, org_id, mailbox_id, lane, 0, secrets.token_hex(16))])
    found = connection.execute(_JOB, {"stage": stage, "key": key}).one_or_none()
    if found is not None and found.state == JobState.DEAD and not may_be_dead:
        raise UserError(f"this mailbox's {stage} is a dead letter; replay it: `fieldpost dlq list --stage {stage}`")
    return None if found is None else int(found.id)
