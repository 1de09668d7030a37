"""`fieldpost import`: mail from files through the same chain as Gmail, until the chain is idle, with the proof."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from models.enums import Provider
from models.queries import sync as sync_queries
from ops_api.cli.bells import BACKFILL, ring
from ops_api.cli.options import AsJson, Data
from ops_api.cli.output import remark
from ops_api.cli.proof import Comparison, Proof, compare, finish, summarise
from ops_api.cli.roles import Crew, workers_for
from ops_api.cli.session import Runtime, begin, open_runtime
from ops_api.cli.waiting import wait_until_idle
from pipeline.adapters.files import FileSource
from pipeline.adapters.inventory import Inventory, inspect
from pipeline.commands.mailboxes import add_mailbox, ensure_organization
from pipeline.commands.sync import request_backfill
from pipeline.runtime.errors import UserError
from pipeline.runtime.mailboxes import load_mailboxes

_DEFAULT_ORGANIZATION = "Default"
#: An import that joins another one's listing of the same mailbox may come too late for it and lists again.
_LISTINGS = 3
_IGNORED_SHOWN = 5

app = typer.Typer(add_completion=False)


@app.command()
def import_(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="mbox, mbox.gz, Maildir, .eml, or folders of them.", show_default=False),
    ],
    mailbox: Annotated[str, typer.Option("--mailbox", metavar="ADDRESS", help="Whose mail it is.", show_default=False)],
    org: Annotated[
        str | None,
        typer.Option(
            "--org", metavar="NAME", help='Organization of a new mailbox; "Default" unless given.', show_default=False
        ),
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Bring in mail from files through the same chain as Gmail, wait until it is through, and prove that all arrived.

    What does not run yet is started for the life of the command. Importing the same mail again stores nothing new;
    other files for the same mailbox add to it. Keep the files where they are until the import is done.

    Example: fieldpost import support.mbox archive/ --mailbox support@example.org

    Exit codes: 0 everything is accounted for, 1 something is not, 2 bad input or configuration (nothing is stored).
    """
    settings, where = begin("import", data)
    given = [path.absolute() for path in paths]
    _tell_ignored(inspect(given))
    with open_runtime(settings, where, create=True) as runtime:
        spool = runtime.data.path / "spool"
        address = mailbox.strip().lower()
        with closing(FileSource(given, spool, address=address)) as source:
            source.prepare()
        mailbox_id, union = _connect(runtime, address, org, given, spool)
        with closing(FileSource(union, spool, address=address)) as source:
            proof, compared = _run(runtime, mailbox_id, address, source)
    finish(proof, as_json, None if as_json else compared)


def _run(runtime: Runtime, mailbox_id: UUID, address: str, source: FileSource) -> tuple[Proof, Comparison]:
    before = summarise(runtime, mailbox_id).occurrences
    source.prepare()
    expected = source.list_page(None, limit=1).estimate
    seconds = 0.0
    with workers_for(runtime) as crew:
        for _ in range(_LISTINGS):
            seconds += _import_once(runtime, mailbox_id, crew, expected)
            compared = compare(runtime, mailbox_id, source)
            if not compared.missing:
                break
    found = summarise(runtime, mailbox_id)
    missing = len(compared.missing)
    return Proof(address, compared.provider_ids, missing, found, seconds, found.occurrences - before), compared


def _import_once(runtime: Runtime, mailbox_id: UUID, crew: Crew | None, expected: int | None) -> float:
    """Ask for a listing and wait until the chain is idle; return the seconds between."""
    began = runtime.clock.monotonic()
    with runtime.db.begin() as connection:
        request_backfill(connection, mailbox_id)
    ring(runtime.settings, [BACKFILL])
    wait_until_idle(runtime, mailbox_id, crew, expected)
    return runtime.clock.monotonic() - began


def _connect(
    runtime: Runtime, address: str, org: str | None, given: Sequence[Path], spool: Path
) -> tuple[UUID, list[Path]]:
    """Add the mailbox, or these paths to it; return its id and all its paths, so that earlier mail stays readable."""
    with runtime.db.begin() as connection:
        known = sync_queries.reserve_address(connection, address)
        earlier: list[str] = []
        if known is not None:
            earlier = list(load_mailboxes(connection, [known[0]])[known[0]].ref.source.get("paths", ()))
        org_id = known[1] if known and org is None else ensure_organization(connection, org or _DEFAULT_ORGANIZATION)
        union = list(dict.fromkeys([*_readable(earlier), *given]))
        source = {"paths": [str(path) for path in union], "spool": str(spool)}
        return add_mailbox(connection, org_id, address, Provider.FILES, source=source), union


def _readable(earlier: Sequence[str]) -> list[Path]:
    """Return the earlier paths that still hold mail; one that is gone would stop the listing of all the others."""
    found = []
    for path in map(Path, earlier):
        try:
            inspect([path])
        except UserError as error:
            remark(f"of an earlier import: {error} What was stored of it stays.")
        else:
            found.append(path)
    return found


def _tell_ignored(inventory: Inventory) -> None:
    for ignored in inventory.ignored[:_IGNORED_SHOWN]:
        remark(f"not imported: {ignored.path} ({ignored.reason})")
    left = len(inventory.ignored) - _IGNORED_SHOWN
    if left > 0:
        remark(f"not imported: {left} files more")
