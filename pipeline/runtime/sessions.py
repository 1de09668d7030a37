"""Sessions by cookie: rows that begin and end; the cookie is 256 random bits, of which only the SHA-256 is kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.runtime import device_rows

#: Absolute: nothing prolongs a session (reliability, section 5; OWASP ASVS 5.0, 7.3.2).
LIFETIME = timedelta(hours=12)
#: Without a request for so long, it is over (reliability, section 5). Use is noted once a minute, so it may be less.
IDLE = timedelta(minutes=30)

_BEGIN = text("""
    INSERT INTO sessions (kind, org_id, person_id, token_hash, expires_at)
    VALUES ('cookie', :org, :person, :hash,
            least(now() + CAST(:lifetime AS interval), CAST(:until AS timestamptz)))
    RETURNING id, created_at, expires_at
""")
_END = text("UPDATE sessions SET ended_at = now(), ended_because = :why WHERE id = :session AND ended_at IS NULL")
_END_ALL = text("""
    UPDATE sessions SET ended_at = now(), ended_because = :why
     WHERE person_id = ANY(CAST(:people AS uuid[])) AND ended_at IS NULL
       AND (CAST(:org AS uuid) IS NULL OR org_id = :org) AND id IS DISTINCT FROM CAST(:but AS uuid)
""")


@dataclass(frozen=True, slots=True)
class Begun:
    """A session that has begun; `token` is the cookie's value, which nobody can read again."""

    session_id: UUID
    token: str = field(repr=False)
    created_at: datetime
    expires_at: datetime


def begin(
    connection: Connection,
    org_id: UUID,
    person_id: UUID,
    *,
    instead_of: UUID | None = None,
    until: datetime | None = None,
) -> Begun:
    """Begin a session that ends after `LIFETIME`, or after `IDLE` without use; the one it replaces ends.

    Where nobody proved anew who they are, it goes on no longer than `until`, the end of the one before.
    """
    token = secrets.token_urlsafe(32)
    hashed = hashlib.sha256(token.encode()).digest()
    values = {"org": org_id, "person": person_id, "hash": hashed, "lifetime": LIFETIME, "until": until}
    row = connection.execute(_BEGIN, values).one()
    if instead_of is not None:
        device_rows.follow(connection, org_id, person_id, instead_of, row.id)
        end(connection, instead_of, "rotated")
    return Begun(row.id, token, row.created_at, row.expires_at)


def end(connection: Connection, session_id: UUID, why: str) -> None:
    """End a session, or a family of tokens, for good, and pushes to its devices; ending it again changes nothing."""
    connection.execute(_END, {"session": session_id, "why": why})
    device_rows.drop_of_session(connection, session_id, why)


def end_all(
    connection: Connection,
    person_ids: Collection[UUID],
    why: str,
    *,
    org_id: UUID | None = None,
    but: UUID | None = None,
) -> int:
    """End every session and family of some people, in one organization or in all; return how many ended.

    Their devices get no pushes any more, those that came without a session neither.
    """
    device_rows.drop_of_people(connection, person_ids, why, org_id=org_id, but=but)
    values = {"people": sorted(person_ids), "why": why, "org": org_id, "but": but}
    return connection.execute(_END_ALL, values).rowcount
