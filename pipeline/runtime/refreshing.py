"""Families of refresh tokens in the database: begun at a login, rotated at every use, ended by reuse (contract 004).

A token is 256 random bits of which only the SHA-256 is kept. A successor is not random: it is derived, under a secret
key, from the token it replaces and from its own row's id, so that whoever lost the reply is given the same one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets as random
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import AuditOutcome
from pipeline.core.refresh_families import FAMILY_LIFETIME, TOKEN_LIFETIME, Family, Step, Token, step, token_expiry
from pipeline.runtime import auditing, identity, sessions
from pipeline.runtime.access_tokens import LIFETIME, AccessTokens
from pipeline.runtime.auditing import Entry
from pipeline.runtime.identity import digest
from pipeline.runtime.secrets import Secrets

_PURPOSE = "refresh successor"
#: What is longer was never given out.
_LONGEST = 200
REUSED, GONE, SIGNED_OUT = "a refresh token was used again", "the membership has ended", "signed out"
#: What the audit trail calls it, and why when nobody signed out.
ENDED = "session.end"
_CODES = {REUSED: "token_reused", GONE: "membership_ended"}

_BEGIN = text("""
    WITH family AS (
        INSERT INTO sessions (kind, org_id, person_id, expires_at)
        VALUES ('token', :org, :person, now() + CAST(:family AS interval)) RETURNING id, expires_at
    )
    INSERT INTO refresh_tokens (session_id, token_hash, expires_at)
    SELECT id, :hash, least(expires_at, now() + CAST(:token AS interval)) FROM family
    RETURNING session_id
""")
#: Two who come at once wait here for each other; what follows is read after that.
_LOCK = text("""
    SELECT id, org_id, person_id, expires_at, ended_at FROM sessions
     WHERE id = (SELECT session_id FROM refresh_tokens WHERE token_hash = :hash) AND kind = 'token' FOR UPDATE
""")
_READ = text("""
    SELECT r.id, r.expires_at, r.used_at, n.id AS successor_id, n.token_hash AS successor_hash,
           n.used_at IS NOT NULL AS is_successor_used, clock_timestamp() AS now, uuidv7() AS fresh_id
      FROM refresh_tokens r LEFT JOIN refresh_tokens n ON n.id = r.successor_id
     WHERE r.token_hash = :hash
""")
_ROTATE = text("""
    WITH made AS (
        INSERT INTO refresh_tokens (id, session_id, token_hash, expires_at) VALUES (:fresh, :session, :hash, :expiry)
    ), seen AS (
        UPDATE sessions SET seen_at = now() WHERE id = :session
    )
    UPDATE refresh_tokens SET used_at = :now, successor_id = :fresh WHERE id = :token
""")


@dataclass(frozen=True, slots=True)
class Issued:
    """What somebody is given at a login or a refresh; nobody can read either token again."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    org_id: UUID
    person_id: UUID
    session_id: UUID

    @property
    def expires_in(self) -> int:
        """Seconds for which the access token is good."""
        return int(LIFETIME.total_seconds())


@dataclass(frozen=True, slots=True)
class Refused:
    """A refresh token that opens nothing; `ended` tells that its family goes on no more because of it."""

    ended: str | None = None
    org_id: UUID | None = None
    person_id: UUID | None = None


class Families:
    """Begins, rotates and ends families; each call is part of the caller's transaction, which must commit."""

    def __init__(self, secrets: Secrets, tokens: AccessTokens) -> None:
        self._secrets, self._tokens = secrets, tokens

    def begin(self, connection: Connection, org_id: UUID, person_id: UUID) -> Issued:
        """Begin a family for somebody who proved who they are."""
        token = random.token_urlsafe(32)
        values = {"org": org_id, "person": person_id, "hash": digest(token)}
        lifetimes = {"family": FAMILY_LIFETIME, "token": TOKEN_LIFETIME}
        session_id = connection.execute(_BEGIN, values | lifetimes).scalar_one()
        return self._issued(token, org_id, person_id, session_id)

    def refresh(self, connection: Connection, token: str) -> Issued | Refused:
        """Take a refresh token and give its successor, or say that it opens nothing.

        A refusal may have ended the family: the transaction must commit then, too.
        """
        hashed = digest(token[:_LONGEST])
        family = connection.execute(_LOCK, {"hash": hashed}).one_or_none()
        if family is None:
            return Refused()
        row = connection.execute(_READ, {"hash": hashed}).one()
        held = Token(row.expires_at, row.used_at, is_successor_used=row.is_successor_used)
        match step(held, Family(family.expires_at, family.ended_at), row.now):
            case Step.ROTATE:
                return self._rotate(connection, token, family, row)
            case Step.REPEAT:
                return self._repeat(token, family, row)
            case Step.END:
                return _end(connection, family, REUSED)
            case Step.REFUSE:
                return Refused()

    def end(self, connection: Connection, token: str, why: str = SIGNED_OUT) -> Refused:
        """End the family of a refresh token, used or not; one that opens nothing changes nothing."""
        family = connection.execute(_LOCK, {"hash": digest(token[:_LONGEST])}).one_or_none()
        return Refused() if family is None or family.ended_at is not None else _end(connection, family, why)

    def _rotate(self, connection: Connection, token: str, family: Any, row: Any) -> Issued | Refused:
        if identity.by_family(connection, family.id) is None:
            return _end(connection, family, GONE)
        successor = _derived(self._secrets.key(_PURPOSE), token, row.fresh_id)
        values = {"fresh": row.fresh_id, "session": family.id, "hash": digest(successor), "token": row.id}
        expiry = token_expiry(family.expires_at, row.now)
        connection.execute(_ROTATE, values | {"expiry": expiry, "now": row.now})
        return self._issued(successor, family.org_id, family.person_id, family.id)

    def _repeat(self, token: str, family: Any, row: Any) -> Issued | Refused:
        # A secret key that was replaced meanwhile derived it, perhaps.
        made = (_derived(key, token, row.successor_id) for key in self._secrets.keys(_PURPOSE))
        found = next((one for one in made if hmac.compare_digest(digest(one), row.successor_hash)), None)
        return Refused() if found is None else self._issued(found, family.org_id, family.person_id, family.id)

    def _issued(self, token: str, org_id: UUID, person_id: UUID, session_id: UUID) -> Issued:
        access = self._tokens.make(org_id=org_id, person_id=person_id, session_id=session_id)
        return Issued(access, token, org_id, person_id, session_id)


def _end(connection: Connection, family: Any, why: str) -> Refused:
    sessions.end(connection, family.id, why)
    outcome, code = (AuditOutcome.DONE, None) if why == SIGNED_OUT else (AuditOutcome.REFUSED, _CODES[why])
    entry = Entry(
        family.org_id, ENDED, str(family.person_id), outcome=outcome, code=code, target_kind="session",
        target_id=str(family.id),
    )  # fmt: skip
    auditing.append(connection, entry)
    return Refused(why, family.org_id, family.person_id)


def _derived(key: bytes, token: str, successor_id: UUID) -> str:
    """Return the token that follows `token`: nobody without the key and the row can tell it beforehand."""
    found = hmac.digest(key, successor_id.bytes + token.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode()
