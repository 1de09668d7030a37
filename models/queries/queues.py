"""Queues of an organization, and who works them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

#: More than these one organization does not have, and one queue not as members: neither list is paged.
MOST = 1_000

_LIST = text(f"""
    SELECT q.id, q.slug, q.name, q.created_at,
           (SELECT count(*) FROM queue_memberships m WHERE m.queue_id = q.id) AS members
      FROM queues q WHERE q.org_id = :org AND (CAST(:id AS uuid) IS NULL OR q.id = :id)
     ORDER BY q.name, q.id LIMIT {MOST}
""")  # noqa: S608 - a number of this module
_MEMBERS = text(f"""
    SELECT p.id AS person_id, p.full_name, p.email, coalesce(m.is_active AND p.is_active, false) AS is_active,
           k.assigned_at, k.created_at
      FROM queue_memberships k JOIN people p ON p.id = k.person_id
      LEFT JOIN memberships m ON m.org_id = k.org_id AND m.person_id = k.person_id
     WHERE k.org_id = :org AND k.queue_id = :queue AND (CAST(:person AS uuid) IS NULL OR p.id = :person)
     ORDER BY p.full_name, p.id LIMIT {MOST}
""")  # noqa: S608 - a number of this module


def queues(connection: Connection, org_id: UUID, queue_id: UUID | None = None) -> Sequence[Any]:
    """Return an organization's queues by name; one of them, or none, when its id is given."""
    return connection.execute(_LIST, {"org": org_id, "id": queue_id}).all()


def members(connection: Connection, org_id: UUID, queue_id: UUID, person_id: UUID | None = None) -> Sequence[Any]:
    """Return who works a queue, by name; one of them, or nobody, when a person's id is given."""
    return connection.execute(_MEMBERS, {"org": org_id, "queue": queue_id, "person": person_id}).all()


def queue_named(connection: Connection, org_id: UUID, slug: str) -> UUID | None:
    """Return the queue with a slug."""
    statement = text("SELECT id FROM queues WHERE org_id = :org AND slug = :slug")
    found: UUID | None = connection.execute(statement, {"org": org_id, "slug": slug}).scalar_one_or_none()
    return found


def member_named(connection: Connection, org_id: UUID, email: str) -> UUID | None:
    """Return the person of an organization with an address."""
    statement = text("""
        SELECT p.id FROM people p JOIN memberships m ON m.person_id = p.id AND m.org_id = :org
         WHERE p.email = lower(:email)
    """)
    found: UUID | None = connection.execute(statement, {"org": org_id, "email": email}).scalar_one_or_none()
    return found
