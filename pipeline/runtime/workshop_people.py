"""Members of a workshop, locked: whoever changes what somebody is, or counts for them, waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from models.queries.workshop_people import IS_TECHNICIAN
from pipeline.core.refusing import Because, Refusal

_LOCK = text(f"""
    SELECT m.person_id, p.full_name, now() AS now, m.is_active AND p.is_active AS is_active,
           ({IS_TECHNICIAN}) AS is_technician
      FROM memberships m JOIN people p ON p.id = m.person_id AND p.erased_at IS NULL
     WHERE m.org_id = :org AND m.person_id = :person FOR NO KEY UPDATE OF m
""")  # noqa: S608 - a condition from a module of ours

PART_ONLY = Refusal("FORBIDDEN", "this is for people who reach the whole organization", Because.FORBIDDEN)
UNKNOWN_USER = Refusal("UNKNOWN_USER", "your organization has no such member", Because.INVALID)
NO_SUCH_USER = Refusal("USER_NOT_FOUND", "your organization has no such member", Because.MISSING)


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody whose membership is locked."""

    org_id: UUID
    person_id: UUID
    full_name: str
    is_technician: bool
    #: The transaction's time.
    now: datetime


def lock(connection: Connection, org_id: UUID, person_id: UUID) -> Member | None:
    """Lock an active member of an organization; None when there is none."""
    row = connection.execute(_LOCK, {"org": org_id, "person": person_id}).one_or_none()
    if row is None or not row.is_active:
        return None
    return Member(org_id, row.person_id, row.full_name, row.is_technician, row.now)
