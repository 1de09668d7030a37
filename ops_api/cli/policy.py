"""`fieldpost policy`: how an organization stitches, answers and plans; shown and set. Triage has its own."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import orjson
import typer

from ops_api.cli.options import AsJson, Data
from ops_api.cli.output import line_of, print_json, print_table
from ops_api.cli.person import actor
from ops_api.cli.session import begin, open_runtime
from pipeline.commands.mailboxes import find_organization
from pipeline.commands.policy import change_policy, policy_settings
from pipeline.core.policies import SETTINGS
from pipeline.runtime.errors import UserError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="See and set how an organization stitches, answers and forgets; for triage: `fieldpost triage policy`.",
)

Organization: TypeAlias = Annotated[
    str | None, typer.Option("--org", metavar="NAME", help="Its name; may be left out when there is only one.")
]


@app.command()
def show(org: Organization = None, data: Data = None, as_json: AsJson = False) -> None:
    """Show every setting with its value and what it decides.

    Example: fieldpost policy show

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("policy", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        found = policy_settings(connection, find_organization(connection, org))
    _tell(found, as_json=as_json)


@app.command("set")
def set_values(
    values: Annotated[
        list[str], typer.Argument(metavar="NAME=VALUE...", help="An empty value is the default.", show_default=False)
    ],
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Set values; they hold for the next step of every message, and who set them is kept.

    Example: fieldpost policy set acknowledge=true automatic_answers_per_hour=3

    Exit codes: 0 ok, 2 bad input or configuration; then nothing is changed.
    """
    settings, where = begin("policy", data)
    changes = dict(map(_pair, values))
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        org_id = find_organization(connection, org)
        found = change_policy(connection, org_id, changes, actor=actor())
    _tell(found, as_json=as_json)


def _pair(said: str) -> tuple[str, Any]:
    """Return name and value; what is no JSON is text."""
    name, equals, value = said.partition("=")
    if not equals:
        raise UserError(f"write NAME=VALUE, not {said[:80]!r}; see `fieldpost policy show`")
    if not value:
        return name, None
    try:
        return name, orjson.loads(value)
    except orjson.JSONDecodeError:
        return name, value


def _tell(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    rows = [
        (name, line_of(value if isinstance(value, str) else orjson.dumps(value).decode()), SETTINGS[name].about)
        for name, value in found.items()
    ]
    print_table(("setting", "value", ""), rows, empty="", wrapped=("value", ""))
