"""`fieldpost status`: how mailboxes stand, how fast they go, and why they wait."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Annotated

import typer
from sqlalchemy import Connection

from models.enums import MailboxState, Provider
from models.queries import summary, sync
from models.queries.comparisons import Reconcile
from models.queries.progress import Listing
from ops_api import silence, silence_words, standing
from ops_api.cli.options import AsJson, Data
from ops_api.cli.output import ago, print_fields, print_json, print_table, remark, span
from ops_api.cli.session import begin, open_runtime
from ops_api.silence import Expected, Silences
from ops_api.standing import Standing
from ops_api.wording import clock, counted
from pipeline.commands.mailboxes import find_mailbox

app = typer.Typer(add_completion=False)


@app.command()
def status(
    mailbox: Annotated[str | None, typer.Argument(metavar="[MAILBOX]", help="One mailbox; all unless given.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show how mailboxes stand: state, lag, jobs by stage, rate over the last minute, time left, and why they wait.

    For one mailbox also how far its listing is, how many ids came how far, gaps, and the last comparison with its
    provider. Without a mailbox also what of the installation stands still: jobs that are later than promised, and
    things that no job takes on. With --json an object for one mailbox, an array for all; what stands still on stderr.

    Example: fieldpost status support@example.org

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("status", data)
    with open_runtime(settings, where) as runtime:
        expected = Expected.of(runtime.settings)
        with runtime.db.begin() as connection:
            chosen = None if mailbox is None else [find_mailbox(connection, mailbox)]
            found = standing.read(connection, chosen, pace=expected.pace)
            if chosen is not None:
                _show_one(connection, found, found.mailboxes[0], as_json=as_json)
                return
        _show_all(found, as_json=as_json)
        _tell(silence.look_twice(runtime.db, runtime.clock, partial(silence.read, expected=expected)), as_json=as_json)


def _tell(found: Silences, *, as_json: bool) -> None:
    """Say what of the installation stands still, beside the answer: mailboxes tell of themselves."""
    tell = remark if as_json else print
    for said in silence_words.sentences(replace(found, readings=())):
        tell(said.line)


def _show_all(found: Standing, *, as_json: bool) -> None:
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


def _show_one(connection: Connection, found: Standing, mailbox: sync.SyncStatus, *, as_json: bool) -> None:
    mailbox_id = mailbox.mailbox_id
    states = {state: number for state, number in summary.by_state(connection, mailbox_id).items() if number}
    if as_json:
        print_json(_as_json(found, mailbox) | {"by_state": states})
        return
    print_fields(
        [
            ("mailbox", f"{mailbox.email} ({mailbox.provider})"),
            ("state", _state(mailbox)),
            ("last listed", ago(mailbox.last_full_sync_at, found.now)),
            ("last changes", ago(mailbox.last_incremental_sync_at, found.now)),
            ("cursor", "known" if mailbox.has_cursor else "none"),
            ("listing", _listing(found.listings.get(mailbox_id))),
            ("window", _window(found.listings.get(mailbox_id))),
            ("ids", _counts(states)),
            ("to fetch", f"{found.to_fetch(mailbox_id):,}"),
            ("gaps", _gaps(found, mailbox)),
            ("compared", _compared(found, mailbox)),
            ("announced", _announced(found, mailbox)),
            ("queued", _counts(mailbox.queued_jobs_by_type)),
            ("running", _counts(mailbox.running_jobs_by_type)),
            ("allowed", _pace(found, mailbox)),
            ("rate", f"{found.per_minute} new messages in the last minute, all mailboxes"),
            ("time left", _eta(found, mailbox)),
            ("workers", f"{len(found.workers)} live"),
            ("why slow", "\n".join(found.why(mailbox)) or None),
        ]
    )


def _as_json(found: Standing, mailbox: sync.SyncStatus) -> dict[str, object]:
    mailbox_id, eta = mailbox.mailbox_id, found.eta(mailbox)
    gaps, compared = found.gaps.get(mailbox_id), found.compared.get(mailbox_id)
    return {
        "mailbox": mailbox.email,
        "mailbox_id": str(mailbox_id),
        "provider": mailbox.provider,
        "state": mailbox.state,
        "paused_until": mailbox.paused_until,
        "paused_by": mailbox.paused_by,
        "pause_reason": mailbox.pause_reason,
        "failures_in_row": mailbox.failures_in_row,
        "cursor_known": mailbox.has_cursor,
        "last_full_sync_at": mailbox.last_full_sync_at,
        "last_incremental_sync_at": mailbox.last_incremental_sync_at,
        "last_sync_error": mailbox.last_sync_error,
        "sync_lag_seconds": mailbox.sync_lag_seconds,
        "unsynced_seconds": found.unsynced_seconds(mailbox_id),
        "backfill": _listing_as_json(found.listings.get(mailbox_id)),
        "open_gaps": 0 if gaps is None else gaps.open + gaps.filling,
        "last_reconcile": None if compared is None else compared_as_json(compared),
        "queued": mailbox.queued_jobs_by_type,
        "running": mailbox.running_jobs_by_type,
        "to_fetch": found.to_fetch(mailbox_id),
        "remaining": found.remaining(mailbox_id),
        "messages_last_minute": found.per_minute,
        "eta_seconds": None if eta is None else round(eta.total_seconds()),
        "dead_letters": found.letters.get(mailbox_id, 0),
        "live_workers": len(found.workers),
        "why_slow": found.why(mailbox),
    }


def compared_as_json(found: Reconcile) -> dict[str, object]:
    """Return a comparison as JSON values."""
    return {
        "reconcile_id": str(found.reconcile_id),
        "scope": found.scope,
        "since": found.since,
        "asked_by": found.asked_by,
        "finished_at": found.finished_at,
        "listed": found.listed,
        "missing": found.missing,
        "vanished": found.vanished,
        "relabelled": found.relabelled,
        "is_doubted": found.is_doubted,
    }


def _listing_as_json(listing: Listing | None) -> dict[str, object] | None:
    if listing is None:
        return None
    window = listing.window
    return {
        "since": listing.since,
        "listed": listing.listed,
        "fresh": listing.fresh,
        "estimate": listing.estimate,
        "windows_done": listing.windows_done,
        "restarts": listing.restarts,
        "window": window and {"after": window.after_at, "before": window.before_at, "pages": window.pages},
    }


def _state(mailbox: sync.SyncStatus) -> str:
    said = mailbox.state.value.replace("_", " ")
    if mailbox.state is MailboxState.PAUSED and mailbox.paused_until is not None:
        said += f" until {clock(mailbox.paused_until)} by {mailbox.paused_by or 'somebody'}"
    if mailbox.failures_in_row:
        said += f", {counted(mailbox.failures_in_row, 'failed reading')} in a row"
    return said


def _listing(listing: Listing | None) -> str | None:
    if listing is None:
        return None
    estimate = "" if listing.estimate is None else f" of about {listing.estimate:,}"
    since = "" if listing.since is None else f", back to {listing.since:%Y-%m-%d}"
    return f"{listing.listed:,} ids{estimate}, {listing.fresh:,} new{since}"


def _window(listing: Listing | None) -> str | None:
    if listing is None or listing.window is None:
        return None
    window = listing.window
    after = "the oldest mail" if window.after_at is None else clock(window.after_at)
    before = "now" if window.before_at is None else clock(window.before_at)
    return f"{after} to {before}, {counted(window.pages, 'page')}; {counted(listing.windows_done, 'window')} done"


def _gaps(found: Standing, mailbox: sync.SyncStatus) -> str:
    gaps = found.gaps.get(mailbox.mailbox_id)
    return "none" if gaps is None else f"{gaps.open} open, {gaps.filling} being filled"


def _compared(found: Standing, mailbox: sync.SyncStatus) -> str | None:
    last = found.compared.get(mailbox.mailbox_id)
    if last is None:
        return None if mailbox.provider is Provider.FILES else "never"
    said = f"{ago(last.finished_at, found.now)} ({last.scope}): {counted(last.listed, 'id')}, {last.missing:,} missing"
    return f"{said}; it lacked messages that are still there, nothing was marked as gone" if last.is_doubted else said


def _announced(found: Standing, mailbox: sync.SyncStatus) -> str | None:
    watch = found.watched.get(mailbox.mailbox_id)
    if watch is None:
        return None
    last = ago(watch.pushed_at, found.now) or "nothing yet"
    until = "" if watch.expires_at is None else f", watched until {clock(watch.expires_at)}"
    return f"{watch.state}: {last}{until}"


def _pace(found: Standing, mailbox: sync.SyncStatus) -> str | None:
    pace = found.pace(mailbox.mailbox_id)
    return None if pace is None else f"{pace:,.0f} messages a minute by its budgets"


def _counts(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in sorted(numbers.items())) or "nothing"


def _lag(mailbox: sync.SyncStatus) -> str | None:
    return None if mailbox.sync_lag_seconds is None else span(timedelta(seconds=mailbox.sync_lag_seconds))


def _eta(found: Standing, mailbox: sync.SyncStatus) -> str | None:
    eta = found.eta(mailbox)
    return None if eta is None else f"about {span(eta)}"
