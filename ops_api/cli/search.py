"""`fieldpost search`: messages by their words, people, dates and attachments."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.text import Text

from models.enums import Lane
from models.queries import queue
from ops_api.cli.bells import ring
from ops_api.cli.options import AsJson, Data, Organization
from ops_api.cli.output import print_json, remark, to_stdout
from ops_api.cli.session import Runtime, begin, open_runtime, warn_without_workers
from ops_api.wording import clock, counted
from pipeline.commands.mailboxes import find_organization
from pipeline.runtime import indexing, searching
from pipeline.runtime.ledger import Line
from pipeline.runtime.searching import Answer, Hit

app = typer.Typer(add_completion=False)

_INDEX = Line("index", Lane.BACKFILL)


@app.command()
def search(
    question: Annotated[str, typer.Argument(metavar="[QUERY]", help="What to look for.", show_default=False)] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="At most so many, the best first.")] = 20,
    *,
    org: Organization = None,
    reindex: Annotated[
        bool, typer.Option("--reindex", help="Index what is not, or with an older version; after an update.")
    ] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Find messages, the best first: words must all occur, in any form of case and accents.

    "a phrase", -without, one or other, begin*; from:ann to:help@example.org subject:broken has:attachment
    after:2026-01-01 before:2026-03-31. The text of plain, HTML and PDF attachments is searched, too.

    Example: fieldpost search 'charger "does not start" -refund from:ann after:2026-01-01'

    Exit codes: 0 found (or asked for the indexing), 1 nothing was found, 2 bad input or configuration.
    """
    settings, where = begin("search", data)
    with open_runtime(settings, where) as runtime:
        if reindex:
            _reindex(runtime, org, as_json=as_json)
            return
        with runtime.db.begin() as connection:
            found = searching.search(connection, find_organization(connection, org), question, limit=limit)
    if as_json:
        print_json({"total": found.total, "is_capped": found.is_capped, "items": [_as_json(hit) for hit in found.hits]})
    else:
        _show(found)
    if not found.hits:
        raise typer.Exit(1)


def _reindex(runtime: Runtime, org: str | None, *, as_json: bool) -> None:
    """Ask for the indexing chunk by chunk, each in a transaction of its own."""
    asked: int = 0
    after: int | None = 0
    with runtime.db.begin() as connection:
        org_id = None if org is None else find_organization(connection, org)
    while after is not None:
        with runtime.db.begin() as connection:
            count, after = indexing.ask_again(connection, org_id, after)
        asked += count
    with runtime.db.begin() as connection:
        workers = len(queue.live_workers(connection))
    ring(runtime.settings, [_INDEX])
    if as_json:
        print_json({"asked": asked, "live_workers": workers})
    else:
        print(f"{counted(asked, 'message')} to index" if asked else "every message is indexed")
    if asked:
        warn_without_workers(workers)


def _show(found: Answer) -> None:
    console = to_stdout()
    for hit in found.hits:
        sender = hit.from_name or hit.from_address or "nobody"
        where = hit.ticket_code or "no ticket"
        console.print(f"[bold]{escape(hit.subject or '(no subject)')}[/bold]", soft_wrap=True)
        console.print(escape(f"  {where}  {sender}  {clock(hit.received_at)}  in {_parts(hit)}"), soft_wrap=True)
        console.print(_marked(hit), soft_wrap=True)
    more = "more than " if found.is_capped else ""
    remark(f"{len(found.hits)} of {more}{counted(found.total, 'message')}" if found.hits else "nothing was found")


def _parts(hit: Hit) -> str:
    return ", ".join(hit.matched_in) or "its people and dates"


def _marked(hit: Hit) -> Text:
    shown = Text("  " + hit.piece.text)
    for begin_at, end_at in hit.piece.marks:
        shown.stylize("bold underline", begin_at + 2, end_at + 2)
    return shown


def _as_json(hit: Hit) -> dict[str, object]:
    return {
        "message_id": hit.message_id,
        "ticket_id": None if hit.ticket_id is None else str(hit.ticket_id),
        "ticket_code": hit.ticket_code,
        "ticket_status": hit.ticket_status,
        "direction": hit.direction,
        "from_address": hit.from_address,
        "from_name": hit.from_name,
        "subject": hit.subject,
        "received_at": hit.received_at,
        "snippet": hit.piece.text,
        "highlights": [list(mark) for mark in hit.piece.marks],
        "matched_in": list(hit.matched_in),
    }
