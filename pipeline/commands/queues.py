"""Queues: made, named, worked by people, and taken away."""

from __future__ import annotations

import re
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from models.queries.queues import MOST
from pipeline.core.text import normalised
from pipeline.runtime.errors import UserError

SLUG = r"^[a-z0-9]+(-[a-z0-9]+)*$"
_LONGEST = 64
_COUNT = text("SELECT count(*) FROM queues WHERE org_id = :org")
_ADD = text("""
    INSERT INTO queues (org_id, slug, name) VALUES (:org, :slug, :name)
        ON CONFLICT (org_id, slug) DO NOTHING RETURNING id
""")
_TAKEN = text("SELECT EXISTS (SELECT FROM queues WHERE org_id = :org AND slug = :slug AND id <> :id)")
_CHANGE = text("""
    UPDATE queues SET name = coalesce(:name, name), slug = coalesce(:slug, slug) WHERE org_id = :org AND id = :id
""")
_REMOVE = text("DELETE FROM queues WHERE org_id = :org AND id = :id")
#: Only who belongs to the organization works its queues.
_JOIN = text("""
    INSERT INTO queue_memberships (org_id, queue_id, person_id)
    SELECT m.org_id, q.id, m.person_id FROM memberships m JOIN queues q ON q.org_id = m.org_id
     WHERE m.org_id = :org AND m.person_id = :person AND m.is_active AND q.id = :queue
        ON CONFLICT (queue_id, person_id) DO UPDATE SET org_id = excluded.org_id
    RETURNING person_id
""")
_CROWD = text("SELECT count(*) FROM queue_memberships WHERE queue_id = :queue AND person_id <> :person")
_LEAVE = text("""
    DELETE FROM queue_memberships WHERE org_id = :org AND queue_id = :queue AND person_id = :person
""")


def slug_of(name: str) -> str:
    """Return a slug made of a name; empty when nothing of it can stand in one."""
    plain = normalised(name, "NFKD").encode("ascii", "ignore").decode().lower()
    return "-".join(re.findall(r"[a-z0-9]+", plain))[:_LONGEST].strip("-")


def add_queue(connection: Connection, org_id: UUID, name: str, slug: str | None = None) -> UUID:
    """Make a queue; return its id. Raises `UserError` for a slug that is taken or cannot be made, or too many."""
    if connection.execute(_COUNT, {"org": org_id}).scalar_one() >= MOST:
        raise UserError(f"your organization has {MOST} queues; delete one first")
    said = slug or slug_of(name)
    if not said:
        raise UserError("give a slug, too: the name has no letter that could stand in one")
    found: UUID | None = connection.execute(_ADD, {"org": org_id, "slug": said, "name": name}).scalar_one_or_none()
    if found is None:
        raise UserError(_taken(said))
    return found


def change_queue(connection: Connection, org_id: UUID, queue_id: UUID, name: str | None, slug: str | None) -> None:
    """Give a queue another name or slug; None leaves it. Raises `UserError` for a slug that is taken."""
    values = {"org": org_id, "id": queue_id, "name": name, "slug": slug}
    if slug is not None and connection.execute(_TAKEN, values).scalar_one():
        raise UserError(_taken(slug))
    try:
        with connection.begin_nested():
            connection.execute(_CHANGE, values)
    except IntegrityError:  # somebody took it at the same time
        raise UserError(_taken(slug or "")) from None


def delete_queue(connection: Connection, org_id: UUID, queue_id: UUID) -> None:
    """Take a queue away with its memberships. Raises `UserError` while tickets or rules are in it."""
    try:
        with connection.begin_nested():
            connection.execute(_REMOVE, {"org": org_id, "id": queue_id})
    except IntegrityError:
        raise UserError("tickets or routing rules name this queue; give them to another one first") from None


def join_queue(connection: Connection, org_id: UUID, queue_id: UUID, person_id: UUID) -> bool:
    """Let a person work a queue; again changes nothing. False when they do not belong to the organization.

    Raises `UserError` when the queue has too many members.
    """
    values = {"org": org_id, "queue": queue_id, "person": person_id}
    if connection.execute(_CROWD, values).scalar_one() >= MOST:
        raise UserError(f"this queue has {MOST} members; take one out first")
    return connection.execute(_JOIN, values).scalar_one_or_none() is not None


def leave_queue(connection: Connection, org_id: UUID, queue_id: UUID, person_id: UUID) -> bool:
    """Take a person out of a queue; False when they were not in it. Tickets that they have stay theirs."""
    values = {"org": org_id, "queue": queue_id, "person": person_id}
    return connection.execute(_LEAVE, values).rowcount == 1


def _taken(slug: str) -> str:
    return f"your organization has a queue with the slug {slug!r} already; take another one"
