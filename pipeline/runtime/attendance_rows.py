"""Who came to work on which day, in the database; the member's lock keeps two from writing one day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from pipeline.core.attendance import LONGEST_SHIFT
from pipeline.core.written import plain

_DAY = timedelta(days=1)
_COLUMNS = "id, person_id, work_date, checked_in_at, checked_out_at"
_LATEST = text(f"""
    SELECT {_COLUMNS} FROM attendance_records
     WHERE org_id = :org AND person_id = :person AND work_date >= :since ORDER BY work_date DESC FOR UPDATE
""")  # noqa: S608 - columns from above
_COME = text(f"""
    INSERT INTO attendance_records (org_id, person_id, work_date, checked_in_at, created_by)
    VALUES (:org, :person, :day, now(), :by) RETURNING {_COLUMNS}
""")  # noqa: S608 - columns from above
#: Who waited for the lock began before whoever came meanwhile.
_GO = text(f"""
    UPDATE attendance_records SET checked_out_at = greatest(now(), checked_in_at) WHERE id = :id RETURNING {_COLUMNS}
""")  # noqa: S608 - columns from above


@dataclass(frozen=True, slots=True)
class Record:
    """One day of somebody's."""

    record_id: UUID
    person_id: UUID
    work_date: date
    checked_in_at: datetime
    checked_out_at: datetime | None


@dataclass(frozen=True, slots=True)
class Days:
    """What is known of somebody today, and the shift that may end now: today's, else one that began the day before."""

    today: Record | None
    going: Record | None


def days(connection: Connection, org_id: UUID, person_id: UUID, day: date, now: datetime) -> Days:
    """Return what is known of somebody on a local day, locked."""
    values = {"org": org_id, "person": person_id, "since": day - _DAY}
    found = [_record(row) for row in connection.execute(_LATEST, values)]
    today = next((one for one in found if one.work_date == day), None)
    # Who came anew has left what was before, though nobody noted when: going twice today must not end yesterday.
    open_ones = [one for one in ([today] if today else found) if one.checked_out_at is None]
    return Days(today, next((one for one in open_ones if today or one.checked_in_at > now - LONGEST_SHIFT), None))


def come(connection: Connection, org_id: UUID, person_id: UUID, day: date, by: str) -> Record:
    """Note that somebody came now; the day has no record yet."""
    values = {"org": org_id, "person": person_id, "day": day, "by": by}
    return _record(connection.execute(_COME, values).one())


def go(connection: Connection, record_id: UUID) -> Record:
    """Note that somebody went now."""
    return _record(connection.execute(_GO, {"id": record_id}).one())


def listed(row: Row[Any]) -> dict[str, Any]:
    """Return a day that was read for a list, as it is answered."""
    return {
        "id": str(row.id),
        "user": str(row.person_id),
        "user_name": row.full_name,
        "work_date": row.work_date.isoformat(),
        "check_in_at": plain(row.checked_in_at),
        "check_out_at": plain(row.checked_out_at),
        "punctuality": row.punctuality,
        "xp": row.xp,
    }


def _record(row: Row[Any]) -> Record:
    return Record(row.id, row.person_id, row.work_date, row.checked_in_at, row.checked_out_at)
