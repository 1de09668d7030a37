"""`fieldpost dlq bulks`, `bulk` and `cancel`: wishes about many letters, their progress and their result lists."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, TypeAlias

import typer
from rich.markup import escape
from rich.panel import Panel

from dlq import bulk_reading, bulks, history
from dlq.bulk_reading import Bulk, Item
from dlq.history import Action
from models.enums import BulkState, ItemState
from models.queries.summary import database_time
from ops_api.cli.dlq_choice import said_why
from ops_api.cli.dlq_progress import how_far, took
from ops_api.cli.dlq_words import age
from ops_api.cli.options import LARGEST_ID, AsJson, Data
from ops_api.cli.output import ago, line_of, print_fields, print_json, print_table, span, to_stdout
from ops_api.cli.person import operator
from ops_api.cli.session import begin, open_runtime
from ops_api.wording import clock, counted, plain
from pipeline.runtime.errors import UserError

BulkId: TypeAlias = Annotated[
    int, typer.Argument(metavar="BULK", min=1, max=LARGEST_ID, help="Its number, as listed.", show_default=False)
]


def list_bulks(
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="At most so many, newest first.")] = 20,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List what was asked of many letters at once, newest first, and how far each is.

    Example: fieldpost dlq bulks

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("dlq", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        found = bulk_reading.bulks(connection, limit=limit)
        now = database_time(connection)
    if as_json:
        print_json([asdict(bulk) for bulk in found])
        return
    rows = [
        (one.bulk_id, one.action, one.state, one.total, one.passed, one.failed, one.waiting + one.released, one.actor,
         age(one.created_at, now), line_of(one.reason))
        for one in found
    ]  # fmt: skip
    columns = ("bulk", "action", "state", "letters", "passed", "failed", "left", "by", "since", "reason")
    print_table(columns, rows, empty="Nothing was asked of many letters yet.", wrapped=("reason",))


def show(
    bulk_id: BulkId,
    items: Annotated[
        ItemState | None, typer.Option("--items", help="List its letters in this state.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many letters.")] = 50,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show one bulk: how far it is, why it ended, and what became of its letters; those that failed again first.

    Example: fieldpost dlq bulk 7 --items failed

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("dlq", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        bulk = bulk_reading.bulk(connection, bulk_id)
        if bulk is None:
            raise UserError(f"there is no bulk {bulk_id}; see `fieldpost dlq bulks`")
        listed = items or (ItemState.FAILED if bulk.failed else None)
        found = bulk_reading.items(connection, bulk_id, state=listed, limit=limit) if listed else []
        actions = history.actions(connection, bulk_id=bulk_id)
        now = database_time(connection)
    if as_json:
        said = {"items": [asdict(item) for item in found], "history": [asdict(action) for action in actions]}
        print_json(asdict(bulk) | said)
        return
    _print(bulk, actions, now)
    if listed is not None:
        _print_items(found, listed, getattr(bulk, listed.value))


def cancel(
    bulk_id: BulkId,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the bulk.")] = "cancelled by hand",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """End a bulk: letters that were not let go stay open dead letters, those that were go on.

    Example: fieldpost dlq cancel 7 --reason "the deploy was rolled back"

    Exit codes: 0 cancelled, 1 it was over already, 2 bad input or configuration.
    """
    reason = said_why(reason)
    settings, where = begin("dlq", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        done = bulks.cancel(connection, bulk_id, actor=operator(), reason=reason)
        bulk = bulk_reading.bulk(connection, bulk_id)
        if bulk is None:
            raise UserError(f"there is no bulk {bulk_id}; see `fieldpost dlq bulks`")
    if as_json:
        print_json({"cancelled": done} | asdict(bulk))
    elif done:
        print(f"bulk {bulk_id} is cancelled: {how_far(bulk)}")
    else:
        print(f"bulk {bulk_id} was over already: {bulk.state}")
    if not done:
        raise typer.Exit(1)


def _print(bulk: Bulk, actions: list[Action], now: datetime) -> None:
    title = f"bulk {bulk.bulk_id}: {bulk.action}, {bulk.state}"
    to_stdout().print(Panel(escape(how_far(bulk)), title=title), width=min(to_stdout().width, 120))
    print_fields(_fields(bulk, actions, now))


def _fields(bulk: Bulk, actions: list[Action], now: datetime) -> list[tuple[str, object]]:
    eta = None if bulk.eta_seconds is None else f"about {span(timedelta(seconds=bulk.eta_seconds))}"
    done = [f"{ago(one.at, now)}: {one.action.removeprefix('bulk_')} by {one.actor}" for one in actions]
    return [
        ("letters", f"{bulk.total:,}: {_selection(bulk)}"),
        ("asked", f"{clock(bulk.created_at)} ({ago(bulk.created_at, now)}) by {bulk.actor}: {plain(bulk.reason)}"),
        ("canary", counted(bulk.canaries, "letter") + " first" if bulk.canaries else None),
        ("speed", None if bulk.per_second is None else f"at most {bulk.per_second:g} a second"),
        ("still takes", None if bulk.finished_at else eta),
        ("took", took(bulk)),
        ("ended because", bulk.ended_because and plain(bulk.ended_because)),
        ("done", "\n".join(done) or None),
        ("next", _next(bulk)),
    ]


def _selection(bulk: Bulk) -> str:
    parts = [
        f"{name} {value}" if not isinstance(value, list) else f"{counted(len(value), 'letter')} by id"
        for name, value in bulk.selection.items()
        if name != "newest_id"
    ]
    return plain(", ".join(parts)) or "all that were open"


def _next(bulk: Bulk) -> str | None:
    number = bulk.bulk_id
    if bulk.finished_at is None:
        return f"fieldpost dlq cancel {number}"
    if bulk.action == "discard":
        return f"fieldpost dlq restore --bulk {number} --reason TEXT"
    if bulk.state is BulkState.STOPPED and bulk.skipped:
        return f"fieldpost dlq bulk {number} --items skipped"
    return None


def _print_items(found: list[Item], state: ItemState, total: int) -> None:
    print(f"\n{state} ({len(found):,} of {total:,})")
    console = to_stdout()
    for item in found:
        again = f", now letter {item.again_id}" if item.again_id else ""
        what = f"{item.stage}  {line_of(item.subject, 60)}" if item.subject else plain(f"{item.stage} {item.key}")
        head = f"{item.letter_id}  {what}"
        where = f" [dim]{escape(item.mailbox)}[/]" if item.mailbox else ""
        console.print(f"[bold]{escape(head)}[/]{where}", no_wrap=True, overflow="ellipsis")
        if item.note or again:
            console.print(escape(f"  {line_of(item.note or state)}{again}"), no_wrap=True, overflow="ellipsis")
