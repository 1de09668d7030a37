"""Commands on who is on duty: weekly shifts, set as a whole, and leave."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.core.duty import Shift
from pipeline.runtime.errors import UserError

MOST_SHIFTS, MOST_LEAVES = 50, 100
_LONGEST_LEAVE = timedelta(days=5 * 366)
_EARLIEST, _LATEST = 2000, 2200

#: Of two who set a person's shifts the later one wins as a whole.
_LOCK = text("SELECT id FROM memberships WHERE org_id = :org AND person_id = :person FOR NO KEY UPDATE")
_CLEAR = text("DELETE FROM shifts WHERE org_id = :org AND person_id = :person")
_SET = text("""
    INSERT INTO shifts (org_id, person_id, weekday, begins, ends, timezone)
    SELECT :org, :person, s.* FROM unnest(CAST(:weekdays AS smallint[]), CAST(:begins AS time[]), CAST(:ends AS time[]),
                                          CAST(:timezones AS text[])) AS s
""")
_ADD_LEAVE = text("""
    INSERT INTO leaves (org_id, person_id, begins_at, ends_at, reason)
    SELECT :org, :person, :begins_at, :ends_at, :reason
     WHERE (SELECT count(*) FROM leaves WHERE org_id = :org AND person_id = :person AND ends_at > now()) < :most
    RETURNING id
""")
_DELETE_LEAVE = text("DELETE FROM leaves WHERE id = :id AND org_id = :org AND person_id = :person RETURNING id")


def set_shifts(connection: Connection, org_id: UUID, person_id: UUID, shifts: Sequence[Shift]) -> None:
    """Give a person these weekly hours and no others; none at all means always on duty."""
    if len(shifts) > MOST_SHIFTS:
        raise UserError(f"a person has at most {MOST_SHIFTS} shifts a week")
    whom = {"org": org_id, "person": person_id}
    connection.execute(_LOCK, whom)
    connection.execute(_CLEAR, whom)
    columns = {
        "weekdays": [shift.weekday for shift in shifts],
        "begins": [shift.begins for shift in shifts],
        "ends": [shift.ends for shift in shifts],
        "timezones": [shift.timezone for shift in shifts],
    }
    if shifts:
        connection.execute(_SET, whom | columns)


def add_leave(
    connection: Connection, org_id: UUID, person_id: UUID, *, begins_at: datetime, ends_at: datetime, reason: str = ""
) -> UUID:
    """Note that a person is away; return the leave's id. Raises `UserError` for a time that is none."""
    if not all(_EARLIEST <= at.year <= _LATEST for at in (begins_at, ends_at)):
        raise UserError(f"leave lies between the years {_EARLIEST} and {_LATEST}")
    if not begins_at < ends_at <= begins_at + _LONGEST_LEAVE:
        raise UserError("leave ends after it begins, within five years")
    values = {"org": org_id, "person": person_id, "begins_at": begins_at, "ends_at": ends_at, "reason": reason.strip()}
    found: UUID | None = connection.execute(_ADD_LEAVE, values | {"most": MOST_LEAVES}).scalar_one_or_none()
    if found is None:
        raise UserError(f"a person has at most {MOST_LEAVES} leaves ahead: take some away first")
    return found


def delete_leave(connection: Connection, org_id: UUID, person_id: UUID, leave_id: UUID) -> bool:
    """Take a leave back; False when there is none."""
    values = {"id": leave_id, "org": org_id, "person": person_id}
    return connection.execute(_DELETE_LEAVE, values).first() is not None
