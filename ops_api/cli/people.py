"""`fieldpost people`: who may sign in, in which role, and how they get in again."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated, TypeAlias

import typer

from models.queries import people
from ops_api.cli.options import AsJson, Data, Organization
from ops_api.cli.output import print_json, print_table, remark
from ops_api.cli.person import actor
from ops_api.cli.session import begin, open_runtime
from pipeline.commands import people_admin, people_desk
from pipeline.commands.granting import OPERATOR
from pipeline.commands.mailboxes import ensure_organization, find_organization
from pipeline.commands.people_admin import Newcomer, Post
from pipeline.core.notices import RESET_VALID, link
from pipeline.runtime.errors import UserError
from pipeline.runtime.passwords import Passwords
from pipeline.runtime.secrets import Secrets

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Add, list and disable people; set roles and passwords."
)

Person: TypeAlias = Annotated[
    str, typer.Argument(metavar="PERSON", help="Mail address, telephone number or id.", show_default=False)
]
#: A page of the list; nobody reads more at a terminal, and --json asks for the next.
_PAGE = 200


@app.command()
def add(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="What they sign in by.", show_default=False)],
    *,
    role: Annotated[str, typer.Option(metavar="ROLE", help="The code of their role.")] = "viewer",
    name: Annotated[str, typer.Option(metavar="TEXT", help="Their full name.")] = "",
    phone: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="They may sign in by it, too.", show_default=False)
    ] = None,
    org: Organization = None,
    new_org: Annotated[
        str | None, typer.Option("--new-org", metavar="NAME", help="Make this organization first.", show_default=False)
    ] = None,
    invite: Annotated[bool, typer.Option("--invite", help="Send them a mail with a link to set a password.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make somebody a member of an organization; the first one is its administrator to be.

    Example: fieldpost people add ann@example.org --role admin --name "Ann Archer" --new-org Acme

    Exit codes: 0 added, 2 bad input or configuration.
    """
    settings, where = begin("people", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        org_id = ensure_organization(connection, new_org) if new_org else find_organization(connection, org)
        post = Post(Secrets.of(runtime.settings), runtime.settings.public_url) if invite else None
        who = Newcomer(email, phone, name, role)
        member = people_admin.invite(connection, org_id, OPERATOR, who, post)
        people_desk.record(connection, member.person_id, "people.add", actor(), org_id)
    if as_json:
        print_json(asdict(member))
        return
    print(f"{member.email} is {member.role_name} now")
    if not member.has_password and not invite:
        remark(f"they have no password yet: `fieldpost people reset-link {member.email}` prints a link to set one")


@app.command("list")
def list_people(
    org: Organization = None,
    q: Annotated[
        str | None, typer.Option("--find", metavar="TEXT", help="Part of a name or address.", show_default=False)
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List the members of an organization, with role, reach and how they stand.

    Example: fieldpost people list --find archer

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("people", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        org_id = find_organization(connection, org)
        found = people.members(connection, org_id, words=q, limit=_PAGE)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    rows = [
        (one.email or one.phone, one.full_name or None, one.role, one.reach, _state(one), one.person_id)
        for one in found
    ]
    empty = "Nobody: add somebody with `fieldpost people add`."
    print_table(("who", "name", "role", "reach", "state", "id"), rows, empty=empty, wrapped=("name",))
    if len(found) == _PAGE:
        remark(f"only the first {_PAGE} are shown: narrow it with --find")


@app.command()
def disable(person: Person, org: Organization = None, data: Data = None, as_json: AsJson = False) -> None:
    """Let somebody out: everywhere, or of one organization only with --org. What they are signed in by ends at once.

    Example: fieldpost people disable ann@example.org

    Exit codes: 0 disabled, 2 bad input or configuration.
    """
    _switch(person, org, data, is_active=False, as_json=as_json)


@app.command()
def enable(person: Person, org: Organization = None, data: Data = None, as_json: AsJson = False) -> None:
    """Let somebody in again: the person, or with --org the membership of one organization.

    Example: fieldpost people enable ann@example.org

    Exit codes: 0 enabled, 2 bad input or configuration.
    """
    _switch(person, org, data, is_active=True, as_json=as_json)


@app.command("set-password")
def set_password(
    person: Person,
    *,
    from_stdin: Annotated[bool, typer.Option("--stdin", help="Read it from the first line of stdin.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Set somebody's password; everything they are signed in by ends. It is asked for, and never an argument.

    Example: fieldpost people set-password ann@example.org

    Exit codes: 0 set, 2 bad input or configuration.
    """
    settings, where = begin("people", data)
    password = sys.stdin.readline().rstrip("\r\n") if from_stdin else _asked()
    hashed = Passwords().hashed(password)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        found = people_desk.find_person(connection, person)
        people_desk.set_password(connection, found, password, hashed, actor=actor())
    if as_json:
        print_json({"id": found.id, "is_set": True})
    else:
        print(f"the password of {found.email or found.phone} is set")


@app.command("reset-link")
def reset_link(person: Person, data: Data = None, as_json: AsJson = False) -> None:
    """Print a link, or without FIELDPOST_PUBLIC_URL a token, that sets the person's password once, within 30 minutes.

    Example: fieldpost people reset-link ann@example.org

    Exit codes: 0 printed, 2 bad input or configuration.
    """
    settings, where = begin("people", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        found = people_desk.find_person(connection, person)
        token = people_desk.reset_token(connection, found, actor=actor())
        address = link(runtime.settings.public_url, token)
    if as_json:
        print_json({"id": found.id, "token": token, "link": address, "seconds": RESET_VALID.total_seconds()})
        return
    remark("whoever has this can be them: give it to nobody else")
    print(address or token)


@app.command()
def role(
    person: Person,
    code: Annotated[str, typer.Argument(metavar="ROLE", help="The code of a role.", show_default=False)],
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Give a member another role; they sign in again.

    Example: fieldpost people role ann@example.org dispatcher

    Exit codes: 0 given, 2 bad input or configuration.
    """
    settings, where = begin("people", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        org_id = find_organization(connection, org)
        found = people_desk.find_person(connection, person)
        member = people_admin.change(connection, org_id, OPERATOR, found.id, {"role": code})
        people_desk.record(connection, found.id, "people.change", actor(), org_id)
    if as_json:
        print_json(asdict(member))
    else:
        print(f"{member.email or member.phone} is {member.role_name} now")


def _switch(person: str, org: str | None, data: Data, *, is_active: bool, as_json: bool) -> None:
    settings, where = begin("people", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        found = people_desk.find_person(connection, person)
        if org is None:
            people_desk.set_active(connection, found, is_active=is_active, actor=actor())
        else:
            org_id = find_organization(connection, org)
            people_admin.change(connection, org_id, OPERATOR, found.id, {"is_active": is_active})
            action = "people.enable" if is_active else "people.disable"
            people_desk.record(connection, found.id, action, actor(), org_id)
    if as_json:
        print_json({"id": found.id, "is_active": is_active})
    else:
        print(f"{found.email or found.phone} is {'let in again' if is_active else 'disabled'}")


def _asked() -> str:
    if not sys.stdin.isatty():
        raise UserError("there is no terminal to ask for the password: give it on stdin, with --stdin")
    return str(typer.prompt("New password", hide_input=True, confirmation_prompt=True))


def _state(member: people.Member) -> str:
    if member.is_disabled or not member.is_active:
        return "disabled"
    if member.is_locked:
        return "locked for a while"
    return "active" if member.has_password else "no password"
