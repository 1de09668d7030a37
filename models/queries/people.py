"""Reads of people as members of one organization, of roles, accounts and sites."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

_MEMBERS = """
    SELECT p.id AS person_id, p.email, p.phone, p.full_name, m.id AS membership_id, r.id AS role_id, r.code AS role,
           r.name AS role_name, m.reach,
           ARRAY(SELECT s.account_id FROM membership_scopes s
                  WHERE s.membership_id = m.id AND s.account_id IS NOT NULL ORDER BY 1) AS account_ids,
           ARRAY(SELECT s.site_id FROM membership_scopes s
                  WHERE s.membership_id = m.id AND s.site_id IS NOT NULL ORDER BY 1) AS site_ids,
           m.team_id, t.name AS team, m.reports_to_id, b.full_name AS reports_to, m.skills, m.capacity,
           m.is_active, NOT p.is_active AS is_disabled, p.password_hash IS NOT NULL AS has_password,
           coalesce(p.locked_until > now(), false) AS is_locked, m.created_at
      FROM memberships m
      JOIN people p ON p.id = m.person_id AND p.erased_at IS NULL
      JOIN roles r ON r.id = m.role_id
      LEFT JOIN teams t ON t.id = m.team_id AND t.org_id = m.org_id
      LEFT JOIN people b ON b.id = m.reports_to_id
     WHERE m.org_id = :org
"""
_LIST = text(
    _MEMBERS
    + """
       AND (CAST(:after AS uuid) IS NULL OR p.id > :after)
       AND (CAST(:words AS text) IS NULL OR p.full_name ILIKE :words OR p.email ILIKE :words OR p.phone ILIKE :words)
       AND (CAST(:role AS text) IS NULL OR r.code = :role)
       AND (CAST(:is_active AS boolean) IS NULL OR (m.is_active AND p.is_active) = :is_active)
     ORDER BY p.id LIMIT :limit
"""
)
_ONE = text(_MEMBERS + " AND p.id = :person")
_ROLES = text("""
    SELECT r.id AS role_id, r.code, r.name, r.aliases, r.org_id IS NULL AS is_built_in,
           ARRAY(SELECT h.permission FROM role_permissions h WHERE h.role_id = r.id ORDER BY 1) AS permissions,
           (SELECT count(*) FROM memberships m WHERE m.role_id = r.id AND m.org_id = :org AND m.is_active) AS members
      FROM roles r
     WHERE (r.org_id IS NULL OR r.org_id = :org) AND (CAST(:role AS uuid) IS NULL OR r.id = :role)
     ORDER BY r.org_id NULLS FIRST, r.code LIMIT 500
""")
_ACCOUNTS = text("""
    SELECT a.id, a.name, a.created_at,
           (SELECT count(*) FROM sites s
             WHERE s.account_id = a.id AND (CAST(:at AS uuid[]) IS NULL OR s.id = ANY(CAST(:at AS uuid[])))) AS sites
      FROM accounts a
     WHERE a.org_id = :org AND (CAST(:only AS uuid[]) IS NULL OR a.id = ANY(CAST(:only AS uuid[])))
       AND (CAST(:at AS uuid[]) IS NULL
            OR EXISTS (SELECT FROM sites s WHERE s.account_id = a.id AND s.id = ANY(CAST(:at AS uuid[]))))
       AND (CAST(:after AS uuid) IS NULL OR a.id > :after)
       AND (CAST(:words AS text) IS NULL OR a.name ILIKE :words)
     ORDER BY a.id LIMIT :limit
