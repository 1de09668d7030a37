"""`fieldpost reprocess`: a step done again with what is stored: compared in shadow, then applied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, TypeAlias
from uuid import UUID

import orjson
import typer
from sqlalchemy import Connection

from models.enums import Lane, ReprocessKind, ReprocessState
from models.queries import queue
from models.queries import reprocessing as queries
from models.queries.reprocessing import Difference, Reprocessing
from ops_api.cli.bells import ring
from ops_api.cli.options import LARGEST_ID, AsJson, Data, Organization
from ops_api.cli.output import line_of, print_fields, print_json, print_table, remark
from ops_api.cli.person import actor
from ops_api.cli.roles import Crew, workers_for
from ops_api.cli.session import Runtime, begin, open_runtime, warn_without_workers
from ops_api.cli.waiting import POLL, patiently
from ops_api.wording import clock, counted
from pipeline.commands import reprocessing as commands
from pipeline.commands.mailboxes import find_mailbox, find_organization
from pipeline.runtime.errors import UserError
from pipeline.runtime.ledger import Line
from pipeline.runtime.mailboxes import load_mailboxes

app = typer.Typer(add_completion=False, no_args_is_help=True)

_LINE = Line("reprocess", Lane.REPAIR)
_TELL_EVERY = timedelta(seconds=3)

Id: TypeAlias = Annotated[
    int, typer.Argument(metavar="ID", min=1, max=LARGEST_ID, help="The repetition.", show_default=False)
]
Wait: TypeAlias = Annotated[bool, typer.Option("--wait", help="Wait until it needs a person, or is over.")]
#: Asks for something in a transaction; returns the repetition that is meant.
Ask = Callable[[Connection], int]


@app.callback()
def reprocess() -> None:
    """Do a step again with what is stored: see what would change, then apply it. No provider is asked."""


@app.command()
def start(
    kind: Annotated[ReprocessKind, typer.Argument(help="The step.", show_default=False)],
    mailbox: Annotated[
        str | None, typer.Option("--mailbox", metavar="MAILBOX", help="Only what it holds.", show_default=False)
    ] = None,
    org: Organization = None,
    wait: Wait = False,
    *,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Compare what is stored with what a step would make of it today. Changes nothing.

    Example: fieldpost reprocess start parse --mailbox support@example.org --wait

    Exit codes: 0 asked for (with --wait: compared), 2 bad input or configuration.
    """

    def ask(connection: Connection) -> int:
        org_id, mailbox_id = _scope(connection, mailbox, org)
        return commands.start(connection, org_id, mailbox_id, kind, actor())

    _run(data, ask, wait=wait, as_json=as_json)


