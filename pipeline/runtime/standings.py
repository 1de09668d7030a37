"""Where technicians stand, for people to read: levels over some days, and the leaderboard; days are the workshop's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.queries import leaderboard as boards
from models.queries import levels as queries
from models.queries.workshop_people import count_technicians
from pipeline.core.leaderboard import WEIGHTS
from pipeline.core.levels import HIGHEST, MOST_DAYS, YEARS, monday_of, target
from pipeline.core.pause_budget import first_moment
from pipeline.core.workshop_rules import Progression, Rules
from pipeline.core.written import plain
from pipeline.runtime import rules
from pipeline.runtime.errors import UserError

_NOW = text("SELECT now()")
_DAY = timedelta(days=1)
_TALLY = tuple(WEIGHTS)


@dataclass(frozen=True, slots=True)
class Found:
    """A page, and how many there are."""

    rows: Sequence[Mapping[str, Any]]
    total: int


def overview(
    connection: Connection, org_id: UUID, first: date | None, last: date | None, *, limit: int, offset: int
) -> Found:
    """Return a page of technicians over local days, both included; the running week up to today where none is named.

    Raises `UserError` for days in the wrong order, for more than 366, and for years that nobody means.
    """
    in_force = rules.current(connection, org_id)
    last = last or _today(connection, in_force)
    first = first or min(monday_of(last), last)
    days = (last - first).days + 1
    if not 1 <= days <= MOST_DAYS:
        raise UserError(f"name 1 to {MOST_DAYS} days: date_from must not be after date_to")
    if first.year not in YEARS or last.year not in YEARS:
        raise UserError(f"name days of the years {YEARS.start} to {YEARS.stop - 1}")
    zone = in_force.work_session.zone
    since, until = first_moment(first, zone), first_moment(last + _DAY, zone)
    found = queries.overview(connection, org_id, since=since, until=until, limit=limit, offset=offset)
    about = {"date_from": first.isoformat(), "date_to": last.isoformat()}
    return Found(
        [_standing(row, days, in_force.progression) | about for row in found], count_technicians(connection, org_id)
    )


def leaderboard(connection: Connection, org_id: UUID, days: int, *, limit: int, offset: int) -> Found:
    """Return a page of the leaderboard over the last local days, today included."""
    in_force = rules.current(connection, org_id)
    last, zone = _today(connection, in_force), in_force.work_session.zone
    first = last - (days - 1) * _DAY
    found = boards.board(
        connection,
        org_id,
        WEIGHTS,
        days=(first, last),
        span=(first_moment(first, zone), first_moment(last + _DAY, zone)),
        limit=limit,
        offset=offset,
    )
    return Found([_place(row) for row in found], count_technicians(connection, org_id))


def event(row: Row[Any]) -> dict[str, Any]:
    """Return one row of somebody's history as it is answered."""
    return {
        "id": str(row.id),
        "user": str(row.person_id),
        "status": row.status,
        "source": row.source,
        "week_start": None if row.week_start is None else row.week_start.isoformat(),
        "week_xp": row.week_xp,
        "total_xp": row.total_xp,
        "from_level": row.from_level,
        "to_level": row.to_level,
        "reason": row.reason,
        "coupon_amount": row.coupon_amount,
        "coupon_currency": row.coupon_currency,
        "created_by": row.created_by,
        "created_at": plain(row.created_at),
    }


def _today(connection: Connection, in_force: Rules) -> date:
    found: date = connection.execute(_NOW).scalar_one().astimezone(in_force.work_session.zone).date()
    return found


def _standing(row: Row[Any], days: int, progression: Progression) -> dict[str, Any]:
    wanted = target(days, progression.weekly_target_xp)
    return {
        "user": str(row.person_id),
        "user_name": row.full_name,
        "level": row.level,
        "is_warned": row.is_warned,
        "xp": row.xp,
        "target_xp": wanted,
        "is_target_met": row.xp >= wanted,
        "total_xp": row.total_xp,
        "next_level_xp": None if row.level >= HIGHEST else progression.level_thresholds[row.level],
    }


def _place(row: Row[Any]) -> dict[str, Any]:
    counted = {name: getattr(row, name) for name in _TALLY}
    return {
        "rank": row.rank,
        "user": str(row.person_id),
        "user_name": row.full_name,
        "level": row.level,
        "score": row.score,
        **counted,
    }