""")
_SITES = text("""
    SELECT s.id, s.account_id, a.name AS account, s.name, s.address1, s.address2, s.city, s.region, s.postal_code,
           s.country, s.timezone, s.access_instructions, s.created_at
      FROM sites s JOIN accounts a ON a.id = s.account_id
     WHERE s.org_id = :org AND (CAST(:only AS uuid[]) IS NULL OR s.id = ANY(CAST(:only AS uuid[])))
       AND (CAST(:accounts AS uuid[]) IS NULL OR s.account_id = ANY(CAST(:accounts AS uuid[])))
       AND (CAST(:after AS uuid) IS NULL OR s.id > :after)
       AND (CAST(:words AS text) IS NULL OR s.name ILIKE :words OR s.city ILIKE :words)
     ORDER BY s.id LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class Member:
    """One person in one organization, with their role and how far it reaches."""

    person_id: UUID
    email: str | None
    phone: str | None
    full_name: str
    membership_id: UUID
    role_id: UUID
    role: str
    role_name: str
    reach: str
    account_ids: list[UUID]
    site_ids: list[UUID]
    team_id: UUID | None
    team: str | None
    reports_to_id: UUID | None
    reports_to: str | None
    skills: list[str]
    capacity: int | None
    is_active: bool
    #: In every organization, by the operator.
    is_disabled: bool
    has_password: bool
    is_locked: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class RoleRow:
    """A role with its permissions as they stand, and how many active members have it."""

    role_id: UUID
    code: str
    name: str
    aliases: list[str]
    is_built_in: bool
    permissions: list[str]
    members: int


@dataclass(frozen=True, slots=True)
class AccountRow:
    """A customer of the organization, and at how many sites."""

    id: UUID
    name: str
    created_at: datetime
    sites: int


@dataclass(frozen=True, slots=True)
class SiteRow:
    """A place of an account."""

    id: UUID
    account_id: UUID
    account: str
    name: str
    address1: str
    address2: str | None
    city: str
    region: str | None
    postal_code: str | None
    country: str
    timezone: str
    access_instructions: str | None
    created_at: datetime


def members(
    connection: Connection,
    org_id: UUID,
    *,
    after: UUID | None = None,
    words: str | None = None,
    role: str | None = None,
    is_active: bool | None = None,
    limit: int = 100,
) -> list[Member]:
    """Return members in the order in which they came to be people, those whose name or address holds `words`."""
    values = {"org": org_id, "after": after, "words": _like(words), "role": role, "is_active": is_active}
    return [Member(**row) for row in connection.execute(_LIST, values | {"limit": limit}).mappings()]


def member(connection: Connection, org_id: UUID, person_id: UUID) -> Member | None:
    """Return one member; None for who is none here."""
    row = connection.execute(_ONE, {"org": org_id, "person": person_id}).mappings().one_or_none()
    return None if row is None else Member(**row)


def roles(connection: Connection, org_id: UUID, role_id: UUID | None = None) -> list[RoleRow]:
    """Return the roles of an organization, those that are built in first; or the one of an id, if it is there."""
    return [RoleRow(**row) for row in connection.execute(_ROLES, {"org": org_id, "role": role_id}).mappings()]


def accounts(
    connection: Connection,
    org_id: UUID,
    *,
    only: Collection[UUID] | None = None,
    at: Collection[UUID] | None = None,
    after: UUID | None = None,
    words: str | None = None,
    limit: int = 100,
) -> list[AccountRow]:
    """Return accounts, the oldest first; `only` those of a reach, and those that have sites of it (`at`)."""
    values = {"org": org_id, "only": _ids(only), "at": _ids(at), "after": after, "words": _like(words), "limit": limit}
    return [AccountRow(**row) for row in connection.execute(_ACCOUNTS, values).mappings()]


def sites(
    connection: Connection,
    org_id: UUID,
    *,
    only: Collection[UUID] | None = None,
    account_ids: Collection[UUID] | None = None,
    after: UUID | None = None,
    words: str | None = None,
    limit: int = 100,
) -> list[SiteRow]:
    """Return sites, the oldest first; `only` those of a reach, and those of some accounts."""
    values = {"org": org_id, "only": _ids(only), "accounts": _ids(account_ids), "after": after, "words": _like(words)}
    return [SiteRow(**row) for row in connection.execute(_SITES, values | {"limit": limit}).mappings()]


def _ids(found: Collection[UUID] | None) -> list[UUID] | None:
    return None if found is None else sorted(found)


def _like(words: str | None) -> Any:
    """Return a pattern that finds the words as they are."""
    if not words:
        return None
    escaped = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
