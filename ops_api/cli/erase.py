"""`fieldpost erase`: forgetting the mail of an address, and what was forgotten so far."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from models.permissions import Permission
from models.queries import queue
from ops_api.cli.bells import ring
from ops_api.cli.options import AsJson, Data, Organization, Yes
from ops_api.cli.output import print_json, print_table, remark
from ops_api.cli.person import actor, leave_row
from ops_api.cli.session import begin, open_runtime, warn_without_workers
from ops_api.wording import clock
from pipeline.commands import erasing
from pipeline.commands.mailboxes import find_organization
from pipeline.runtime import erasures
from pipeline.runtime.erasures import Erasure
from pipeline.runtime.errors import UserError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Forget the mail of an address, for good.")


@app.command()
def address(
    said: Annotated[str, typer.Argument(metavar="ADDRESS", help="Whose mail is forgotten.", show_default=False)],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept.", show_default=False)],
    org: Organization = None,
    yes: Yes = False,
    data: Data = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Forget what an address wrote and what we wrote to it: texts, raw bytes, attachments, index, notes, dead letters.

    That something was there stays, without a word of it, so that every count still adds up. It cannot be undone; in
    backups it goes with their age, and after a restore it must be asked for again.

    Example: fieldpost erase address customer@example.org --reason "asked for it on 3 May"

    Exit codes: 0 under way (workers do it), 2 bad input or configuration.
    """
    settings, where = begin("erase", data)
    if not yes:
        _confirm(said)
    with open_runtime(settings, where, start=True) as runtime:
        with runtime.db.begin() as connection:
            org_id = find_organization(connection, org)
            erasure_id, is_new, lines = erasing.erase_address(connection, org_id, said, actor=actor(), reason=reason)
            leave_row(connection, org_id, Permission.ERASE, "erasure", erasure_id)
            workers = queue.live_workers(connection)
        ring(runtime.settings, lines)
        warn_without_workers(len(workers))
    if as_json:
        print_json({"erasure_id": erasure_id, "is_new": is_new})
    else:
        print(f"erasure {erasure_id} {'is under way' if is_new else 'goes on already'}: see `fieldpost erase list`")


@app.command("list")
def list_erasures(
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="At most so many, newest first.")] = 50,
    org: Organization = None,
    data: Data = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what was forgotten and how much went; of an address that is done only that it was one is known.

    Example: fieldpost erase list

    Exit codes: 0 listed, 2 bad input or configuration.
    """
    settings, where = begin("erase", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        found = erasures.listed(connection, find_organization(connection, org), limit=limit)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    columns = ("erasure", "of", "state", "asked", "by", "reason", "gone")
    print_table(columns, [_row(one) for one in found], empty="Nothing was forgotten yet.", wrapped=("reason", "gone"))


def _confirm(said: str) -> None:
    if not sys.stdin.isatty():
        raise UserError("nobody can be asked here: add --yes to forget it for good")
    remark("This takes away raw mail, texts and attachments. It cannot be undone.")
    typer.confirm(f"Forget the mail of {said}?", abort=True, err=True)


def _row(one: Erasure) -> tuple[object, ...]:
    what = one.address or ("an address" if one.before_at is None else f"ended before {clock(one.before_at)}")
    gone = ", ".join(f"{number:,} {name}" for name, number in sorted(one.counts.items()) if number)
    return one.erasure_id, what, one.state, clock(one.created_at), one.actor, one.reason, gone
