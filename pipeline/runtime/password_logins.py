"""Signing in with a password (contract 004): right, wrong, or locked after five wrong ones in a row.

Nothing tells whether somebody exists: unknown people take as much work, answer in the same words, and are locked alike.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import ActorKind, AuditOutcome
from pipeline.core import contacts
from pipeline.runtime import auditing
from pipeline.runtime.auditing import Entry
from pipeline.runtime.db import Database
from pipeline.runtime.passwords import Passwords
from pipeline.runtime.refreshing import Families, Issued
from pipeline.runtime.secrets import Secrets

#: So many wrong passwords in a row lock somebody out for so long.
MOST_WRONG, LOCKED_FOR = 5, timedelta(minutes=15)
#: What the audit trail calls it.
BEGIN = "session.begin"
_PURPOSE = "unknown login"

#: One query for those who exist and those who do not, so that its time tells nothing; it always has a row.
_FIND = text("""
    SELECT p.id, p.password_hash, coalesce(p.is_active AND p.erased_at IS NULL, false) AS is_active,
           extract(epoch FROM CASE WHEN p.id IS NULL THEN u.locked_until ELSE p.locked_until END - now())
               AS locked_seconds
      FROM (SELECT CAST(:key AS bytea) AS key) asked
      LEFT JOIN people p ON p.email = CAST(:identifier AS text) OR p.phone = CAST(:identifier AS text)
      LEFT JOIN unknown_logins u ON u.identifier_sha256 = asked.key
""")
#: Counts and locks at once; who is locked already counts no further, so one lock is one row changed to locked.
_WRONG = text("""
    UPDATE people
       SET failed_logins = CASE WHEN locked_until IS NULL THEN failed_logins + 1 ELSE 1 END,
           locked_until = CASE WHEN locked_until IS NULL AND failed_logins + 1 >= :most
                               THEN now() + CAST(:locked_for AS interval) END
     WHERE id = :person AND (locked_until IS NULL OR locked_until <= now())
    RETURNING locked_until IS NOT NULL AS is_locked
""")
#: As above, for a name that nobody has.
_UNKNOWN = text("""
    INSERT INTO unknown_logins AS u (identifier_sha256, failed) VALUES (:key, 1)
        ON CONFLICT (identifier_sha256) DO UPDATE
       SET failed = CASE WHEN u.locked_until IS NULL THEN u.failed + 1 ELSE 1 END,
           locked_until = CASE WHEN u.locked_until IS NULL AND u.failed + 1 >= :most
                               THEN now() + CAST(:locked_for AS interval) END,
           tried_at = now()
     WHERE u.locked_until IS NULL OR u.locked_until <= now()
    RETURNING u.locked_until IS NOT NULL AS is_locked
""")
#: Only while the password is still the one that was right, and nobody was locked out meanwhile.
_RIGHT = text("""
    UPDATE people SET failed_logins = 0, locked_until = NULL, password_hash = coalesce(:renewed, password_hash)
     WHERE id = :person AND password_hash = :hash AND is_active AND erased_at IS NULL
       AND (locked_until IS NULL OR locked_until <= now())
    RETURNING id
""")
#: The organization that is asked for, else the one signed in to last, else the first.
_MEMBERSHIP = text("""
    SELECT m.org_id FROM memberships m
     WHERE m.person_id = :person AND m.is_active AND (CAST(:org AS uuid) IS NULL OR m.org_id = :org)
     ORDER BY (SELECT max(s.created_at) FROM sessions s WHERE s.person_id = m.person_id AND s.org_id = m.org_id)
              DESC NULLS LAST, m.created_at, m.id
     LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class Wrong:
    """The password is not theirs, or there is nobody, or nothing they may be. `has_locked`: this was the last try."""

    person_id: UUID | None = None
    has_locked: bool = False


@dataclass(frozen=True, slots=True)
class Locked:
    """No password is looked at for so many seconds more."""

    seconds: int


class PasswordLogins:
    """Takes identifiers and passwords; hashing happens with no transaction open."""

    def __init__(self, db: Database, passwords: Passwords, families: Families, secrets: Secrets) -> None:
        self._db, self._passwords, self._families = db, passwords, families
        self._key = secrets.key(_PURPOSE)

    def attempt(
        self, identifier: str, password: str, org_id: UUID | None = None, origin: Mapping[str, str | None] | None = None
    ) -> Issued | Wrong | Locked:
        """Return the tokens of a family that begins, or why there is none; `origin` is what the audit trail notes."""
        name = contacts.identifier(identifier)
        key = self._digest(name or identifier)
        with self._db.begin() as connection:
            row = connection.execute(_FIND, {"identifier": name, "key": key}).one()
        if row.locked_seconds is not None and row.locked_seconds > 0:
            return Locked(math.ceil(row.locked_seconds))
        is_right = self._passwords.is_right(row.password_hash, password) and row.is_active
        renewed = self._passwords.renewed(row.password_hash, password) if is_right else None
        with self._db.begin() as connection:
            found = self._right(connection, row, renewed, org_id) if is_right else None
            ended = found or _wrong(connection, row.id, key)
            _record(connection, row.id, ended, origin or {})
            return ended

    def _digest(self, identifier: str) -> bytes:
        """Return what is kept of a name that nobody has: keyed, for it may be a password in the wrong field."""
        plain = identifier.strip().lower()[: contacts.LONGEST]
        return hmac.digest(self._key, plain.encode(errors="replace"), hashlib.sha256)

    def _right(self, connection: Connection, row: Any, renewed: str | None, org_id: UUID | None) -> Issued | None:
        where = connection.execute(_MEMBERSHIP, {"person": row.id, "org": org_id}).scalar_one_or_none()
        values = {"person": row.id, "hash": row.password_hash, "renewed": renewed}
        if where is None or connection.execute(_RIGHT, values).scalar_one_or_none() is None:
            return None
        return self._families.begin(connection, where, row.id)


def _wrong(connection: Connection, person_id: UUID | None, key: bytes) -> Wrong | Locked:
    values = {"person": person_id, "key": key, "most": MOST_WRONG, "locked_for": LOCKED_FOR}
    counted = connection.execute(_UNKNOWN if person_id is None else _WRONG, values).one_or_none()
    if counted is None:  # somebody else's try locked them meanwhile
        return Locked(math.ceil(LOCKED_FOR.total_seconds()))
    return Wrong(person_id, has_locked=counted.is_locked)


def _record(
    connection: Connection, person_id: UUID | None, ended: Issued | Wrong | Locked, origin: Mapping[str, str | None]
) -> None:
    """Tell the audit trail who came in, and who was locked out; last in the transaction."""
    more: dict[str, Any] = {"details": {"way": "password"}, **origin}
    org_id: UUID | None = None
    if isinstance(ended, Issued):
        org_id = ended.org_id
    elif isinstance(ended, Wrong) and ended.has_locked:
        org_id = connection.execute(_MEMBERSHIP, {"person": person_id, "org": None}).scalar_one_or_none()
        more |= {"outcome": AuditOutcome.REFUSED, "code": "locked"}
    else:
        return
    if org_id is not None:
        auditing.append(connection, Entry(org_id, BEGIN, str(person_id), ActorKind.HUMAN, **more))
