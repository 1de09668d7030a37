"""What people do about being notified: their devices registered and removed, notifications read (contract 004)."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Platform
from pipeline.core.principals import Principal
from pipeline.runtime import device_rows
from pipeline.runtime.errors import UserError
from pipeline.runtime.secrets import Secrets

#: What was read first stays read since then.
_READ = text("""
    UPDATE notifications SET read_at = coalesce(read_at, now())
     WHERE id = :id AND org_id = :org AND person_id = :person
""")
#: In the order of their ids, as whoever pushes them locks them, too: neither waits for the other in a circle.
_READ_ALL = text("""
    WITH unread AS MATERIALIZED (
        SELECT id FROM notifications
         WHERE org_id = :org AND person_id = :person AND read_at IS NULL
           AND (CAST(:until AS uuid) IS NULL OR id <= :until)
         ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE notifications n SET read_at = now() FROM unread WHERE n.id = unread.id
""")


class NoPerson(UserError):
    """Who asks is nobody we know, so there is nobody to notify."""


def register(connection: Connection, secrets: Secrets, who: Principal, platform: Platform, token: str) -> UUID:
    """Let a device get somebody's pushes until their session ends; return its id, the same for the same token.

    Raises `NoPerson`.
    """
    return device_rows.register(
        connection,
        secrets,
        org_id=who.org_id,
        person_id=_person(who),
        session_id=who.session_id,
        platform=platform,
        token=token,
    )


def remove(connection: Connection, who: Principal, device_id: UUID) -> bool:
    """Take one of somebody's devices away; False where they have no such device."""
    return who.person_id is not None and device_rows.drop_own(connection, who.org_id, who.person_id, device_id)


def read(connection: Connection, who: Principal, notification_id: UUID) -> bool:
    """Note that somebody read a notification, for the first time or again; False where they have no such one."""
    values = {"id": notification_id, "org": who.org_id, "person": who.person_id}
    return connection.execute(_READ, values).rowcount > 0


def read_all(connection: Connection, who: Principal, until: UUID | None = None) -> int:
    """Note that somebody read all their notifications, up to one that they saw; return how many were new to them."""
    values = {"org": who.org_id, "person": who.person_id, "until": until}
    return connection.execute(_READ_ALL, values).rowcount


def _person(who: Principal) -> UUID:
    if who.person_id is None:
        raise NoPerson("a device belongs to a person, and you are none here")
    return who.person_id
