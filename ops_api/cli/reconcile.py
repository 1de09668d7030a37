"""`fieldpost reconcile`: lists a mailbox's ids again and corrects the ledger, or only tells the difference."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Annotated
from uuid import UUID

import typer

from models.enums import ReconcileScope
from models.queries import comparisons, queue, summary, sync
from models.queries.comparisons import Reconcile
from ops_api.cli.bells import RECONCILE, ring
from ops_api.cli.options import AsJson, Data, Mailbox
from ops_api.cli.output import print_fields, print_json, remark, span
from ops_api.cli.person import actor
from ops_api.cli.roles import workers_for
from ops_api.cli.session import Runtime, begin, open_runtime, warn_without_workers
from ops_api.cli.status import compared_as_json
from ops_api.cli.waiting import POLL, patiently, why_waiting
from ops_api.wording import counted
from pipeline.commands.mailboxes import find_mailbox
from pipeline.commands.reconcile import request_reconcile
from pipeline.runtime.errors import UserError

_TELL_EVERY = timedelta(seconds=3)

app = typer.Typer(add_completion=False)


@app.command()
def reconcile(
    mailbox: Mailbox,
    audit: Annotated[
        bool, typer.Option("--audit", help="Change nothing: what is missing becomes a gap that `gaps --fill` fills.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is finished, then show what it found.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Compare all ids and labels of a mailbox with its provider; fetch what is missing, mark what is gone.

    The workers do it, within the mailbox's budgets; it joins a comparison that is under way. Every night the last 8
    days are compared by themselves, and once a week everything.

    Example: fieldpost reconcile support@example.org --audit --wait

    Exit codes: 0 asked for (with --wait: nothing was missing), 1 ids were missing, 2 bad input or configuration.
    """
    scope = ReconcileScope.AUDIT if audit else ReconcileScope.FULL
    settings, where = begin("reconcile", data)
    with open_runtime(settings, where, start=wait) as runtime:
        with runtime.db.begin() as connection:
            mailbox_id = find_mailbox(connection, mailbox)
        if not wait:
            _ask_only(runtime, mailbox, mailbox_id, scope, as_json=as_json)
            return
        found = _ask_and_wait(runtime, mailbox, mailbox_id, scope)
    _finish(mailbox, found, as_json=as_json)


def _ask(runtime: Runtime, mailbox_id: UUID, scope: ReconcileScope) -> UUID:
    with runtime.db.begin() as connection:
        found = request_reconcile(connection, mailbox_id, scope, actor())
    ring(runtime.settings, [RECONCILE])
    return found


def _ask_only(runtime: Runtime, mailbox: str, mailbox_id: UUID, scope: ReconcileScope, *, as_json: bool) -> None:
    reconcile_id = _ask(runtime, mailbox_id, scope)
    with runtime.db.begin() as connection:
        workers = len(queue.live_workers(connection))
    if as_json:
        print_json({"mailbox": mailbox, "reconcile_id": str(reconcile_id), "live_workers": workers})
    else:
        print(f"asked for the comparison of {mailbox}; `fieldpost status {mailbox}` shows what it found")
    warn_without_workers(workers)


def _ask_and_wait(runtime: Runtime, mailbox: str, mailbox_id: UUID, scope: ReconcileScope) -> Reconcile:
    with workers_for(runtime) as crew:
        reconcile_id = _ask(runtime, mailbox_id, scope)
        tell_at = runtime.clock.monotonic() + _TELL_EVERY.total_seconds()
        while True:
            found, said = patiently(runtime, crew, partial(_look, runtime, mailbox_id, reconcile_id))
            if not found.is_running:
                return found
            if said is None:
                raise UserError(f"the comparison waits for a person to act; see `fieldpost status {mailbox}`")
            if runtime.clock.monotonic() >= tell_at:
                remark(said)
                tell_at += _TELL_EVERY.total_seconds()
            runtime.clock.wait(POLL)


def _look(runtime: Runtime, mailbox_id: UUID, reconcile_id: UUID) -> tuple[Reconcile, str | None]:
    """Return the comparison, and where it is; None when it does not go on by itself."""
    with runtime.db.begin() as connection:
        # In this order: what ends in between leaves its job last.
        (mailbox,) = sync.sync_status(connection, [mailbox_id])
        is_going = mailbox.is_enabled and queue.is_busy(connection, mailbox_id)
        found = comparisons.find(connection, reconcile_id)
        waits = queue.waits(connection, [mailbox_id])
        now = summary.database_time(connection)
    if not is_going:
        return found, None
    return found, "; ".join(filter(None, [_where(found), why_waiting(waits, now)]))


def _where(found: Reconcile) -> str:
    if found.listed_at is not None:
        return f"{found.listed:,} ids listed; waits for the changes since"
    return f"{found.listed:,} ids listed; now {found.label or 'all mail'}, {counted(found.labels_left, 'label')} to go"


def _finish(mailbox: str, found: Reconcile, *, as_json: bool) -> None:
    if as_json:
        print_json({"mailbox": mailbox} | compared_as_json(found))
    else:
        took = None if found.finished_at is None else span(found.finished_at - found.started_at)
        print_fields(
            [
                ("mailbox", mailbox),
                ("compared", "all ids and labels" if found.since is None else f"since {found.since:%Y-%m-%d}"),
                ("ids at the provider", f"{found.listed:,}"),
                ("missing here", f"{found.missing:,}"),
                (
                    "gone there",
                    "not believed: asked for, some are still there" if found.is_doubted else f"{found.vanished:,}",
                ),
                ("other labels", f"{found.relabelled:,}"),
                ("took", took),
            ]
        )
    if found.missing:
        is_audit = found.scope is ReconcileScope.AUDIT
        remark(
            f"fill the gap with `fieldpost gaps {mailbox} --fill`" if is_audit else "what was missing is being fetched"
        )
        raise typer.Exit(1)
