"""The one resolver: from what somebody presents to the `Principal` that they are at this moment.

Each way in is one query that reads person, membership, role, permissions and reach together, anew for every request:
a membership that was revoked, a person who was disabled, and a permission that was taken away work at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from models.enums import ActorKind, Reach
from models.permissions import Permission
from models.queries.scoping import ticket_condition
from pipeline.core.principals import Principal, Scope, Way
from pipeline.runtime.sessions import IDLE

#: Deny by default: whatever is missing or switched off leaves no row. A role of another organization counts nowhere.
_STANDING = """
    SELECT m.org_id, p.id AS person_id, coalesce(p.email, p.phone, '') AS email, r.code AS role, m.reach, m.team_id,
           ARRAY(SELECT h.permission FROM role_permissions h WHERE h.role_id = r.id) AS permissions,
           ARRAY(SELECT s.account_id FROM membership_scopes s
                  WHERE s.membership_id = m.id AND s.account_id IS NOT NULL) AS account_ids,
           ARRAY(SELECT s.site_id FROM membership_scopes s
                  WHERE s.membership_id = m.id AND s.site_id IS NOT NULL) AS site_ids,
           CASE WHEN m.reach = 'team' THEN ARRAY(
               SELECT q.queue_id FROM queue_memberships q WHERE q.person_id = p.id AND q.org_id = m.org_id
           ) ELSE '{{}}' END AS queue_ids{more}
      FROM {found}
      JOIN people p ON p.id = {who}.person_id AND p.is_active AND p.erased_at IS NULL
      JOIN memberships m ON m.person_id = p.id AND m.org_id = {who}.org_id AND m.is_active
      JOIN roles r ON r.id = m.role_id AND (r.org_id IS NULL OR r.org_id = m.org_id)
"""
_BY_SESSION = text(
    _STANDING.format(
        found="sessions s",
        who="s",
        more=""", s.id AS session_id, s.created_at, s.expires_at,
           s.seen_at < now() - interval '1 minute' AS is_stale""",
    )
    + """
     WHERE s.token_hash = :hash AND s.kind = 'cookie' AND s.ended_at IS NULL AND s.expires_at > now()
       AND s.seen_at > now() - CAST(:idle AS interval)
"""
)
_SEEN = text("""
    UPDATE sessions SET seen_at = now()
     WHERE id = :session AND ended_at IS NULL AND seen_at < now() - interval '1 minute'
""")
_BY_FAMILY = text(
    _STANDING.format(found="sessions s", who="s", more=", s.id AS session_id, s.created_at, s.expires_at")
    + """
     WHERE s.id = :session AND s.kind = 'token' AND s.ended_at IS NULL AND s.expires_at > now()
"""
)
_BY_API_TOKEN = text(
    _STANDING.format(  # noqa: S608 - made of constants
        found="api_tokens a",
        who="a",
        more=""", a.id AS token_id, a.name AS token_name, a.created_at, a.expires_at, o.code AS token_role,
           ARRAY(SELECT h.permission FROM role_permissions h WHERE h.role_id = o.id) AS token_permissions,
           coalesce(a.used_at < now() - interval '1 minute', true) AS is_stale""",
    )
    + """
      JOIN roles o ON o.id = a.role_id AND (o.org_id IS NULL OR o.org_id = a.org_id)
     WHERE a.token_hash = :hash AND a.revoked_at IS NULL AND a.expires_at > now()
"""
)
_USED = text("UPDATE api_tokens SET used_at = now() WHERE id = :token")
_BY_PERSON = text(
    _STANDING.format(
        found="(SELECT CAST(:person AS uuid) AS person_id, CAST(:org AS uuid) AS org_id) w", who="w", more=""
    )
)
#: The organization's own role goes before a built-in one, a code before an alias.
_ROLE = text("""
    SELECT r.code, ARRAY(SELECT h.permission FROM role_permissions h WHERE h.role_id = r.id) AS permissions
      FROM roles r
     WHERE (r.org_id = :org OR r.org_id IS NULL) AND (r.code = :name OR :name = ANY(r.aliases))
     ORDER BY r.code = :name DESC, r.org_id NULLS LAST LIMIT 1
""")
#: Two are enough to know that it is not the only one.
_ORGANIZATIONS = text("""
    SELECT id FROM organizations WHERE CAST(:org AS uuid) IS NULL OR id = :org ORDER BY id LIMIT 2
