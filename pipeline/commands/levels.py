"""Levels: a week judged on demand, a level set by hand, and the weeks that the schedule asks for (contract 002)."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import Connection, text

from models.enums import Lane, LevelSource, LevelStatus
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect, Locked, Target
from pipeline.commands.field_arguments import Reason
from pipeline.core.levels import HIGHEST, LOWEST, WEEK, YEARS, Standing, bounded, first_due, last_week, monday_of
from pipeline.core.refusing import Because, Refusal
from pipeline.core.repairs import enveloped
from pipeline.core.workshop_rules import Rules
from pipeline.core.written import read_id
from pipeline.runtime import ledger, level_rows, rules, workshop_people, xp_rows
from pipeline.runtime.jobs import Emit
from pipeline.runtime.level_rows import Event, Judged, Week, Workshop
from pipeline.runtime.workshop_people import NO_SUCH_USER, PART_ONLY, Member

_STAGE = "judge"
_NOW = text("SELECT now()")


class Evaluation(BaseModel):
    """Which week, by its Monday; the last one without."""

    model_config = ConfigDict(extra="forbid")

    week_start: date | None = Field(default=None, description="A Monday of a week that is over.")


class LevelChange(BaseModel):
    """The level that somebody is given, and why."""

    model_config = ConfigDict(extra="forbid")

    level: int = Field(strict=True, ge=LOWEST, le=HIGHEST)
    reason: Annotated[Reason, StringConstraints(max_length=500)]
    clear_warning: bool = Field(default=False, strict=True)


@dataclass(frozen=True, slots=True)
class Asked:
    """A week as somebody asks for it, and the newest that is over."""

    org_id: UUID
    week_start: date
    last: date
    rules: Rules


@dataclass(frozen=True, slots=True)
class Levelled:
    """Somebody and where they stand, both locked."""

    member: Member
    standing: Standing


def _week(connection: Connection, ask: Ask[Evaluation]) -> Locked[Asked]:
    who, now = ask.principal, connection.execute(_NOW).scalar_one()
    in_force = rules.current(connection, who.org_id)
    last = last_week(now, in_force.work_session.zone)
    asked = Asked(who.org_id, ask.arguments.week_start or last, last, in_force)
    return Locked(str(who.org_id), asked, 0, who.scope.is_whole)


def is_whole_week(_ask: Ask[Any], asked: Asked) -> Refusal | None:
    """Refuse a day that begins no week, and a week that is not over."""
    if asked.week_start.weekday() != 0:
        return Refusal("NOT_A_MONDAY", "a week is named by its Monday", Because.INVALID)
    if asked.week_start.year not in YEARS:
        return Refusal("NO_SUCH_WEEK", "nobody worked in that week", Because.INVALID)
    if asked.week_start > asked.last:
        return Refusal("WEEK_NOT_OVER", f"this week is not over; the last one began on {asked.last}", Because.INVALID)
    return None


def _evaluate(connection: Connection, ask: Ask[Evaluation], asked: Asked) -> Effect:
    week = Week(asked.org_id, asked.week_start, asked.rules)
    found = level_rows.evaluate(connection, [week], by=ask.principal.actor_id)
    counts = Counter(one.verdict.status.value for one in found)
    body = {
        "week_start": asked.week_start.isoformat(),
        "evaluated": len(found),
        "statuses": dict(sorted(counts.items())),
    }
    answer = {**body, "results": [_judged(one) for one in found]}
    return Effect(enveloped(answer), details={"week_start_on": asked.week_start, "counts": dict(counts)})


def _judged(one: Judged) -> dict[str, Any]:
    event = one.event
    return {
        "user": str(event.person_id),
        "status": event.status.value,
        "week_xp": event.week_xp,
        "total_xp": event.total_xp,
        "from_level": event.before,
        "to_level": event.after,
    }


def _levelled(connection: Connection, ask: Ask[LevelChange]) -> Locked[Levelled] | None:
    who, person_id = ask.principal, read_id(ask.target or "")
    member = None if person_id is None else workshop_people.lock(connection, who.org_id, person_id)
    if member is None:
        return None
    if not (who.scope.is_whole and member.is_technician):
        return Locked(str(member.person_id), Levelled(member, Standing()), 0, who.scope.is_whole)
    standing = level_rows.lock(connection, who.org_id, member.person_id)
    return Locked(str(member.person_id), Levelled(member, standing), 0, is_reached=True)


def is_technician(_ask: Ask[Any], levelled: Levelled) -> Refusal | None:
    """Refuse who has no level: points of a week are asked of technicians alone."""
    if levelled.member.is_technician:
        return None
    return Refusal("NOT_A_TECHNICIAN", "only technicians have a level", Because.INVALID)


def changes_something(ask: Ask[LevelChange], levelled: Levelled) -> Refusal | None:
    """Refuse what leaves all as it is."""
    before = levelled.standing
    if ask.arguments.level != before.level or (ask.arguments.clear_warning and before.is_warned):
        return None
    return Refusal("NO_CHANGE", f"this person is at level {before.level} already", Because.INVALID)


def _set(connection: Connection, ask: Ask[LevelChange], levelled: Levelled) -> Effect:
    asked, member, before = ask.arguments, levelled.member, levelled.standing
    after = Standing(asked.level, before.is_warned and not asked.clear_warning)
    statuses = [LevelStatus.MANUAL_SET] if after.level != before.level else []
    statuses += [LevelStatus.WARNING_CLEARED] if after.is_warned != before.is_warned else []
    total = bounded(xp_rows.total(connection, member.org_id, member.person_id))
    events = [_by_hand(ask, levelled, status, total) for status in statuses]
    level_rows.put(connection, member.org_id, member.person_id, after, events)
    answer = {
        "user": str(member.person_id),
        "user_name": member.full_name,
        "level": after.level,
        "is_warned": after.is_warned,
        "total_xp": total,
        "statuses": [status.value for status in statuses],
    }
    details = {"from": before.level, "to": after.level, "status": answer["statuses"], "reason": asked.reason}
    return Effect(enveloped(answer), details=details)


def _by_hand(ask: Ask[LevelChange], levelled: Levelled, status: LevelStatus, total: int) -> Event:
    """Return one row of the history; a warning is cleared at the level that was set."""
    is_set = status is LevelStatus.MANUAL_SET
    return Event(
        org_id=levelled.member.org_id,
        person_id=levelled.member.person_id,
        status=status,
        source=LevelSource.MANUAL,
        total_xp=total,
        before=levelled.standing.level if is_set else ask.arguments.level,
        after=ask.arguments.level,
        by=ask.principal.actor_id,
        reason=ask.arguments.reason,
    )


def request_weeks(connection: Connection) -> int:
    """Ask for the oldest week of each workshop that is over and was not judged; return how many were asked for."""
    found = level_rows.workshops(connection)
    in_force = rules.current_of(connection, [one.org_id for one in found])
    emits = [_job(one.org_id, monday) for one in found if (monday := _first_due(one, in_force[one.org_id]))]
    ledger.put(connection, emits)
    return len(emits)


def _first_due(one: Workshop, in_force: Rules) -> date | None:
    """Return the oldest week to judge; nobody is judged for a week before the workshop gave its first points."""
    zone, judged = in_force.work_session.zone, one.judged
    if judged is None:
        judged = monday_of((one.begun_at or one.now).astimezone(zone).date()) - WEEK
    return first_due(judged, last_week(one.now, zone))


def _job(org_id: UUID, monday: date) -> Emit:
    return Emit(_STAGE, level_rows.job_key(org_id, monday), org_id, None, Lane.REPAIR, 0, secrets.token_hex(16))


EVALUATE = Command(
    name="levels.evaluate",
    about="Judges a week that is over, for everybody who was not judged for it or a later one.",
    arguments=Evaluation,
    permission=Permission.LEVELS_CHANGE,
    target=Target("organization", _week, PART_ONLY, unreached=PART_ONLY),
    gates=(is_whole_week,),
    effect=_evaluate,
)
SET_LEVEL = Command(
    name="levels.set",
    about="Gives somebody a level by hand, with a reason; clears a warning where that is asked.",
    arguments=LevelChange,
    permission=Permission.LEVELS_CHANGE,
    target=Target("person", _levelled, NO_SUCH_USER, unreached=PART_ONLY),
    gates=(is_technician, changes_something),
    effect=_set,
)
#: What `pipeline.table` finds here.
COMMANDS = (EVALUATE, SET_LEVEL)
