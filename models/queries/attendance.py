"""Reads of who came to work on which day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.queries.workshop_people import most

_FROM = "FROM attendance_records a WHERE a.org_id = :org"
#: What it was worth stands in the ledger, and what it was called beside that: rules may have changed since. The
#: reference is made with the page: behind the barrier no index is looked at for what is made of columns there and then.
_PAGE = """
    SELECT a.id, a.person_id, p.full_name, a.work_date, a.checked_in_at, a.checked_out_at, a.created_by,
           x.amount AS xp, x.comment AS punctuality
      FROM (SELECT a.*, 'attendance_checkin:' || a.person_id || ':' || to_char(a.work_date, 'YYYY-MM-DD') AS reference
              {condition} ORDER BY a.work_date DESC, a.id DESC LIMIT :limit OFFSET :offset) a
      JOIN people p ON p.id = a.person_id
      LEFT JOIN xp_transactions x ON x.org_id = a.org_id AND x.reference = a.reference
     ORDER BY a.work_date DESC, a.id DESC
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; local days, both included."""

    org_id: UUID
    person_id: UUID | None = None
    first_day: date | None = None
    last_day: date | None = None

    def condition(self) -> tuple[str, dict[str, Any]]:
        """Return what follows the columns, with its parameters."""
        parts = [_FROM]
        values: dict[str, Any] = {"org": self.org_id}
        for name, condition, value in (
            ("person", "a.person_id = :person", self.person_id),
            ("first_day", "a.work_date >= :first_day", self.first_day),
            ("last_day", "a.work_date <= :last_day", self.last_day),
        ):
            if value is not None:
                parts.append(condition)
                values[name] = value
        return " AND ".join(parts), values


def page(connection: Connection, wanted: Wanted, *, limit: int, offset: int) -> list[Row[Any]]:
    """Return a page, the newest day first."""
    condition, values = wanted.condition()
    statement = text(_PAGE.format(condition=condition))
    return list(connection.execute(statement, {**values, "limit": limit, "offset": offset}))


def count(connection: Connection, wanted: Wanted, *, limit: int, offset: int) -> int:
    """Return how many there are; above 10,000, at least as many as the page and one after it prove."""
    condition, values = wanted.condition()
    statement = f"SELECT count(*) FROM (SELECT {condition} LIMIT :most) found"  # noqa: S608 - from above
    return int(connection.execute(text(statement), {**values, "most": most(limit, offset)}).scalar_one())
