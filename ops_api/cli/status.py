"""`fieldpost status`: how mailboxes stand, how fast they go, and why they wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy import Connection

from dlq import reading
from models.enums import MailboxState
from models.queries import queue, summary, sync
from ops_api.cli.options import AsJson, Data
from ops_api.cli.output import ago, line_of, print_fields, print_json, print_table, span
from ops_api.cli.session import begin, open_runtime
from ops_api.cli.waiting import reason
from pipeline.commands.mailboxes import find_mailbox

#: Stages whose jobs are one message each.
_CHAIN = ("fetch", "parse", "stitch", "routing")

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything `status` tells, read in one transaction; `now` is the database's."""

    now: datetime
    mailboxes: Sequence[sync.SyncStatus]
    listings: Mapping[UUID, sync.Listing]
    waits: Sequence[queue.Wait]
    blocked: Mapping[UUID, int]
    letters: Mapping[UUID | None, int]
    workers: Sequence[queue.LiveWorker]
    per_minute: int

    def remaining(self, mailbox: sync.SyncStatus) -> int:
        """Return how many messages are known to be still on their way, those not listed yet by the estimate."""
        jobs = (mailbox.queued_jobs_by_type, mailbox.running_jobs_by_type)
        known = sum(by_type.get(stage, 0) for by_type in jobs for stage in _CHAIN)
        listing = self.listings.get(mailbox.mailbox_id)
        return known if listing is None else known + max(0, (listing.estimate or 0) - listing.listed)

    def eta(self, mailbox: sync.SyncStatus) -> timedelta | None:
        """Return when a mailbox is through: the rate is shared evenly by the mailboxes that have work."""
        mine = self.remaining(mailbox)
        if not mine or not self.per_minute:
            return None
        shared = sum(min(mine, self.remaining(other)) for other in self.mailboxes)
        return timedelta(minutes=shared / self.per_minute)

    def why(self, mailbox: sync.SyncStatus) -> list[str]:
        """Return in words what holds a mailbox up; empty when nothing does."""
        said = list(_state_reasons(mailbox))
        said += [reason(wait, self.now) for wait in self.waits if wait.mailbox_id == mailbox.mailbox_id]
        if self.blocked.get(mailbox.mailbox_id):
            said.append(f"{self.blocked[mailbox.mailbox_id]} jobs are parked until a person acts")
        if (mailbox.queued_jobs_by_type or mailbox.running_jobs_by_type) and not self.workers:
            said.append("no worker is alive: run `fieldpost up`")
        letters = self.letters.get(mailbox.mailbox_id)
        if letters:
            said.append(f"{letters} dead letters: see `fieldpost dlq groups --mailbox {mailbox.email}`")
        if mailbox.last_sync_error and mailbox.state is MailboxState.ACTIVE:
            said.append(f"the last reading failed: {line_of(mailbox.last_sync_error)}")
        return said


