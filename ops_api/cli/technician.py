"""`fieldpost technician`: who works in the field, what is known of them, and what of it the operator sets."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, TypeAlias
from uuid import UUID

import typer
from sqlalchemy import Connection

from models.queries import technicians as queries
from ops_api.cli.executing import checked, execute, operator_of
from ops_api.cli.options import AsJson, Data, Organization
from ops_api.cli.output import print_json, print_table, remark
from ops_api.cli.session import begin, open_runtime
from pipeline.command import Command
from pipeline.commands import people_desk, technicians
from pipeline.commands.mailboxes import find_organization
from pipeline.runtime import technician_reading
from pipeline.runtime.errors import UserError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="See technicians; set zones, home, certificates.")

Person: TypeAlias = Annotated[
    str, typer.Argument(metavar="PERSON", help="Mail address, telephone number or id.", show_default=False)
]
#: Nobody reads more at a terminal.
_PAGE = 200


@app.command("list")
def list_technicians(org: Organization = None, data: Data = None, as_json: AsJson = False) -> None:
    """List who works in the field: skills, zones, certificates, open work, and whether they are here.

    Example: fieldpost technician list

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("technician", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        org_id = find_organization(connection, org)
        rows = queries.technicians(connection, org_id, limit=_PAGE)
        found = technician_reading.described(connection, org_id, rows)
    if as_json:
        print_json(found)
        return
    columns = ("name", "skills", "zones", "certificates", "open", "here", "id")
    empty = "Nobody: give somebody the role technician with `fieldpost people role`."
    print_table(columns, map(_row, found), empty=empty, wrapped=("name", "skills", "zones", "certificates"))
    if len(found) == _PAGE:
        remark(f"only the first {_PAGE} are shown")


@app.command("set")
def set_technician(
    person: Person,
    *,
    zone: Annotated[
        list[str] | None, typer.Option(metavar="ZONE", help="Served; for each once, none of them: ''.")
    ] = None,
    home: Annotated[
        str | None, typer.Option(metavar="LAT,LON", help="Where the day begins; '' for unknown.", show_default=False)
    ] = None,
    most_visits: Annotated[
        int | None, typer.Option(metavar="N", help="Visits a day; 0 for as many as fit.", show_default=False)
    ] = None,
    available: Annotated[bool | None, typer.Option("--available/--unavailable", show_default=False)] = None,
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Set what is known of a technician; what is left out stays as it is.

    Example: fieldpost technician set tom@example.org --zone North --zone East --home 52.52,13.40 --most-visits 6

    Exit codes: 0 set, 2 bad input or configuration.
    """
    said: dict[str, Any] = {}
    said |= {} if zone is None else {"zones": [one for one in zone if one.strip()]}
    said |= {} if home is None else {"home": _home(home)}
    said |= {} if most_visits is None else {"most_visits": most_visits or None}
    said |= {} if available is None else {"is_available": available}
    settings, where = begin("technician", data)
    with open_runtime(settings, where) as runtime:
        with runtime.db.begin() as connection:
            org_id, person_id = _whom(connection, org, person)
            row = queries.TechnicianRow(person_id, "", None, None)
            (known,) = technician_reading.described(connection, org_id, [row]) or [{}]
        before = {name: known[name] for name in technicians.Setting.model_fields if name in known}
        asked = checked(technicians.Setting, before | said)
        _report(execute(runtime.db, operator_of(org_id), technicians.SET, asked, str(person_id)), as_json=as_json)


@app.command()
def certify(
    person: Person,
    name: Annotated[str, typer.Argument(metavar="CERTIFICATE", help="Its name.", show_default=False)],
    *,
    until: Annotated[
        str | None, typer.Option(metavar="DAY", help="The last day it is good on; without one for ever.")
    ] = None,
    revoke: Annotated[bool, typer.Option("--revoke", help="Take it away instead.")] = False,
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Note a technician's certificate, how long it is good, or that it is none any more.

    Example: fieldpost technician certify tom@example.org "High voltage" --until 2027-06-30

    Exit codes: 0 noted, 2 bad input or configuration.
    """
    command: Command[Any, Any] = technicians.UNCERTIFY if revoke else technicians.CERTIFY
    said = {"name": name} | ({} if revoke else {"valid_until": _day(until)})
    asked = checked(command.arguments, said)
    settings, where = begin("technician", data)
    with open_runtime(settings, where) as runtime:
        with runtime.db.begin() as connection:
            org_id, person_id = _whom(connection, org, person)
        _report(execute(runtime.db, operator_of(org_id), command, asked, str(person_id)), as_json=as_json)


def _whom(connection: Connection, org: str | None, person: str) -> tuple[UUID, UUID]:
    org_id = find_organization(connection, org)
    person_id: UUID = people_desk.find_person(connection, person).id
    return org_id, person_id


def _home(said: str) -> dict[str, float] | None:
    if not said.strip():
        return None
    try:
        lat, lon = (float(one) for one in said.split(","))
    except ValueError as error:
        raise UserError("--home is latitude and longitude in degrees, like 52.52,13.40") from error
    return {"lat": lat, "lon": lon}


def _day(said: str | None) -> date | None:
    try:
        return None if said is None else date.fromisoformat(said)
    except ValueError as error:
        raise UserError("--until is a day, like 2027-06-30") from error


def _report(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print_table(
        ("name", "skills", "zones", "certificates", "open", "here", "id"),
        [_row(found)],
        empty="",
        wrapped=("name", "skills", "zones", "certificates"),
    )


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    held = [
        f"{held['name']}{' until ' + held['valid_until'] if held['valid_until'] else ''}"
        f"{' (expired)' if held['is_expired'] else ''}"
        for held in one["certificates"]
    ]
    listed = (", ".join(one["skills"]), ", ".join(one["zones"]), ", ".join(held))
    return (one["name"] or None, *(said or None for said in listed), one["open_load"], _here(one), one["person_id"])


def _here(one: dict[str, Any]) -> str:
    if not one["is_available"]:
        return "unavailable"
    if one["away_until"]:
        return f"away until {one['away_until'][:16]}"
    return "yes" if one["is_on_shift"] else "off shift"
