"""Devices that get pushes: registered by their token, sealed; dropped with the session they came by."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from models import row_security
from models.enums import Platform
from pipeline.runtime import locks
from pipeline.runtime.secrets import Secrets

#: Devices of one person that get pushes; a further one takes the place of the one that was registered longest ago.
MOST = 10
#: Why a device is dropped, as `devices.dropped_because` says; beside these the end of its session.
UNREGISTERED, REMOVED, HANDED_OVER, TOO_MANY = "unregistered", "removed", "handed over", "too many"
EXPIRED = "its session has expired"
#: What tokens are sealed for, each bound to its hash in hex.
PURPOSE = "device token"

_LOCK_PERSON = text("SELECT FROM people WHERE id = :person FOR NO KEY UPDATE")
_LOCK_TOKEN = text("SELECT pg_advisory_xact_lock(:class, hashtext(encode(:hash, 'hex')))")
#: Nothing of a dropped device is kept that could push to it.
_DROP = "UPDATE devices SET dropped_at = now(), dropped_because = :why, token_sealed = ''"
_TAKE_OVER = text(f"""
    {_DROP} WHERE token_sha256 = :hash AND dropped_at IS NULL AND (person_id <> :person OR org_id <> :org)
""")
_PUT = text("""
    INSERT INTO devices (org_id, person_id, session_id, platform, token_sha256, token_sealed)
    VALUES (:org, :person, :session, :platform, :hash, :sealed)
        ON CONFLICT (token_sha256) WHERE dropped_at IS NULL
        DO UPDATE SET session_id = excluded.session_id, platform = excluded.platform,
                      token_sealed = excluded.token_sealed, seen_at = now()
    RETURNING id
""")
_TRIM = text(f"""
    {_DROP} WHERE id IN (SELECT id FROM devices WHERE person_id = :person AND dropped_at IS NULL
                          ORDER BY seen_at DESC, id DESC OFFSET :most)
""")  # noqa: S608 - a statement from above


def _dropping(which: str) -> TextClause:
    """Return what drops some devices: locked in the order of their ids, so that two never wait in a circle."""
    return text(f"""
        {_DROP} WHERE id IN (SELECT id FROM devices WHERE {which} AND dropped_at IS NULL ORDER BY id FOR NO KEY UPDATE)
    """)  # noqa: S608 - statements and conditions of this module


_DROP_SOME = _dropping("id = ANY(CAST(:ids AS uuid[]))")
_DROP_OWN = text(f"""
    {_DROP} WHERE id = :id AND org_id = :org AND person_id = :person AND dropped_at IS NULL
""")
_DROP_OF_SESSION = _dropping("session_id = :session")
_DROP_OF_PEOPLE = _dropping("""
    person_id = ANY(CAST(:people AS uuid[])) AND (CAST(:org AS uuid) IS NULL OR org_id = :org)
    AND (CAST(:but AS uuid) IS NULL OR session_id IS DISTINCT FROM CAST(:but AS uuid))
""")
_FOLLOW = text("""
    UPDATE devices SET session_id = :new
     WHERE session_id = :old AND org_id = :org AND person_id = :person AND dropped_at IS NULL
""")
_DROP_EXPIRED = text(f"""
    {_DROP} WHERE id IN (SELECT d.id FROM devices d JOIN sessions s ON s.id = d.session_id
                          WHERE d.dropped_at IS NULL AND s.expires_at < now() LIMIT :most)
""")  # noqa: S608 - a statement from above
#: Ids grow with time; the index of the primary key finds the oldest.
_FORGET = text("""
    DELETE FROM devices WHERE id = ANY(ARRAY(
        SELECT id FROM devices WHERE dropped_at < now() - interval '30 days' ORDER BY id LIMIT :most))
""")


def register(
    connection: Connection,
    secrets: Secrets,
    *,
    org_id: UUID,
    person_id: UUID,
    session_id: UUID | None,
    platform: Platform,
    token: str,
) -> UUID:
    """Let a device get the person's pushes until its session ends; return its id, the same for the same token.

    One that another registered, here or in another organization, changes hands: it gets nothing of theirs any more.
    """
    hashed = hashlib.sha256(token.encode()).digest()
    values = {"org": org_id, "person": person_id, "session": session_id, "platform": platform.value, "hash": hashed}
    connection.execute(_LOCK_PERSON, {"person": person_id})
    # The other may be of an organization that lies beyond the barrier.
    with row_security.unbarred(connection):
        connection.execute(_LOCK_TOKEN, {"class": locks.DEVICE, "hash": hashed})
        connection.execute(_TAKE_OVER, values | {"why": HANDED_OVER})
    sealed = secrets.seal(PURPOSE, hashed.hex(), token.encode())
    device_id: UUID = connection.execute(_PUT, values | {"sealed": sealed}).scalar_one()
    connection.execute(_TRIM, {"person": person_id, "most": MOST, "why": TOO_MANY})
    return device_id


def opened(secrets: Secrets, token_sha256: bytes, sealed: bytes) -> str:
    """Return a device's token. Raises as `Secrets.unseal`."""
    return secrets.unseal(PURPOSE, token_sha256.hex(), sealed).decode()


def drop(connection: Connection, device_ids: Sequence[UUID], why: str) -> None:
    """Let devices get no pushes any more."""
    if device_ids:
        connection.execute(_DROP_SOME, {"ids": sorted(device_ids), "why": why})


def drop_own(connection: Connection, org_id: UUID, person_id: UUID, device_id: UUID) -> bool:
    """Drop a device of a person; False where they have no such device."""
    values = {"id": device_id, "org": org_id, "person": person_id, "why": REMOVED}
    return connection.execute(_DROP_OWN, values).rowcount > 0


def drop_of_session(connection: Connection, session_id: UUID, why: str) -> None:
    """Drop what was registered in a session that ends."""
    connection.execute(_DROP_OF_SESSION, {"session": session_id, "why": why})


def drop_of_people(
    connection: Connection, person_ids: Collection[UUID], why: str, *, org_id: UUID | None, but: UUID | None
) -> None:
    """Drop the devices of people whose sessions end, in one organization or in all; not those of one session."""
    values = {"people": sorted(person_ids), "why": why, "org": org_id, "but": but}
    connection.execute(_DROP_OF_PEOPLE, values)


def follow(connection: Connection, org_id: UUID, person_id: UUID, old: UUID, new: UUID) -> None:
    """Let the devices of a session belong to the same person's that takes its place in the same organization."""
    connection.execute(_FOLLOW, {"org": org_id, "person": person_id, "old": old, "new": new})


def forget(connection: Connection, most: int) -> int:
    """Drop the devices of sessions that have expired; forget those dropped a month ago, and return how many."""
    connection.execute(_DROP_EXPIRED, {"most": most, "why": EXPIRED})
    return connection.execute(_FORGET, {"most": most}).rowcount