""")
_KNOWN = {permission.value: permission for permission in Permission}


@dataclass(frozen=True, slots=True)
class RoleHeld:
    """A role by its code, with the permissions that it has now."""

    code: str
    permissions: frozenset[Permission]


def digest(token: str) -> bytes:
    """Return what is stored of a token: its SHA-256, which is enough for 256 random bits."""
    return hashlib.sha256(token.encode()).digest()


def by_session(connection: Connection, token: str) -> Principal | None:
    """Return whose session the cookie's value is; None when it is over, idle for too long, or they may be nothing.

    That the session was used is noted at most once a minute.
    """
    row = connection.execute(_BY_SESSION, {"hash": digest(token), "idle": IDLE}).mappings().one_or_none()
    if row is None:
        return None
    if row["is_stale"]:
        connection.execute(_SEEN, {"session": row["session_id"]})
    return _principal(row, Way.SESSION, session_id=row["session_id"])


def by_family(connection: Connection, session_id: UUID) -> Principal | None:
    """Return whose family of tokens it is (contract 004); None when it has ended, or they may be nothing."""
    row = connection.execute(_BY_FAMILY, {"session": session_id}).mappings().one_or_none()
    return None if row is None else _principal(row, Way.ACCESS_TOKEN, session_id=session_id)


def by_api_token(connection: Connection, token: str) -> Principal | None:
    """Return who acts by an API token: it may what its role and its maker both may, as far as its maker reaches."""
    row = connection.execute(_BY_API_TOKEN, {"hash": digest(token)}).mappings().one_or_none()
    if row is None:
        return None
    if row["is_stale"]:
        connection.execute(_USED, {"token": row["token_id"]})
    return Principal(
        org_id=row["org_id"],
        actor_id=f"api_token:{row['token_id']}",
        actor_kind=ActorKind.SERVICE,
        person_id=row["person_id"],
        email=row["email"],
        role=row["token_role"],
        permissions=known(row["permissions"]) & known(row["token_permissions"]),
        scope=_scope(row),
        way=Way.API_TOKEN,
        created_at=row["created_at"],
        expires_at=row["expires_at"],
    )


def by_person(connection: Connection, org_id: UUID, person_id: UUID, way: Way) -> Principal | None:
    """Return what a person is in an organization now; None when they are nothing there."""
    row = connection.execute(_BY_PERSON, {"org": org_id, "person": person_id}).mappings().one_or_none()
    return None if row is None else _principal(row, way)


def role_named(connection: Connection, org_id: UUID, name: str) -> RoleHeld | None:
    """Return the role that a code or an alias names in an organization: its own before a built-in one."""
    row = connection.execute(_ROLE, {"org": org_id, "name": name.strip().lower()}).one_or_none()
    return None if row is None else RoleHeld(row.code, known(row.permissions))


def organization(connection: Connection, org_id: UUID | None) -> UUID | None:
    """Return an organization when there is one of that id; without an id the only one there is. None otherwise."""
    found = list(connection.execute(_ORGANIZATIONS, {"org": org_id}).scalars())
    return found[0] if len(found) == 1 else None


def known(permissions: Collection[str]) -> frozenset[Permission]:
    """Return those that this version knows; any other permits nothing."""
    return frozenset(_KNOWN[one] for one in permissions if one in _KNOWN)


def ticket_reach(principal: Principal, alias: str = "t") -> tuple[str, dict[str, Any]]:
    """Return the condition on `tickets` that keeps a query within the principal's reach, with its parameters."""
    scope = principal.scope
    if scope.ticket_id is not None:
        return f"{alias}.id = CAST(:scope_ticket AS uuid)", {"scope_ticket": scope.ticket_id}
    return ticket_condition(
        reach=scope.reach,
        person_id=principal.person_id,
        account_ids=scope.account_ids,
        site_ids=scope.site_ids,
        team_id=scope.team_id,
        queue_ids=scope.queue_ids,
        alias=alias,
    )


def _principal(row: RowMapping, way: Way, session_id: UUID | None = None) -> Principal:
    return Principal(
        org_id=row["org_id"],
        actor_id=str(row["person_id"]),
        actor_kind=ActorKind.HUMAN,
        person_id=row["person_id"],
        email=row["email"],
        role=row["role"],
        permissions=known(row["permissions"]),
        scope=_scope(row),
        way=way,
        session_id=session_id,
        created_at=row.get("created_at"),
        expires_at=row.get("expires_at"),
    )


def _scope(row: RowMapping) -> Scope:
    reach = Reach(row["reach"])
    return Scope(
        reach=reach,
        account_ids=frozenset(row["account_ids"]) if reach is Reach.ACCOUNT else None,
        site_ids=frozenset(row["site_ids"]) if reach is Reach.SITE else None,
        team_id=row["team_id"] if reach is Reach.TEAM else None,
        queue_ids=frozenset(row["queue_ids"]),
    )
