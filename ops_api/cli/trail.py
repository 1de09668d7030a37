"""`fieldpost trail`: the audit trail of an organization, listed, proved whole, sealed and written out."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

import orjson
import typer

from models.enums import AuditOutcome
from models.queries import audit_trail
from models.queries.audit_trail import AuditRow, Filter
from ops_api.cli.options import LARGEST_ID, AsJson, Data, Organization
from ops_api.cli.output import print_fields, print_json, print_table, remark
from ops_api.cli.session import begin, open_runtime
from ops_api.wording import clock
from pipeline.commands.mailboxes import find_organization
from pipeline.core.audit_chain import Facts, Link, Place
from pipeline.runtime import audit_checking, audit_seals
from pipeline.runtime.audit_checking import Checked
from pipeline.runtime.errors import UserError
from pipeline.runtime.secrets import Secrets

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="See who did what, prove that nothing of it was changed, and write it out.",
)
_NOTED = re.compile(r"(\d{1,18}):([0-9a-f]{64})")


@app.command("list")
def list_rows(
    *,
    actor: Annotated[str | None, typer.Option(metavar="ID", help="Only what this one did.", show_default=False)] = None,
    action: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only this; `ticket.` means all that begin so.", show_default=False),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="ID", help="Only what was done to this.", show_default=False)
    ] = None,
    outcome: Annotated[
        AuditOutcome | None, typer.Option(help="Only what was done, or refused.", show_default=False)
    ] = None,
    before: Annotated[
        int | None, typer.Option(min=1, max=LARGEST_ID, metavar="N", help="Only rows before this.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, newest first.")] = 50,
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List what people and systems did, the newest first; looks at 20,000 rows at a time.

    Example: fieldpost trail list --action ticket. --outcome refused

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("trail", data)
    wanted = Filter(actor, action, target, outcome)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        org_id = find_organization(connection, org)
        page = audit_trail.find(connection, org_id, wanted, before=before, limit=limit)
    if as_json:
        print_json({"rows": [asdict(row) for row in page.rows], "before": page.before})
        return
    rows = [
        (row.number, clock(row.at), row.actor_id, row.actor_role, row.action, row.code or row.outcome, row.target_id)
        for row in page.rows
    ]
    columns = ("number", "at", "actor", "role", "action", "outcome", "on")
    print_table(columns, rows, empty="Nothing of that is in the trail.", wrapped=("on",))
    if page.before is not None:
        remark(f"older ones: --before {page.before}")


@app.command()
def show(
    number: Annotated[
        int, typer.Argument(metavar="NUMBER", min=1, max=LARGEST_ID - 1, help="The row, as listed.", show_default=False)
    ],
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show one row with its details, as far as these may be kept.

    Example: fieldpost trail show 17

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("trail", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        org_id = find_organization(connection, org)
        found = audit_trail.find(connection, org_id, Filter(), before=number + 1, limit=1).rows
    if not found or found[0].number != number:
        raise UserError(f"the trail has no row {number}; see `fieldpost trail list`")
    if as_json:
        print_json(asdict(found[0]))
        return
    print_fields(_told(found[0]))


@app.command()
def verify(
    *,
    org: Organization = None,
    noted: Annotated[
        list[str] | None,
        typer.Option(
            "--noted",
            metavar="NUMBER:HASH",
            help="A row that a log or a person noted; may be repeated.",
            show_default=False,
        ),
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Prove that no row of the trail was changed, taken out, put in or moved, and that no seal disagrees.

    Rows made anew since the newest seal are shown by a line `audit.sealed` of the log, or by what this command printed
    before: give it with --noted.

    Example: fieldpost trail verify --noted 1204:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08

    Exit codes: 0 the trail is whole, 1 it is not, 2 bad input or configuration.
    """
    settings, where = begin("trail", data)
    known = [_place(said) for said in noted or ()]
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        org_id = find_organization(connection, org)
        checked = audit_checking.check(connection, Secrets.of(runtime.settings), org_id, known)
    if as_json:
        print_json(_as_json(checked))
    else:
        _tell(checked)
    if checked.problems:
        raise typer.Exit(1)


@app.command()
def seal(org: Organization = None, data: Data = None, as_json: AsJson = False) -> None:
    """Sign the newest row now; the schedule does it every hour. Keep what it prints where no database is.

    Example: fieldpost trail seal >> /mnt/elsewhere/seals.txt

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("trail", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        org_id = find_organization(connection, org)
        seals = audit_seals.seal(connection, Secrets.of(runtime.settings), org_id=org_id, every=timedelta(0))
    audit_seals.tell(seals)
    if as_json:
        print_json([{"number": one.place.number, "hash": one.place.hash.hex(), "key": one.key_id} for one in seals])
        return
    for one in seals:
        print(f"{one.place.number}:{one.place.hash.hex()}")
    if not seals:
        remark("nothing was added since the last seal")


@app.command()
def export(
    after: Annotated[int, typer.Option(min=0, max=LARGEST_ID, metavar="N", help="Only rows after this.")] = 0,
    org: Organization = None,
    data: Data = None,
) -> None:
    """Write the trail to stdout, one JSON object per line with its hash, oldest first: it can be proved elsewhere.

    Example: fieldpost trail export --after 1204 > trail.jsonl

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("trail", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        org_id = find_organization(connection, org)
        for link in audit_checking.links(connection, org_id, after):
            sys.stdout.buffer.write(orjson.dumps(_exported(link)) + b"\n")
    sys.stdout.buffer.flush()


def _place(said: str) -> Place:
    found = _NOTED.fullmatch(said.strip().lower())
    if found is None:
        raise UserError(f"--noted takes NUMBER:HASH, as `trail seal` prints it, not {said[:80]!r}")
    return Place(int(found[1]), bytes.fromhex(found[2]))


def _told(row: AuditRow) -> Sequence[tuple[str, object]]:
    told = {name: value for name, value in asdict(row).items() if name not in {"org_id", "details", "is_erased"}}
    told |= {
        "at": clock(row.at),
        "details": "erased" if row.is_erased else row.details and orjson.dumps(row.details).decode(),
    }
    return [(name.replace("_", " "), value) for name, value in told.items()]


def _tell(checked: Checked) -> None:
    for one in checked.problems:
        print(f"{one.number}: {one.wrong}: {one.said}")
    newest = (
        f"the newest is {checked.newest.number}:{checked.newest.hash.hex()}" if checked.rows else "there are no rows"
    )
    state = "is not whole" if checked.problems else "is whole"
    print(f"the trail {state}: {checked.rows} rows and {checked.seals} seals were checked; {newest}")


def _as_json(checked: Checked) -> dict[str, Any]:
    return {
        "is_whole": not checked.problems,
        "rows": checked.rows,
        "seals": checked.seals,
        "newest": checked.newest.number,
        "newest_hash": checked.newest.hash.hex(),
        "problems": [asdict(one) for one in checked.problems],
    }


def _exported(link: Link) -> dict[str, Any]:
    """Return a row with everything that its hash is made of."""
    facts = {one.name: _plain(getattr(link.facts, one.name)) for one in fields(Facts)}
    return {**facts, "previous": link.previous.hex(), "hash": link.hash.hex(), "details": link.details}


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, UUID) else value
