"""`fieldpost quota`: which limits hold for the provider's projects, and what is spent of them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from models.enums import QuotaProfile
from ops_api.cli.options import AsJson, Data
from ops_api.cli.output import print_json, print_table
from ops_api.cli.person import operator
from ops_api.cli.session import begin, open_runtime
from pipeline.commands.quota import Project, list_projects, set_project

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Show and set the limits of the provider's projects."
)

_MB = 1_000_000


@app.command("list")
def list_all(data: Data = None, as_json: AsJson = False) -> None:
    """List every project with the limits that hold for it, and what it spent today (Pacific time).

    Example: fieldpost quota list --json

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("quota", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        _show(list_projects(connection), as_json=as_json)


@app.command("set")
def set_one(
    project: Annotated[str, typer.Argument(help="The Cloud project, as `fieldpost quota list` names it.")],
    *,
    profile: Annotated[
        QuotaProfile | None,
        typer.Option(help="Google's table that holds: projects used before May 2026 have the older."),
    ] = None,
    units_per_user_minute: Annotated[
        int | None, typer.Option(min=0, help="Units a mailbox may spend a minute.")
    ] = None,
    units_per_minute: Annotated[int | None, typer.Option(min=0, help="Units the project may spend a minute.")] = None,
    units_per_day: Annotated[int | None, typer.Option(min=0, help="Units the project may spend a day.")] = None,
    megabytes_per_user_day: Annotated[int | None, typer.Option(min=0, help="Mail a mailbox may fetch a day.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=0, help="Calls of a mailbox at once.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Set what a project may spend; what is not named stays, 0 puts the profile's own limit back.

    A project that rests is asked again at once.

    Example: fieldpost quota set acme-mail --profile before_2026_05 --units-per-user-minute 12000

    Exit codes: 0 set, 2 bad input or configuration.
    """
    size = None if megabytes_per_user_day is None else megabytes_per_user_day * _MB
    named = {
        "units_per_user_minute": units_per_user_minute,
        "units_per_minute": units_per_minute,
        "units_per_day": units_per_day,
        "bytes_per_user_day": size,
        "concurrency": concurrency,
    }
    overrides = {name: value for name, value in named.items() if value is not None}
    settings, where = begin("quota", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        set_project(connection, project, profile, overrides, actor=operator())
        _show(list_projects(connection, project), as_json=as_json)


def _show(projects: list[Project], *, as_json: bool) -> None:
    if as_json:
        print_json([_as_json(one) for one in projects])
        return
    columns = ("project", "profile", "mailboxes", "units/user/min", "units/min", "units/day", "today", "MB/user/day",
               "at once", "rests until")  # fmt: skip
    rows = [
        (
            one.name,
            one.profile.value,
            one.mailboxes,
            f"{one.limits.units_per_user_minute:,}",
            f"{one.limits.units_per_minute:,}",
            f"{one.limits.units_per_day:,}",
            f"{one.units_today:,}",
            f"{one.limits.bytes_per_user_day // _MB:,}",
            one.limits.concurrency,
            None if one.rest_until is None else f"{one.rest_until:%Y-%m-%d %H:%M:%S} UTC",
        )
        for one in projects
    ]
    print_table(columns, rows, empty="No project yet: it is known when its first mailbox is read.")


def _as_json(one: Project) -> dict[str, Any]:
    limits = one.limits
    return {
        "project": one.name,
        "profile": one.profile.value,
        "mailboxes": one.mailboxes,
        "units_per_user_minute": limits.units_per_user_minute,
        "units_per_minute": limits.units_per_minute,
        "units_per_day": limits.units_per_day,
        "bytes_per_user_day": limits.bytes_per_user_day,
        "concurrency": limits.concurrency,
        "units_today": one.units_today,
        "rest_until": one.rest_until,
        "changed_at": one.changed_at,
        "changed_by": one.changed_by,
    }
