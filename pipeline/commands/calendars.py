"""Commands of an administrator on business calendars: their hours and their holidays."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from models.clocks import calendars
from pipeline.core.calendars import MOST_HOLIDAYS, Calendar
from pipeline.core.text import is_writable
from pipeline.runtime import clock_requests
from pipeline.runtime.errors import UserError

MOST_CALENDARS = 100
_NAME = 100

_COUNT = text("SELECT count(*) FROM calendars WHERE org_id = :org")
_HOLIDAYS = text("SELECT day FROM holidays WHERE calendar_id = :id")
_ADD = text("""
    INSERT INTO holidays (org_id, calendar_id, day, name)
    SELECT :org, :id, day, name FROM unnest(CAST(:days AS date[]), CAST(:names AS text[])) AS t(day, name)
        ON CONFLICT (calendar_id, day) DO UPDATE SET name = excluded.name
""")
_TAKE_OUT = text("DELETE FROM holidays WHERE calendar_id = :id AND org_id = :org AND day = :day RETURNING day")
#: A policy's version counts its calendar's changes, too: it says by what its clocks were computed.
_TOUCH = text("UPDATE sla_policies SET version = version + 1 WHERE calendar_id = :id RETURNING id")
_VERSION = text("UPDATE calendars SET version = version + 1 WHERE id = :id")


class Conflict(UserError):
    """What is there already, or was changed meanwhile, stands against it."""


def add_calendar(connection: Connection, org_id: UUID, values: Mapping[str, Any]) -> UUID:
    """Add a calendar (`name`, `timezone`, `hours`); return its id. Raises `UserError`, `Conflict` for a taken name."""
    if connection.execute(_COUNT, {"org": org_id}).scalar_one() >= MOST_CALENDARS:
        raise Conflict(f"an organization has at most {MOST_CALENDARS} calendars")
    whole = _checked(values, ())
    statement = insert(calendars).values(org_id=org_id, **whole).returning(calendars.c.id)
    try:
        with connection.begin_nested():
            found: UUID = connection.execute(statement).scalar_one()
    except IntegrityError as error:
        raise _taken(whole["name"]) from error
    return found


def change_calendar(
    connection: Connection, org_id: UUID, calendar_id: UUID, changes: Mapping[str, Any], *, version: int | None
) -> bool:
    """Change a calendar, and ask for the clocks of open tickets anew; False when there is none.

    Raises `Conflict` when it is not at `version` any more (None: whichever), and as `add_calendar` does.
    """
    row = _locked(connection, org_id, calendar_id, version)
    if row is None:
        return False
    holidays = connection.execute(_HOLIDAYS, {"id": calendar_id}).scalars().all()
    whole = _checked({name: row[name] for name in ("name", "timezone", "hours")} | dict(changes), holidays)
    statement = update(calendars).where(calendars.c.id == calendar_id).values(version=row["version"] + 1, **whole)
    try:
        with connection.begin_nested():
            connection.execute(statement)
    except IntegrityError as error:
        raise _taken(whole["name"]) from error
    _follow(connection, org_id, calendar_id)
    return True


def delete_calendar(connection: Connection, org_id: UUID, calendar_id: UUID, *, version: int | None) -> bool:
    """Delete a calendar that no policy has; False when there is none. Raises `Conflict`."""
    if _locked(connection, org_id, calendar_id, version) is None:
        return False
    try:
        with connection.begin_nested():
            connection.execute(delete(calendars).where(calendars.c.id == calendar_id))
    except IntegrityError as error:
        raise Conflict("a policy has this calendar; give it another one first") from error
    return True


def add_holidays(connection: Connection, org_id: UUID, calendar_id: UUID, days: Mapping[date, str]) -> bool:
    """Add holidays, by day with a name; a day that is there gets the name. False when there is no such calendar."""
    if _locked(connection, org_id, calendar_id, None) is None:
        return False
    if wrong := next((name for name in days.values() if not is_writable(name)), None):
        raise UserError(f"the holiday {wrong[:40]!a} holds a control character: take it out")
    there = set(connection.execute(_HOLIDAYS, {"id": calendar_id}).scalars())
    if len(there | set(days)) > MOST_HOLIDAYS:
        raise UserError(f"a calendar has at most {MOST_HOLIDAYS} holidays; take out those that are over")
    names = [name[:200] for name in days.values()]
    connection.execute(_ADD, {"org": org_id, "id": calendar_id, "days": list(days), "names": names})
    connection.execute(_VERSION, {"id": calendar_id})
    _follow(connection, org_id, calendar_id)
    return True


def delete_holiday(connection: Connection, org_id: UUID, calendar_id: UUID, day: date) -> bool:
    """Let a day be one like any other; False when it is no holiday of that calendar."""
    values = {"org": org_id, "id": calendar_id, "day": day}
    if _locked(connection, org_id, calendar_id, None) is None or connection.execute(_TAKE_OUT, values).first() is None:
        return False
    connection.execute(_VERSION, values)
    _follow(connection, org_id, calendar_id)
    return True


def _follow(connection: Connection, org_id: UUID, calendar_id: UUID) -> None:
    if connection.execute(_TOUCH, {"id": calendar_id}).first() is not None:
        clock_requests.request(connection, org_id)


def _locked(connection: Connection, org_id: UUID, calendar_id: UUID, version: int | None) -> RowMapping | None:
    wanted = (calendars.c.id == calendar_id) & (calendars.c.org_id == org_id)
    row = connection.execute(select(calendars).where(wanted).with_for_update(key_share=True)).mappings().one_or_none()
    if row is not None and version is not None and row["version"] != version:
        raise Conflict(f"the calendar is at version {row['version']} by now; read it again")
    return row


def _checked(values: Mapping[str, Any], holidays: Collection[date]) -> dict[str, Any]:
    name = str(values["name"]).strip()
    if not name or len(name) > _NAME or not is_writable(name):
        raise UserError(f"a name has 1 to {_NAME} characters, and no control characters")
    try:
        Calendar.read(values["timezone"], values["hours"], holidays)
    except ValueError as error:
        raise UserError(str(error)) from error
    return {"name": name, "timezone": values["timezone"], "hours": dict(values["hours"])}


def _taken(name: str) -> Conflict:
    return Conflict(f"there is a calendar {name!r} already")