@app.command("list")
def list_all(
    org: Organization = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="At most so many, the newest first.")] = 20,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List repetitions, the newest first.

    Example: fieldpost reprocess list

    Exit codes: 0 listed, 2 bad input or configuration.
    """
    settings, where = begin("reprocess", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        found = queries.recent(connection, find_organization(connection, org), limit=limit)
    if as_json:
        print_json([_as_json(one) for one in found])
        return
    rows = [
        (one.reprocessing_id, one.kind, one.mailbox or "all", one.state, f"{one.seen:,} of {one.total:,}",
         f"{one.changed:,}", f"{one.applied:,}", f"{one.refused:,}", clock(one.started_at), one.started_by)
        for one in found
    ]  # fmt: skip
    columns = ("id", "step", "mailbox", "state", "compared", "differ", "applied", "refused", "started", "by")
    print_table(columns, rows, empty="No step was ever done again.")


@app.command()
def show(
    run_id: Id,
    limit: Annotated[int, typer.Option(min=0, max=10_000, help="At most so many differences.")] = 10,
    field: Annotated[str | None, typer.Option("--field", help="Only what differs in it.", show_default=False)] = None,
    org: Organization = None,
    *,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what would change, or has changed: how often in each field, then examples.

    Example: fieldpost reprocess show 3 --field subject --limit 20

    Exit codes: 0 shown, 2 no such repetition, or bad configuration.
    """
    settings, where = begin("reprocess", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        found = _find(connection, find_organization(connection, org), run_id)
        fields = queries.fields(connection, run_id)
        some = queries.differences(connection, run_id, limit=limit, field=field)
    if as_json:
        print_json(_as_json(found) | {"fields": fields, "differences": [asdict(one) for one in some]})
        return
    _show(found)
    print_table(("field", "differ"), fields.items(), empty="Nothing would change.")
    _show_differences(some)


@app.command()
def apply(run_id: Id, org: Organization = None, wait: Wait = False, data: Data = None, as_json: AsJson = False) -> None:
    """Make the changes that were compared: only what still is as it was then, and nothing twice.

    Example: fieldpost reprocess apply 3 --wait

    Exit codes: 0 asked for (with --wait: applied), 1 some were refused, 2 bad input or configuration.
    """

    def ask(connection: Connection) -> int:
        commands.apply(connection, find_organization(connection, org), run_id, actor())
        return run_id

    _run(data, ask, wait=wait, as_json=as_json)


@app.command()
def cancel(run_id: Id, org: Organization = None, data: Data = None, as_json: AsJson = False) -> None:
    """End a repetition where it is; what it has changed already stays changed.

    Example: fieldpost reprocess cancel 3

    Exit codes: 0 cancelled, 2 bad input or configuration.
    """
    settings, where = begin("reprocess", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        org_id = find_organization(connection, org)
        commands.cancel(connection, org_id, run_id)
        found = _find(connection, org_id, run_id)
    if as_json:
        print_json(_as_json(found))
    else:
        print(f"repetition {run_id} is cancelled")


def _scope(connection: Connection, mailbox: str | None, org: str | None) -> tuple[UUID, UUID | None]:
    if mailbox is None:
        return find_organization(connection, org), None
    mailbox_id = find_mailbox(connection, mailbox)
    return load_mailboxes(connection, [mailbox_id])[mailbox_id].org_id, mailbox_id


def _run(data: Path | None, ask: Ask, *, wait: bool, as_json: bool) -> None:
    settings, where = begin("reprocess", data)
    with open_runtime(settings, where, start=wait) as runtime:
        found, workers = _ask_and_wait(runtime, ask) if wait else _ask_only(runtime, ask)
    if as_json:
        print_json(_as_json(found))
    else:
        _show(found)
        remark(_next_step(found))
    if not wait:
        warn_without_workers(workers)
    if found.state is ReprocessState.APPLIED and found.refused > found.failed:
        raise typer.Exit(1)


def _ask_only(runtime: Runtime, ask: Ask) -> tuple[Reprocessing, int]:
    with runtime.db.begin() as connection:
        found = _any(connection, ask(connection))
        workers = len(queue.live_workers(connection))
    ring(runtime.settings, [_LINE])
    return found, workers


def _ask_and_wait(runtime: Runtime, ask: Ask) -> tuple[Reprocessing, int]:
    with workers_for(runtime) as crew:
        found, workers = _ask_only(runtime, ask)
        tell_at = runtime.clock.monotonic() + _TELL_EVERY.total_seconds()
        while found.is_running:
            found = _look(runtime, crew, found.reprocessing_id)
            if runtime.clock.monotonic() >= tell_at:
                remark(_next_step(found))
                tell_at += _TELL_EVERY.total_seconds()
            runtime.clock.wait(POLL)
        return found, workers


def _look(runtime: Runtime, crew: Crew | None, run_id: int) -> Reprocessing:
    """Return how it stands. Raises `UserError` when it does not go on by itself."""

    def look() -> tuple[Reprocessing, bool]:
        with runtime.db.begin() as connection:
            # In this order: what ends in between leaves its job last.
            is_stuck = queries.is_dead(connection, run_id)
            return _any(connection, run_id), is_stuck

    found, is_stuck = patiently(runtime, crew, partial(look))
    if is_stuck and found.is_running:
        raise UserError("it waits for a person to act: see `fieldpost dlq list --stage reprocess`")
    return found


def _any(connection: Connection, run_id: int) -> Reprocessing:
    found = queries.find(connection, None, run_id)
    assert found is not None
    return found


def _find(connection: Connection, org_id: UUID, run_id: int) -> Reprocessing:
    found = queries.find(connection, org_id, run_id)
    if found is None:
        raise UserError(f"there is no repetition {run_id}; see `fieldpost reprocess list`")
    return found


def _next_step(found: Reprocessing) -> str:
    run_id = found.reprocessing_id
    return {
        ReprocessState.COMPARING: f"{found.seen:,} of {found.total:,} compared",
        ReprocessState.COMPARED: f"see `fieldpost reprocess show {run_id}`, then `fieldpost reprocess apply {run_id}`",
        ReprocessState.APPLYING: f"{found.applied:,} of {found.changed:,} applied",
        ReprocessState.APPLIED: f"{counted(found.applied, 'change')} applied",
        ReprocessState.CANCELLED: "cancelled",
    }[found.state]


def _show(found: Reprocessing) -> None:
    print_fields(
        [
            ("repetition", found.reprocessing_id),
            ("step", f"{found.kind}, version {found.version}"),
            ("mailbox", found.mailbox or "all"),
            ("state", found.state),
            ("compared", f"{found.seen:,} of {found.total:,}"),
            ("differ", f"{found.changed:,}"),
            ("failed", f"{found.failed:,}" if found.failed else None),
            ("applied", f"{found.applied:,}" if found.applied_by else None),
            ("left as it was", f"{found.refused - found.failed:,}" if found.refused > found.failed else None),
            ("started", f"{clock(found.started_at)} by {found.started_by}"),
            ("applied by", found.applied_by),
        ]
    )


def _show_differences(some: list[Difference]) -> None:
    for one in some:
        state = "applied" if one.applied_at else f"refused: {one.refused}" if one.refused else "would change"
        print(f"\n{one.subject}  ({line_of(state)})")
        print_fields((name, f"{_short(before)}  ->  {_short(after)}") for name, (before, after) in one.changes.items())


def _short(value: object) -> str:
    """Return a value on one line; a long one by where it begins to differ."""
    if isinstance(value, dict) and set(value) == {"at", "length", "part", "sha256"}:
        return line_of(f"…{value['part']}".replace("\n", " "), 100) + f" ({value['length']:,} characters)"
    said = value if isinstance(value, str) else orjson.dumps(value).decode()
    return line_of(said.replace("\n", " "), 100)


def _as_json(found: Reprocessing) -> dict[str, object]:
    return {name: value for name, value in asdict(found).items() if name not in ("org_id", "mailbox_id")}
