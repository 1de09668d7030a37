"""Tokens for cron and scripts as rows: made, listed, revoked. The token itself is told once and kept nowhere."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.runtime.identity import digest

#: What every one begins with, so that people and scanners for leaked secrets know one.
PREFIX = "fpt_"
_HINT = 4

_ADD = text("""
    INSERT INTO api_tokens (org_id, person_id, role_id, name, token_hash, hint, expires_at)
    VALUES (:org, :person, :role, :name, :hash, :hint, now() + CAST(:valid AS interval))
        ON CONFLICT (org_id, name) WHERE revoked_at IS NULL DO NOTHING
    RETURNING id, expires_at
""")
#: A person who lost the membership has none that work, whatever the row says.
_LIST = text("""
    SELECT a.id AS token_id, a.name, r.code AS role, coalesce(p.email, p.phone, '') AS person, a.hint, a.created_at,
           a.expires_at, a.used_at, a.revoked_at, a.revoked_by,
           a.revoked_at IS NULL AND a.expires_at > now() AND p.is_active AND EXISTS (
               SELECT FROM memberships m WHERE m.org_id = a.org_id AND m.person_id = a.person_id AND m.is_active
           ) AS is_good
      FROM api_tokens a JOIN people p ON p.id = a.person_id JOIN roles r ON r.id = a.role_id
     WHERE a.org_id = :org AND (CAST(:before AS uuid) IS NULL OR a.id < :before)
     ORDER BY a.id DESC LIMIT :limit
""")
_REVOKE = text("""
    UPDATE api_tokens SET revoked_at = now(), revoked_by = :by
     WHERE org_id = :org AND id = :token AND revoked_at IS NULL
""")
_KNOWN = text("SELECT EXISTS (SELECT FROM api_tokens WHERE org_id = :org AND id = :token)")
_REVOKE_ALL = text("""
    UPDATE api_tokens SET revoked_at = now(), revoked_by = :by
     WHERE org_id = :org AND person_id = ANY(CAST(:people AS uuid[])) AND revoked_at IS NULL
""")
_NAMED = text("""
    SELECT id FROM api_tokens WHERE org_id = :org AND revoked_at IS NULL AND (name = :name OR CAST(id AS text) = :name)
""")


@dataclass(frozen=True, slots=True)
class Issued:
    """A new token; nobody can read it again."""

    token_id: UUID
    token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ApiToken:
    """What may be known of a token; `is_good` says that it works now, `hint` is its end."""

    token_id: UUID
    name: str
    role: str
    person: str
    hint: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None
    is_good: bool


def add(
    connection: Connection, org_id: UUID, person_id: UUID, role_id: UUID, *, name: str, valid: timedelta
) -> Issued | None:
    """Make a token; None when one of that name works already."""
    token = PREFIX + secrets.token_urlsafe(32)
    values: dict[str, Any] = {"org": org_id, "person": person_id, "role": role_id, "name": name, "valid": valid}
    row = connection.execute(_ADD, values | {"hash": digest(token), "hint": token[-_HINT:]}).one_or_none()
    return None if row is None else Issued(row.id, token, row.expires_at)


def listed(connection: Connection, org_id: UUID, *, before: UUID | None = None, limit: int = 100) -> Sequence[ApiToken]:
    """Return the organization's tokens, the newest first."""
    rows = connection.execute(_LIST, {"org": org_id, "before": before, "limit": limit})
    return [ApiToken(**row) for row in rows.mappings()]


def revoke(connection: Connection, org_id: UUID, token_id: UUID, by: str) -> bool:
    """Take a token back for good; False when the organization has none of that id. Again, it changes nothing."""
    values = {"org": org_id, "token": token_id}
    connection.execute(_REVOKE, values | {"by": by})
    return bool(connection.execute(_KNOWN, values).scalar_one())


def revoke_all(connection: Connection, org_id: UUID, person_ids: Sequence[UUID], by: str) -> int:
    """Take back every token that some people made in an organization; return how many."""
    return connection.execute(_REVOKE_ALL, {"org": org_id, "people": list(person_ids), "by": by}).rowcount


def find(connection: Connection, org_id: UUID, name: str) -> UUID | None:
    """Return the token of a name or id that was not revoked."""
    found: UUID | None = connection.execute(_NAMED, {"org": org_id, "name": name}).scalar_one_or_none()
    return found
