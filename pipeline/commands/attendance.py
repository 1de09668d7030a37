"""Coming to work and going home, as a manager notes it; the points of coming in time (contract 002)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from models.permissions import Permission
from pipeline.command import Ask, Command, Effect, Locked, Target
from pipeline.core.attendance import arrival, day_of
from pipeline.core.refusing import Refusal
from pipeline.core.repairs import enveloped
from pipeline.core.workshop_rules import Rules
from pipeline.core.written import plain
from pipeline.core.xp import of_arrival
from pipeline.runtime import attendance_rows, rules, workshop_people, xp_rows
from pipeline.runtime.attendance_rows import Days, Record
from pipeline.runtime.workshop_people import PART_ONLY, UNKNOWN_USER, Member


class Whose(BaseModel):
    """Whose day it is."""

    model_config = ConfigDict(extra="forbid")

    user: UUID


@dataclass(frozen=True, slots=True)
class Presence:
    """Somebody, locked, with what is known of their day."""

    member: Member
    rules: Rules
    days: Days


def said(record: Record, member: Member, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return a day as it is answered after a change."""
    return {
        "id": str(record.record_id),
        "user": str(record.person_id),
        "user_name": member.full_name,
        "work_date": record.work_date.isoformat(),
        "check_in_at": plain(record.checked_in_at),
        "check_out_at": plain(record.checked_out_at),
        **more,
    }


def _presence(connection: Connection, ask: Ask[Whose]) -> Locked[Presence] | None:
    who = ask.principal
    member = workshop_people.lock(connection, who.org_id, ask.arguments.user)
    if member is None:
        return None
    in_force = rules.current(connection, who.org_id)
    day = day_of(member.now, in_force.work_session.zone)
    days = attendance_rows.days(connection, who.org_id, member.person_id, day, member.now)
    return Locked(str(member.person_id), Presence(member, in_force, days), 0, who.scope.is_whole)


def came_not_yet(_ask: Ask[Any], presence: Presence) -> Refusal | None:
    """Refuse a second coming on one day."""
    if presence.days.today is None:
        return None
    return Refusal("ALREADY_CHECKED_IN", "this person was checked in today already")


def is_there(_ask: Ask[Any], presence: Presence) -> Refusal | None:
    """Refuse going before coming, and going twice."""
    if presence.days.going is not None:
        return None
    if presence.days.today is None:
        return Refusal("NOT_CHECKED_IN", "this person was not checked in today: check them in first")
    return Refusal("ALREADY_CHECKED_OUT", "this person was checked out today already")


def _come(connection: Connection, ask: Ask[Whose], presence: Presence) -> Effect:
    member, in_force, by = presence.member, presence.rules, ask.principal.actor_id
    came = arrival(member.now, in_force.work_session.zone, in_force.attendance)
    record = attendance_rows.come(connection, member.org_id, member.person_id, came.work_date, by)
    points = of_arrival(member.person_id, came.work_date, came.xp, came.called.value)
    # A row of 0 is a row: that the day was counted is told.
    xp_rows.grant(connection, member.org_id, [points], by)
    more = {"punctuality": came.called.value, "xp": came.xp}
    details = {"work_day": came.work_date, "kind": came.called.value, "xp": came.xp, "record_id": record.record_id}
    return Effect(enveloped(said(record, member, more)), status=201, details=details)


def _go(connection: Connection, _ask: Ask[Whose], presence: Presence) -> Effect:
    going = presence.days.going
    assert going is not None
    record = attendance_rows.go(connection, going.record_id)
    details = {"work_day": record.work_date, "record_id": record.record_id}
    return Effect(enveloped(said(record, presence.member, {})), details=details)


_TARGET = Target("person", _presence, UNKNOWN_USER, unreached=PART_ONLY)
CHECK_IN = Command(
    name="attendance.check_in",
    about="Notes that somebody came to work, once a local day, and gives what coming in time is worth.",
    arguments=Whose,
    permission=Permission.ATTENDANCE_CHANGE,
    target=_TARGET,
    gates=(came_not_yet,),
    effect=_come,
)
CHECK_OUT = Command(
    name="attendance.check_out",
    about="Notes that somebody went home.",
    arguments=Whose,
    permission=Permission.ATTENDANCE_CHANGE,
    target=_TARGET,
    gates=(is_there,),
    effect=_go,
)
#: What `pipeline.table` finds here.
COMMANDS = (CHECK_IN, CHECK_OUT)
