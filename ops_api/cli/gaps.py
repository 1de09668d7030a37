"""`fieldpost gaps`: stretches of time in which ids of a mailbox are, or may be, missing; and filling them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from models.enums import GapState
from models.queries import comparisons, queue
from models.queries.comparisons import Gap
from ops_api.cli.bells import RECONCILE, ring
from ops_api.cli.options import AsJson, Data, Mailbox
from ops_api.cli.output import print_json, print_table, remark
from ops_api.cli.person import actor
from ops_api.cli.session import begin, open_runtime, warn_without_workers
from ops_api.wording import clock, counted
from pipeline.commands.mailboxes import find_mailbox
from pipeline.commands.reconcile import fill_gaps

app = typer.Typer(add_completion=False)


@app.command()
def gaps(
    mailbox: Mailbox,
    fill: Annotated[
        bool, typer.Option("--fill", help="Fetch what is missing in every open gap, nothing twice.")
    ] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List the gaps of a mailbox, the newest first; those that comparisons filled are kept as a record.

    A gap that a nightly comparison or a forgotten cursor left is filled by itself; one that an audit found waits for
    --fill.

    Example: fieldpost gaps support@example.org --fill

    Exit codes: 0 none is open (with --fill: all are being filled), 1 one is, 2 bad input or configuration.
    """
    settings, where = begin("gaps", data)
    with open_runtime(settings, where) as runtime:
        with runtime.db.begin() as connection:
            mailbox_id = find_mailbox(connection, mailbox)
            filling = fill_gaps(connection, mailbox_id, actor()) if fill else 0
            found = comparisons.gaps(connection, mailbox_id)
            workers = queue.live_workers(connection)
        if filling:
            ring(runtime.settings, [RECONCILE])
    if as_json:
        print_json({"gaps_filling": filling, "gaps": [_as_json(gap) for gap in found]})
    else:
        _show(found)
    if fill:
        remark(f"{counted(filling, 'gap')} being filled" if filling else "no gap was open")
    if filling:
        warn_without_workers(len(workers))
    if any(gap.state is GapState.OPEN for gap in found):
        raise typer.Exit(1)


def _show(found: Sequence[Gap]) -> None:
    rows = [
        (
            gap.state,
            gap.cause.replace("_", " "),
            "the oldest mail" if gap.from_at is None else clock(gap.from_at),
            clock(gap.to_at),
            "not counted" if gap.missing is None else f"{gap.missing:,}",
            None if gap.filled_at is None else clock(gap.filled_at),
            gap.filled_by,
        )
        for gap in found
    ]
    columns = ("state", "found by", "from", "to", "missing", "filled", "by")
    print_table(columns, rows, empty="No gap was ever found.")


def _as_json(gap: Gap) -> dict[str, object]:
    return {
        "gap_id": str(gap.gap_id),
        "state": gap.state,
        "cause": gap.cause,
        "from_at": gap.from_at,
        "to_at": gap.to_at,
        "missing": gap.missing,
        "sample_ids": list(gap.sample_ids),
        "found_at": gap.found_at,
        "filled_at": gap.filled_at,
        "filled_by": gap.filled_by,
    }
