"""`fieldpost history`: reads what changed in a mailbox since the last time."""

from __future__ import annotations

from typing import Annotated

import typer

from ops_api.cli.bells import HISTORY
from ops_api.cli.options import AsJson, Data, Mailbox
from ops_api.cli.requests import ask
from pipeline.commands.sync import request_history

app = typer.Typer(add_completion=False)


@app.command()
def history(
    mailbox: Mailbox,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the mailbox is idle, then show its summary.")
    ] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Read what changed in a mailbox since the last time; a mailbox never read before is listed first.

    Workers ask by themselves every FIELDPOST_HISTORY_INTERVAL_SECONDS; this asks at once.

    Example: fieldpost history support@example.org --wait

    Exit codes: 0 asked for (with --wait: through, nothing stands still), 1 something does, 2 bad input.
    """
    ask("history", request_history, HISTORY, mailbox, data, wait=wait, as_json=as_json)
