"""Technicians of an organization for people, and the tables behind who was sent to a ticket."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

#: Members with what `IS_TECHNICIAN` looks at.
MEMBERS = """
      FROM memberships m
      JOIN people p ON p.id = m.person_id
      LEFT JOIN technicians t ON t.org_id = m.org_id AND t.person_id = m.person_id
      CROSS JOIN LATERAL (
          SELECT coalesce(bool_or(h.permission = 'tech.check_in'), false) AS may_check_in,
                 coalesce(bool_or(h.permission = 'assignment.dispatch'), false) AS may_dispatch
            FROM role_permissions h WHERE h.role_id = m.role_id
      ) w
"""
#: Who may check in works in the field. Who may dispatch as well only stands in for others, unless a row of
#: `technicians` says that they are sent, too.
IS_TECHNICIAN = """(w.may_check_in AND (t.person_id IS NOT NULL OR NOT w.may_dispatch)
           AND m.is_active AND p.is_active AND p.erased_at IS NULL)"""

_PAGE = text(f"""
    SELECT m.person_id, p.full_name, m.team_id, g.name AS team
      {MEMBERS}
      LEFT JOIN teams g ON g.id = m.team_id AND g.org_id = m.org_id
     WHERE m.org_id = :org AND {IS_TECHNICIAN}
       AND (CAST(:after AS uuid) IS NULL OR m.person_id > :after)
       AND (CAST(:one AS uuid) IS NULL OR m.person_id = :one)
       AND (CAST(:team AS uuid) IS NULL OR m.team_id = :team)
     ORDER BY m.person_id LIMIT :limit
""")
_AMONG = text(f"""
    SELECT m.person_id
      {MEMBERS}
     WHERE m.org_id = :org AND m.person_id = ANY(CAST(:people AS uuid[])) AND {IS_TECHNICIAN}
""")
#: Who has it now goes before what was recommended, and that before who had it.
_TABLE = """
    WITH found AS (
        (SELECT 0 AS rank, 'assignment' AS source, id, assigned_at AS at, mode, overruled_because, candidates
           FROM assignments WHERE ticket_id = :ticket AND org_id = :org AND ended_at IS NULL)
         UNION ALL
        (SELECT 1, 'recommendation', id, created_at, NULL, NULL, candidates
           FROM recommendations WHERE ticket_id = :ticket AND org_id = :org ORDER BY id DESC LIMIT 1)
         UNION ALL
        (SELECT 2, 'assignment', id, assigned_at, mode, overruled_because, candidates
           FROM assignments WHERE ticket_id = :ticket AND org_id = :org ORDER BY id DESC LIMIT 1)
    ), newest AS (SELECT * FROM found ORDER BY rank LIMIT 1)
"""
_HEAD = text(_TABLE + " SELECT source, id, at, mode, overruled_because FROM newest")  # noqa: S608 - from above
_LINES = text(
    _TABLE  # noqa: S608 - from above
    + """
    SELECT c.value AS line, coalesce(p.full_name, '') AS name
      FROM newest CROSS JOIN LATERAL jsonb_array_elements(newest.candidates) AS c(value)
      LEFT JOIN people p ON p.id = CAST(c.value ->> 'tech_id' AS uuid)
     WHERE CAST(c.value ->> 'place' AS integer) > :after
       AND (CAST(:technician AS text) IS NULL OR c.value ->> 'tech_id' = CAST(:technician AS text))
     ORDER BY CAST(c.value ->> 'place' AS integer) LIMIT :limit
"""
)


@dataclass(frozen=True, slots=True)
class TechnicianRow:
    """One technician by name and team."""

    person_id: UUID
    full_name: str
    team_id: UUID | None
    team: str | None


@dataclass(frozen=True, slots=True)
class CandidateTable:
    """A part of the table that a ticket's technician was chosen by: whose, from when, and its lines by place."""

    #: assignment or recommendation.
    source: str
    id: UUID
    at: datetime
    mode: str | None
    overruled_because: str | None
    lines: Sequence[dict[str, Any]]


def technicians(
    connection: Connection,
    org_id: UUID,
    *,
    after: UUID | None = None,
    person_id: UUID | None = None,
    team_id: UUID | None = None,
    limit: int = 50,
) -> list[TechnicianRow]:
    """Return who works in the field for an organization, in the order in which they came to be people."""
    values = {"org": org_id, "after": after, "one": person_id, "team": team_id, "limit": limit}
    return [TechnicianRow(**row) for row in connection.execute(_PAGE, values).mappings()]


def technicians_among(connection: Connection, org_id: UUID, person_ids: Collection[UUID]) -> set[UUID]:
    """Return those of these people who work in the field for an organization."""
    if not person_ids:
        return set()
    return set(connection.execute(_AMONG, {"org": org_id, "people": list(person_ids)}).scalars())


def candidates(
    connection: Connection,
    org_id: UUID,
    ticket_id: UUID,
    *,
    technician_id: UUID | None = None,
    after: int = 0,
    limit: int = 50,
) -> CandidateTable | None:
    """Return the table of who has a ticket, else of its latest recommendation, else of who had it last.

    Its lines are those after a place, or one technician's. None where nobody was ever weighed for it.
    """
    values: dict[str, Any] = {"org": org_id, "ticket": ticket_id}
    head = connection.execute(_HEAD, values).mappings().one_or_none()
    if head is None:
        return None
    values |= {"technician": technician_id and str(technician_id), "after": after, "limit": limit}
    lines = [{"name": row.name, **row.line} for row in connection.execute(_LINES, values)]
    return CandidateTable(**head, lines=lines)
