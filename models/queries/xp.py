"""Reads of the ledger of points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import XpKind
from models.queries.workshop_people import most

_FROM = "FROM xp_transactions x WHERE x.org_id = :org"
_PAGE = """
    SELECT x.id, x.person_id, p.full_name, x.kind, x.amount, x.reference, x.order_id, x.comment, x.created_by,
           x.created_at
      FROM (SELECT x.* {condition} ORDER BY x.id DESC LIMIT :limit OFFSET :offset) x
      JOIN people p ON p.id = x.person_id
     ORDER BY x.id DESC
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; of everybody without a person."""

    org_id: UUID
    person_id: UUID | None = None
    kind: XpKind | None = None

    def condition(self) -> tuple[str, dict[str, Any]]:
        """Return what follows the columns, with its parameters."""
        parts = [_FROM]
        values: dict[str, Any] = {"org": self.org_id}
        if self.person_id is not None:
            parts.append("x.person_id = :person")
            values["person"] = self.person_id
        if self.kind is not None:
            parts.append("x.kind = :kind")
            values["kind"] = self.kind.value
        return " AND ".join(parts), values


def page(connection: Connection, wanted: Wanted, *, limit: int, offset: int) -> list[Row[Any]]:
    """Return a page, newest first."""
    condition, values = wanted.condition()
    statement = text(_PAGE.format(condition=condition))
    return list(connection.execute(statement, {**values, "limit": limit, "offset": offset}))


def count(connection: Connection, wanted: Wanted, *, limit: int, offset: int) -> int:
    """Return how many there are; above 10,000, at least as many as the page and one after it prove."""
    condition, values = wanted.condition()
    statement = f"SELECT count(*) FROM (SELECT {condition} LIMIT :most) found"  # noqa: S608 - from above
    return int(connection.execute(text(statement), {**values, "most": most(limit, offset)}).scalar_one())
