"""`fieldpost asset pattern`: the patterns that find tags in mail."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from models.queries import assets as queries
from ops_api.cli.executing import checked, execute, operator_of
from ops_api.cli.options import AsJson, Data, Organization
from ops_api.cli.output import print_fields, print_json, print_table
from ops_api.cli.session import begin, open_runtime
from pipeline.commands import assets as commands
from pipeline.commands.asset_arguments import NewTagPattern, TagPatternChange
from pipeline.commands.mailboxes import find_organization

app = typer.Typer(add_completion=False, no_args_is_help=True, help="See and set the patterns that find tags in mail.")

PatternId: TypeAlias = Annotated[str, typer.Argument(metavar="ID", help="As listed.", show_default=False)]
_MOST = 1_000


@app.command("list")
def list_patterns(org: Organization = None, data: Data = None, as_json: AsJson = False) -> None:
    """List the patterns in the order they are tried, also those that are off.

    Example: fieldpost asset pattern list

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("asset", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        found = queries.patterns(connection, find_organization(connection, org), limit=_MOST)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    rows = [
        (one.position, one.pattern, one.tag, "on" if one.is_enabled else "off", one.created_by, one.id) for one in found
    ]
    columns = ("position", "pattern", "tag", "is", "by", "id")
    print_table(columns, rows, empty="No pattern: tags are found as they are written.", wrapped=("pattern", "tag"))


@app.command()
def add(
    pattern: Annotated[
        str, typer.Argument(metavar="PATTERN", help="RE2; letter case does not matter.", show_default=False)
    ],
    tag: Annotated[str, typer.Argument(metavar="TAG", help=r"\1 stands for the first group.", show_default=False)],
    *,
    position: Annotated[int, typer.Option(help="Lower ones are tried first.")] = 100,
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    r"""Add a pattern. The tag that it makes must be one of the registry; what it finds else is no asset.

    Example: fieldpost asset pattern add 'charging point #?(\d{4})\b' 'AUS_\1'

    Exit codes: 0 ok, 2 bad input or configuration, or the pattern cannot be compiled.
    """
    asked = checked(NewTagPattern, {"pattern": pattern, "tag": tag, "position": position})
    _tell(_done(commands.ADD_PATTERN, asked, org, data), as_json=as_json)


@app.command()
def change(
    pattern_id: PatternId,
    *,
    pattern: Annotated[str | None, typer.Option(help="RE2; letter case does not matter.")] = None,
    tag: Annotated[str | None, typer.Option(help=r"\1 stands for the first group.")] = None,
    position: Annotated[int | None, typer.Option(help="Lower ones are tried first.")] = None,
    is_enabled: Annotated[bool | None, typer.Option("--on/--off", help="Whether mail is searched for it.")] = None,
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Change a pattern, or switch it on or off.

    Example: fieldpost asset pattern change 0198c1d2-7d1f-7c52-9f0e-1f5f0a3c2b11 --off

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    given = {"pattern": pattern, "tag": tag, "position": position, "is_enabled": is_enabled}
    asked = checked(TagPatternChange, {name: value for name, value in given.items() if value is not None})
    _tell(_done(commands.CHANGE_PATTERN, asked, org, data, pattern_id), as_json=as_json)


def _done(command: Any, asked: Any, org: str | None, data: Path | None, target: str | None = None) -> dict[str, Any]:
    settings, where = begin("asset", data)
    with open_runtime(settings, where) as runtime:
        with runtime.db.begin() as connection:
            org_id = find_organization(connection, org)
        return execute(runtime.db, operator_of(org_id), command, asked, target)


def _tell(made: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    print_fields((name, made[name]) for name in ("pattern", "tag", "position", "is_enabled", "id"))
