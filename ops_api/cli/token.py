"""`fieldpost token`: tokens for cron and scripts that call the HTTP API."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, TypeAlias

import typer

from models.permissions import Permission
from ops_api.cli.options import AsJson, Data, Organization
from ops_api.cli.output import print_json, print_table, remark
from ops_api.cli.person import actor, leave_row
from ops_api.cli.session import begin, open_runtime
from pipeline.commands.api_tokens import LONGEST, SHORTEST, issue
from pipeline.commands.granting import OPERATOR
from pipeline.commands.mailboxes import find_organization
from pipeline.commands.people import find_person
from pipeline.runtime import api_tokens
from pipeline.runtime.errors import UserError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Make, list and revoke tokens for scripts.")

_MOST = 1_000
TokenName: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="The token's name.", show_default=False)]


@app.command()
def create(
    name: TokenName,
    *,
    person: Annotated[str, typer.Option("--for", metavar="EMAIL", help="Whom it acts for; it may no more than they.")],
    role: Annotated[str, typer.Option(metavar="ROLE", help="What it may at most: the code of a role.")],
    days: Annotated[int, typer.Option(min=SHORTEST, max=LONGEST, help="How long it is good.")] = 90,
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it, this once; send it as `Authorization: Bearer TOKEN`.

    Example: fieldpost token create nightly-export --for ann@example.org --role viewer --days 30

    Exit codes: 0 made, 2 bad input or configuration.
    """
    settings, where = begin("token", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        org_id = find_organization(connection, org)
        person_id = find_person(connection, person)
        issued = issue(connection, org_id, OPERATOR, person_id, name=name, role=role, days=days)
        leave_row(connection, org_id, Permission.TOKENS_CHANGE, "api_token", issued.token_id)
    if as_json:
        print_json(asdict(issued))
        return
    remark(f"good until {issued.expires_at:%Y-%m-%d}; it is shown this once")
    print(issued.token)


@app.command("list")
def list_tokens(org: Organization = None, data: Data = None, as_json: AsJson = False) -> None:
    """List the tokens, the newest first, and say which work.

    Example: fieldpost token list --json

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("token", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        found = api_tokens.listed(connection, find_organization(connection, org), limit=_MOST)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    rows = [
        (one.name, f"...{one.hint}", one.role, one.person, one.expires_at, one.used_at, "yes" if one.is_good else "no")
        for one in found
    ]
    columns = ("name", "token", "role", "acts for", "good until", "used", "works")
    print_table(columns, rows, empty="No token yet: make one with `fieldpost token create`.")


@app.command()
def revoke(name: TokenName, org: Organization = None, data: Data = None) -> None:
    """Revoke a token by its name or id; it works no longer from the next request on.

    Example: fieldpost token revoke nightly-export

    Exit codes: 0 revoked, 2 bad input or configuration.
    """
    settings, where = begin("token", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        org_id = find_organization(connection, org)
        token_id = api_tokens.find(connection, org_id, name)
        if token_id is None:
            raise UserError(f"there is no token {name!r}, or it was revoked before; see `fieldpost token list`")
        api_tokens.revoke(connection, org_id, token_id, by=actor())
        leave_row(connection, org_id, Permission.TOKENS_CHANGE, "api_token", token_id)
    print(f"{name} is revoked")