@app.command()
def status(
    mailbox: Annotated[str | None, typer.Argument(metavar="[MAILBOX]", help="One mailbox; all unless given.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show how mailboxes stand: state, lag, jobs by stage, rate over the last minute, time left, and why they wait.

    With --json an object for one mailbox, an array for all.

    Example: fieldpost status support@example.org

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("status", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        wanted = None if mailbox is None else find_mailbox(connection, mailbox)
        found = _read(connection)
    if wanted is None:
        _show_all(found, as_json=as_json)
        return
    one = next(each for each in found.mailboxes if each.mailbox_id == wanted)
    if as_json:
        print_json(_as_json(found, one))
    else:
        _show_one(found, one)


def _read(connection: Connection) -> Snapshot:
    return Snapshot(
        now=summary.database_time(connection),
        mailboxes=sync.sync_status(connection),
        listings=sync.listings(connection),
        waits=queue.waits(connection),
        blocked=queue.blocked(connection),
        letters=reading.open_by_mailbox(connection),
        workers=queue.live_workers(connection),
        per_minute=queue.parsed_last_minute(connection),
    )


def _state_reasons(mailbox: sync.SyncStatus) -> list[str]:
    if mailbox.state is MailboxState.AUTH_REQUIRED:
        error = f" ({line_of(mailbox.last_sync_error)})" if mailbox.last_sync_error else ""
        return [f"waits for authorization{error}: connect it again with `fieldpost mailbox add`"]
    if mailbox.state is MailboxState.PAUSED and mailbox.paused_until is not None:
        why = f" ({mailbox.pause_reason})" if mailbox.pause_reason else ""
        return [f"paused until {mailbox.paused_until:%Y-%m-%d %H:%M} UTC{why}"]
    return []


def _as_json(found: Snapshot, mailbox: sync.SyncStatus) -> dict[str, object]:
    listing, eta = found.listings.get(mailbox.mailbox_id), found.eta(mailbox)
    return {
        "mailbox": mailbox.email,
        "mailbox_id": str(mailbox.mailbox_id),
        "provider": mailbox.provider,
        "state": mailbox.state,
        "paused_until": mailbox.paused_until,
        "cursor_known": mailbox.gmail_history_id is not None,
        "last_full_sync_at": mailbox.last_full_sync_at,
        "last_incremental_sync_at": mailbox.last_incremental_sync_at,
        "last_sync_error": mailbox.last_sync_error,
        "sync_lag_seconds": mailbox.sync_lag_seconds,
        "backfill": None if listing is None else {"listed": listing.listed, "estimate": listing.estimate},
        "queued": mailbox.queued_jobs_by_type,
        "running": mailbox.running_jobs_by_type,
        "remaining": found.remaining(mailbox),
        "messages_last_minute": found.per_minute,
        "eta_seconds": None if eta is None else round(eta.total_seconds()),
        "dead_letters": found.letters.get(mailbox.mailbox_id, 0),
        "live_workers": len(found.workers),
        "why_slow": found.why(mailbox),
    }


def _show_all(found: Snapshot, *, as_json: bool) -> None:
    if as_json:
        print_json([_as_json(found, mailbox) for mailbox in found.mailboxes])
        return
    rows = [
        (
            mailbox.email,
            mailbox.state.value.replace("_", " "),
            _lag(mailbox),
            sum(mailbox.queued_jobs_by_type.values()),
            sum(mailbox.running_jobs_by_type.values()),
            _eta(found, mailbox),
            "; ".join(found.why(mailbox)) or None,
        )
        for mailbox in found.mailboxes
    ]
    columns = ("mailbox", "state", "lag", "queued", "running", "time left", "why")
    empty = "No mailbox yet: add one with `fieldpost mailbox add` or `fieldpost import`."
    print_table(columns, rows, empty=empty, wrapped=("why",))
    print(f"{len(found.workers)} live workers, {found.per_minute} new messages in the last minute")


def _show_one(found: Snapshot, mailbox: sync.SyncStatus) -> None:
    listing = found.listings.get(mailbox.mailbox_id)
    print_fields(
        [
            ("mailbox", f"{mailbox.email} ({mailbox.provider})"),
            ("state", mailbox.state.value.replace("_", " ")),
            ("last listed", ago(mailbox.last_full_sync_at, found.now)),
            ("last changes", ago(mailbox.last_incremental_sync_at, found.now)),
            ("cursor", "known" if mailbox.gmail_history_id is not None else "none"),
            ("listing", None if listing is None else f"{listing.listed} of about {listing.estimate or 'unknown'}"),
            ("queued", _by_stage(mailbox.queued_jobs_by_type)),
            ("running", _by_stage(mailbox.running_jobs_by_type)),
            ("rate", f"{found.per_minute} new messages in the last minute, all mailboxes"),
            ("time left", _eta(found, mailbox)),
            ("workers", f"{len(found.workers)} live"),
            ("why slow", "\n".join(found.why(mailbox)) or None),
        ]
    )


def _by_stage(jobs: Mapping[str, int]) -> str:
    return ", ".join(f"{stage} {number}" for stage, number in sorted(jobs.items())) or "nothing"


def _lag(mailbox: sync.SyncStatus) -> str | None:
    return None if mailbox.sync_lag_seconds is None else span(timedelta(seconds=mailbox.sync_lag_seconds))


def _eta(found: Snapshot, mailbox: sync.SyncStatus) -> str | None:
    eta = found.eta(mailbox)
    return None if eta is None else f"about {span(eta)}"
