"""`fieldpost identity`: the addresses that may be written from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from functools import partial
from typing import Annotated, TypeAlias

import typer

from models.enums import Provider
from models.queries.outbound import send_identities
from ops_api.cli.options import AsJson, Data
from ops_api.cli.output import print_json, print_table
from ops_api.cli.person import operator
from ops_api.cli.session import Runtime, begin, open_runtime
from pipeline.adapters.sending import open_sender
from pipeline.adapters.wiring import unsealed
from pipeline.commands import send_identities as commands
from pipeline.commands.mailboxes import find_mailbox
from pipeline.runtime.errors import FieldpostError, UserError
from pipeline.runtime.mailboxes import load_mailboxes
from pipeline.runtime.secrets import Secrets

app = typer.Typer(add_completion=False, no_args_is_help=True, help="See and set the addresses that are written from.")

Address: TypeAlias = Annotated[str, typer.Argument(metavar="ADDRESS", help="The address.", show_default=False)]


@app.command()
def add(
    address: Address,
    *,
    mailbox: Annotated[
        str, typer.Option(metavar="MAILBOX", help="The mailbox that sends it: its address or id.", show_default=False)
    ],
    name: Annotated[str, typer.Option(metavar="TEXT", help="The name beside the address.")] = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Let an address be written from; the mailbox's own is verified at once, another one by `verify`.

    Example: fieldpost identity add support@example.org --mailbox support@example.org --name "Example Support"

    Exit codes: 0 added, 2 bad input or configuration.
    """
    settings, where = begin("identity", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        mailbox_id = find_mailbox(connection, mailbox)
        identity_id = commands.add_identity(connection, mailbox_id, address, name, actor=operator())
        (found,) = [one for one in send_identities(connection) if one.identity_id == identity_id]
    if as_json:
        print_json(asdict(found))
    elif found.status == "verified":
        print(f"{found.from_email} may be written from")
    else:
        print(f"{found.from_email} is {found.status}. Next: `fieldpost identity verify {found.from_email}`")


@app.command("list")
def list_identities(data: Data = None, as_json: AsJson = False) -> None:
    """List the addresses that may be written from, and those that wait for their proof.

    Example: fieldpost identity list --json

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("identity", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        found = send_identities(connection)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    rows = [
        (one.from_email, one.display_name or None, one.mailbox, one.status if one.is_enabled else "disabled")
        for one in found
    ]
    empty = "No address may be written from yet: add one with `fieldpost identity add`."
    print_table(("address", "name", "mailbox", "state"), rows, empty=empty, wrapped=("name",))


@app.command()
def verify(
    address: Address,
    *,
    assume_verified: Annotated[
        bool, typer.Option("--assume-verified", help="You answer for it; kept with your name. For SMTP.")
    ] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Ask the provider whether the mailbox may send as an address, and note its answer.

    Example: fieldpost identity verify sales@example.org

    Exit codes: 0 verified, 1 the provider does not allow it, 2 bad input, configuration or no answer.
    """
    settings, where = begin("identity", data)
    with open_runtime(settings, where) as runtime:
        proved = None if assume_verified else _proved(runtime, address)
        with runtime.db.begin() as connection:
            done = commands.verify(connection, address, proved, actor=operator(), assume=assume_verified)
    if as_json:
        print_json({"address": address.strip().lower(), "verified": done})
    else:
        print(f"{address} " + ("may be written from" if done else "is not allowed by the provider"))
    if not done:
        raise typer.Exit(1)


@app.command()
def disable(address: Address, data: Data = None, as_json: AsJson = False) -> None:
    """Forbid writing from an address; what is queued from it fails instead of leaving.

    Example: fieldpost identity disable sales@example.org

    Exit codes: 0 disabled, 2 bad input or configuration.
    """
    _set_enabled(address, data, enabled=False, as_json=as_json)


@app.command()
def enable(address: Address, data: Data = None, as_json: AsJson = False) -> None:
    """Allow writing from an address again.

    Example: fieldpost identity enable sales@example.org

    Exit codes: 0 enabled, 2 bad input or configuration.
    """
    _set_enabled(address, data, enabled=True, as_json=as_json)


def _set_enabled(address: str, data: Data, *, enabled: bool, as_json: bool) -> None:
    settings, where = begin("identity", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        commands.set_enabled(connection, address, enabled=enabled, actor=operator())
    if as_json:
        print_json({"address": address.strip().lower(), "is_enabled": enabled})
    else:
        print(f"{address} is {'enabled' if enabled else 'disabled'}")


def _proved(runtime: Runtime, address: str) -> Mapping[str, bool] | None:
    """Return what the provider says of the addresses, with no transaction open; None where it cannot tell."""
    with runtime.db.begin() as connection:
        row = commands.find_identity(connection, address)
        mailbox = load_mailboxes(connection, [row.mailbox_id])[row.mailbox_id].ref
    if mailbox.provider != Provider.GMAIL or row.from_email == mailbox.address:
        return None
    unseal = partial(unsealed, Secrets.of(runtime.settings))
    try:
        with closing(open_sender(mailbox, runtime.settings, unseal)) as sender:
            return sender.allowed()
    except FieldpostError as error:
        raise UserError(f"{mailbox.address} does not say as whom it may send: {error}") from error
