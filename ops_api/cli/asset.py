"""`fieldpost asset`: the registry of assets, listed, entered and imported; and the patterns of their tags."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from models.queries import assets as queries
from ops_api.cli import asset_pattern
from ops_api.cli.executing import checked, execute, operator_of
from ops_api.cli.options import AsJson, Data, Organization
from ops_api.cli.output import print_fields, print_json, print_table, remark
from ops_api.cli.session import begin, open_runtime
from pipeline.commands import assets as commands
from pipeline.commands.asset_arguments import AssetChange, AssetImport, NewAsset
from pipeline.commands.mailboxes import find_organization
from pipeline.core.asset_files import AssetFile, first_of, read_assets
from pipeline.runtime.errors import UserError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="List, enter and import assets; see and set the patterns of their tags.",
)
app.add_typer(asset_pattern.app, name="pattern")

Tag: TypeAlias = Annotated[str, typer.Argument(metavar="TAG", help="Like AUS_0123.", show_default=False)]
_Given: TypeAlias = str | None
_LARGEST_FILE = 64_000_000


@app.command("list")
def list_assets(
    *,
    words: Annotated[_Given, typer.Option("--q", metavar="WORDS", help="Part of a tag, a name or an alias.")] = None,
    after: Annotated[_Given, typer.Option(metavar="TAG", help="Only tags after this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, by tag.")] = 50,
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List assets by tag.

    Example: fieldpost asset list --q harbour

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("asset", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        org_id = find_organization(connection, org)
        found = queries.assets(connection, org_id, after=after, words=words, limit=limit)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    columns = ("tag", "name", "also", "kind", "zone", "site", "from")
    rows = [(one.tag, one.name, ", ".join(one.aliases), one.kind, one.zone, one.site, one.origin) for one in found]
    print_table(columns, rows, empty="No such asset.", wrapped=("name", "also", "site"))
    if len(found) == limit:
        remark(f"the next page: --after {found[-1].tag}")


@app.command()
def add(
    tag: Tag,
    *,
    name: Annotated[str, typer.Option(help="What people call it.")] = "",
    alias: Annotated[list[str] | None, typer.Option(help="What else they call it; again for more.")] = None,
    kind: Annotated[str, typer.Option(help="Like charger or door.")] = "",
    zone: Annotated[_Given, typer.Option(help="Which technicians come to it.")] = None,
    site: Annotated[_Given, typer.Option(metavar="ID", help="Its site.")] = None,
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Enter an asset. Mail that comes from now on is searched for its tag, name and aliases.

    Example: fieldpost asset add AUS_0123 --name "South lot charger" --alias "the charger at the bakery" --kind charger

    Exit codes: 0 ok, 2 bad input or configuration, or the tag is taken.
    """
    said = {"tag": tag, "name": name, "aliases": alias or [], "kind": kind, "zone": zone, "site_id": site}
    _tell(_done(commands.ADD, checked(NewAsset, said), org, data), as_json=as_json)


@app.command()
def change(
    tag: Tag,
    *,
    new_tag: Annotated[_Given, typer.Option("--tag", metavar="TAG", help="Its new tag.")] = None,
    name: Annotated[_Given, typer.Option(help="What people call it.")] = None,
    alias: Annotated[list[str] | None, typer.Option(help="All that else they call it; again for more.")] = None,
    kind: Annotated[_Given, typer.Option(help="Like charger or door.")] = None,
    zone: Annotated[_Given, typer.Option(help="Which technicians come to it; empty: any.")] = None,
    site: Annotated[_Given, typer.Option(metavar="ID", help="Its site; empty: none.")] = None,
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Change an asset; what is not named stays as it is.

    Example: fieldpost asset change AUS_0123 --name "Bakery charger"

    Exit codes: 0 ok, 2 bad input or configuration, or there is no such asset.
    """
    given = {"tag": new_tag, "name": name, "aliases": alias, "kind": kind}
    said: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    said |= {key: value or None for key, value in (("zone", zone), ("site_id", site)) if value is not None}
    _tell(_done(commands.CHANGE, checked(AssetChange, said), org, data, tag=tag), as_json=as_json)


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="At most 100000 assets.", show_default=False)],
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Enter and change assets by their tags, out of a table: all of them, or none and each wrong line is told.

    The first line names the columns: tag, and any of name, aliases (parted by ;), kind, zone, lat, lon, site (name or
    id). What there is no column for stays as it is; importing the same file again changes nothing.

    Example: fieldpost asset import chargers.csv

    Exit codes: 0 ok, 2 bad input or configuration; then nothing is changed.
    """
    found = _read(file)
    if found.problems:
        for said in first_of(found.problems):
            remark(said)
        raise UserError(f"{file}: {len(found.problems)} of its lines cannot be read; nothing was imported")
    asked = AssetImport(columns=found.columns, rows=tuple(found.rows))
    done = _done(commands.IMPORT, asked, org, data)
    if as_json:
        print_json(done)
    else:
        print_fields(done.items())


def _read(file: Path) -> AssetFile:
    try:
        if file.stat().st_size > _LARGEST_FILE:
            raise UserError(f"{file} has more than {_LARGEST_FILE // 1_000_000} MB: split it")
        with file.open(encoding="utf-8-sig", newline="") as lines:
            return read_assets(lines)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no UTF-8 text: save it as CSV in UTF-8") from error


def _done(command: Any, asked: Any, org: str | None, data: Path | None, *, tag: str | None = None) -> dict[str, Any]:
    settings, where = begin("asset", data)
    with open_runtime(settings, where) as runtime:
        with runtime.db.begin() as connection:
            org_id = find_organization(connection, org)
            asset_id = None if tag is None else queries.by_tag(connection, org_id, tag)
        if tag is not None and asset_id is None:
            raise UserError(f"there is no asset {tag[:80]!r}; `fieldpost asset list --q` finds them")
        target = None if asset_id is None else str(asset_id)
        return execute(runtime.db, operator_of(org_id), command, asked, target)


def _tell(made: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    told = {**made, "aliases": ", ".join(made["aliases"]) or None}
    print_fields((name, told[name]) for name in ("tag", "name", "aliases", "kind", "zone", "site", "origin", "id"))
