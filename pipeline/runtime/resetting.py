"""Tokens that let somebody set a password, once: for who forgot theirs, and for who is invited (contract 004)."""

from __future__ import annotations

import secrets as random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import NoticeKind
from pipeline.core import contacts, notices
from pipeline.core.notices import RESET_VALID
from pipeline.runtime import auditing, sessions
from pipeline.runtime.auditing import Entry
from pipeline.runtime.identity import digest
from pipeline.runtime.notices import tell
from pipeline.runtime.secrets import Secrets

#: So many mails may somebody make us send to another within so long; more are dropped without a word.
MOST_ASKED, ASKED_WITHIN = 3, timedelta(minutes=15)
_LONGEST = 200
PASSWORD_SET = "a new password was set"  # noqa: S105 - why sessions ended

_WHO = text("""
    SELECT p.id, p.email, m.org_id FROM people p JOIN memberships m ON m.person_id = p.id AND m.is_active
     WHERE (p.email = :identifier OR p.phone = :identifier) AND p.is_active AND p.erased_at IS NULL
       AND p.email IS NOT NULL
     ORDER BY m.created_at, m.id LIMIT 1 FOR UPDATE OF p
""")
_ASKED = text("""
    SELECT count(*) FROM reset_tokens WHERE person_id = :person AND created_at > now() - CAST(:within AS interval)
""")
_MAKE = text("""
    INSERT INTO reset_tokens (person_id, token_hash, expires_at)
    VALUES (:person, :hash, now() + CAST(:valid AS interval))
""")
_OF = text("""
    SELECT p.id, p.email, p.phone, p.full_name FROM reset_tokens r JOIN people p ON p.id = r.person_id
     WHERE r.token_hash = :hash AND r.used_at IS NULL AND r.expires_at > now() AND p.is_active AND p.erased_at IS NULL
""")
_USE = text("""
    UPDATE reset_tokens SET used_at = now() WHERE token_hash = :hash AND used_at IS NULL AND expires_at > now()
    RETURNING person_id
""")
_USE_UP = text("UPDATE reset_tokens SET used_at = now() WHERE person_id = :person AND used_at IS NULL")
_ORGANIZATION = text("""
    SELECT org_id FROM memberships WHERE person_id = :person AND is_active ORDER BY created_at, id LIMIT 1
""")
_SET = text("""
    UPDATE people SET password_hash = :hash, password_changed_at = now(), failed_logins = 0, locked_until = NULL
     WHERE id = :person AND is_active AND erased_at IS NULL
    RETURNING id
""")


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose password a token sets, and what others may know of them."""

    person_id: UUID
    belonging: Sequence[str]


def ask(connection: Connection, secrets: Secrets, identifier: str, public_url: str | None) -> UUID | None:
    """Tell somebody how to set a new password; do nothing for who is nobody, has no address, or asked too often.

    Return who is told. Only a mail goes out: nothing of the account changes until the token is used.
    """
    found = contacts.identifier(identifier)
    row = connection.execute(_WHO, {"identifier": found}).one_or_none() if found is not None else None
    if row is None:
        return None
    if connection.execute(_ASKED, {"person": row.id, "within": ASKED_WITHIN}).scalar_one() >= MOST_ASKED:
        return None
    token = make(connection, row.id, RESET_VALID)
    tell(
        connection,
        secrets,
        org_id=row.org_id,
        person_id=row.id,
        kind=NoticeKind.PASSWORD_RESET,
        recipient=row.email,
        words=notices.reset_words(public_url, token),
    )
    auditing.append(connection, Entry(row.org_id, "password.forgot", str(row.id)))
    return UUID(str(row.id))


def make(connection: Connection, person_id: UUID, valid: timedelta) -> str:
    """Return a new token that sets the person's password once, within `valid`."""
    token = random.token_urlsafe(32)
    connection.execute(_MAKE, {"person": person_id, "hash": digest(token), "valid": valid})
    return token


def owner(connection: Connection, token: str) -> Owner | None:
    """Return whose password a token sets; None when it sets none (any more)."""
    row = connection.execute(_OF, {"hash": digest(token[:_LONGEST])}).one_or_none()
    return None if row is None else Owner(row.id, [one for one in (row.email, row.phone, row.full_name) if one])


def use(connection: Connection, token: str, password_hash: str) -> UUID | None:
    """Set the password that a token may set; return whose, None when the token sets none any more."""
    person_id = connection.execute(_USE, {"hash": digest(token[:_LONGEST])}).scalar_one_or_none()
    if person_id is None or not set_password(connection, person_id, password_hash):
        return None
    # The trail of the organization they came to first; a password is one for all.
    org_id = connection.execute(_ORGANIZATION, {"person": person_id}).scalar_one_or_none()
    if org_id is not None:
        auditing.append(connection, Entry(org_id, "password.reset", str(person_id)))
    return UUID(str(person_id))


def set_password(connection: Connection, person_id: UUID, password_hash: str) -> bool:
    """Set a password; every session, family and reset token of the person ends. False when they are not active."""
    if connection.execute(_SET, {"person": person_id, "hash": password_hash}).scalar_one_or_none() is None:
        return False
    connection.execute(_USE_UP, {"person": person_id})
    sessions.end_all(connection, [person_id], PASSWORD_SET)
    return True
