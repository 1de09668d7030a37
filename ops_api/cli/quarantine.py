"""`fieldpost quarantine`: mail that was set aside with a named cause, listed, explained and released."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, TypeAlias

import typer
from rich.markup import escape
from rich.panel import Panel

from models.enums import QuarantineCause
from models.queries import quarantine as reading
from models.queries import queue
from models.queries.quarantine import Quarantined
from models.queries.summary import database_time
from ops_api.cli.bells import ring
from ops_api.cli.options import LARGEST_ID, AsJson, Data
from ops_api.cli.output import ago, line_of, print_fields, print_json, print_table, remark, to_stdout
from ops_api.cli.person import actor
from ops_api.cli.session import begin, open_runtime, warn_without_workers
from ops_api.wording import clock
from pipeline.commands import quarantine as commands
from pipeline.runtime.errors import UserError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Look at mail that was set aside as a loop, and release it.",
)

Reason: TypeAlias = Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the message.", show_default=False)]

_MEANS = {
    QuarantineCause.LOOP: "Our own automatic mail came back, or the mail circles. Released, it becomes a closed ticket "
    "with the tag `automatic`.",
    QuarantineCause.ANSWERS_BACK: "Its sender seems to be a machine that answers each automatic answer of ours. If a "
    "person wrote it, release it: it becomes a ticket, and no automatic answer follows.",
    QuarantineCause.THREAD_RATE: "It stands in its ticket already; the two sides answered each other faster than "
    "people do. Released, it goes on to triage.",
    QuarantineCause.POISON: "Reading it ended the process that read it, again and again. Release it after an update.",
}


@app.command("list")
def list_quarantine(
    cause: Annotated[QuarantineCause | None, typer.Option(help="Only those of a cause.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Those released, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, newest first.")] = 50,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List messages that wait in quarantine, newest first.

    Example: fieldpost quarantine list --cause answers_back

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("quarantine", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        found = reading.find(connection, cause=cause, open_only=not everything, limit=limit)
        total = reading.count(connection, cause=cause)
        now = database_time(connection)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    rows = [
        (one.quarantine_id, one.cause, one.mailbox, one.sender, line_of(one.subject or ""), one.evidence,
         ago(one.quarantined_at, now))
        for one in found
    ]  # fmt: skip
    columns = ("id", "cause", "mailbox", "sender", "subject", "because", "since")
    print_table(columns, rows, empty="Nothing is in quarantine.", wrapped=("subject", "because"))
    if not everything and total > len(found):
        print(f"{len(found)} of {total} shown")


@app.command()
def show(
    quarantine_id: Annotated[
        int, typer.Argument(metavar="ID", min=1, max=LARGEST_ID, help="The message, as listed.", show_default=False)
    ],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Explain one quarantined message: what it is, what showed it, and what to do next.

    Example: fieldpost quarantine show 17

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("quarantine", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        found = reading.find(connection, quarantine_id=quarantine_id, open_only=False)
        if not found:
            raise UserError(f"nothing was ever in quarantine as {quarantine_id}; see `fieldpost quarantine list`")
    if as_json:
        print_json(asdict(found[0]))
        return
    to_stdout().print(Panel(escape(found[0].evidence), title=f"quarantine {quarantine_id}: {found[0].cause}"))
    print_fields(_explained(found[0]))


@app.command()
def release(
    ids: Annotated[
        list[int],
        typer.Argument(metavar="ID...", min=1, max=LARGEST_ID, help="Messages, as listed.", show_default=False),
    ],
    reason: Reason,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Let messages go on to their tickets; nothing screens them again, and no automatic answer follows.

    Example: fieldpost quarantine release 17 --reason "Ann wrote it herself"

    Exit codes: 0 all were released, 1 some were not in quarantine any more, 2 bad input or configuration.
    """
    settings, where = begin("quarantine", data)
    if not reason.strip():
        raise UserError("say why with --reason: it is kept with the message")
    with open_runtime(settings, where) as runtime:
        with runtime.db.begin() as connection:
            done = commands.release(connection, ids, org_id=None, actor=actor(), reason=reason.strip())
            workers = queue.live_workers(connection)
        ring(runtime.settings, done.lines)
    if done.quarantine_ids:
        warn_without_workers(len(workers))
    _tell(done.quarantine_ids, sorted(set(ids) - set(done.quarantine_ids)), as_json=as_json)


def _tell(done: Sequence[int], left: Sequence[int], *, as_json: bool) -> None:
    if as_json:
        print_json({"released": list(done), "not_in_quarantine": list(left)})
    else:
        print(f"released {len(done)}")
    if left:
        remark(f"not in quarantine: {', '.join(map(str, left[:20]))}")
        raise typer.Exit(1)


def _explained(one: Quarantined) -> list[tuple[str, object]]:
    released = one.released_at and f"{clock(one.released_at)} by {one.released_by} ({one.released_reason})"
    return [
        ("mailbox", one.mailbox),
        ("sender", one.sender),
        ("subject", one.subject),
        ("begins", one.snippet),
        ("since", clock(one.quarantined_at)),
        ("ticket", one.ticket_id),
        ("provider id", one.provider_id),
        ("raw mail", one.raw_sha256 and f"sha256 {one.raw_sha256}; fieldpost raw {one.occurrence_id}"),
        ("means", _MEANS[one.cause]),
        ("released", released),
        ("next", None if released else f"fieldpost quarantine release {one.quarantine_id} --reason TEXT"),
    ]
