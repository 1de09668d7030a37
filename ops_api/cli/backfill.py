"""`fieldpost backfill`: lists a mailbox, newest first, and reads what is not here yet."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from ops_api.cli.bells import BACKFILL
from ops_api.cli.options import AsJson, Data, Mailbox
from ops_api.cli.requests import ask
from pipeline.commands.sync import request_backfill

app = typer.Typer(add_completion=False)


@app.command()
def backfill(
    mailbox: Mailbox,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Only back to this date (UTC).", show_default=False
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the mailbox is idle, then show its summary.")
    ] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List a whole mailbox, newest first, and read what is not here yet; joins a listing that is going on.

    With --wait the summary counts the ids the provider has named so far; `fieldpost audit` asks the provider again.

    Example: fieldpost backfill support@example.org --since 2026-01-01 --wait

    Exit codes: 0 asked for (with --wait: through, nothing stands still), 1 something does, 2 bad input.
    """
    back_to = None if since is None else since.replace(tzinfo=UTC)
    ask(
        "backfill",
        lambda connection, mailbox_id: request_backfill(connection, mailbox_id, back_to),
        BACKFILL,
        mailbox,
        data,
        wait=wait,
        as_json=as_json,
    )
