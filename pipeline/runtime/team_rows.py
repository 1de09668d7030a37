"""Teams by what people call them."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

#: So many names are told where one is not known.
_MOST_NAMES = 50
#: Who is written exactly so goes first.
_FIND = text("""
    SELECT id, name FROM teams WHERE org_id = :org AND is_active AND lower(name) = lower(:name)
     ORDER BY name = :name DESC, id LIMIT 1
""")
_NAMES = text("SELECT name FROM teams WHERE org_id = :org AND is_active ORDER BY name LIMIT :most")


@dataclass(frozen=True, slots=True)
class Team:
    """A team that may be sent."""

    team_id: UUID
    name: str


def find(connection: Connection, org_id: UUID, name: str) -> tuple[Team | None, list[str]]:
    """Return the active team of a name, in any case of letters; where there is none, the names that there are."""
    row = connection.execute(_FIND, {"org": org_id, "name": name}).one_or_none()
    if row is not None:
        return Team(row.id, row.name), []
    return None, list(connection.execute(_NAMES, {"org": org_id, "most": _MOST_NAMES}).scalars())
