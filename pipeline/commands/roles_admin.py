"""An organization's own roles: made of permissions that whoever makes them holds. Built-in ones stay as they are."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from models.permissions import Permission
from models.queries import people
from models.queries.people import RoleRow
from pipeline.commands.granting import Conflict, Grantor, Unknown, keeping_somebody
from pipeline.core.text import one_line
from pipeline.runtime.errors import UserError

_CODE = re.compile(r"[a-z][a-z0-9_]{0,62}")
_LONGEST_NAME, _MOST_ROLES = 100, 200

#: A token that names a built-in role must not get an organization's own one by its name.
_TAKEN = text("""
    SELECT count(*) FILTER (WHERE org_id IS NULL AND (code = :code OR :code = ANY(aliases))) AS built_in,
           count(*) FILTER (WHERE org_id = :org) AS own
      FROM roles WHERE org_id IS NULL OR org_id = :org
""")
_ADD = text("INSERT INTO roles (org_id, code, name) VALUES (:org, :code, :name) RETURNING id")
_NAME = text("UPDATE roles SET name = :name WHERE id = :role AND org_id = :org")
_CLEAR = text("DELETE FROM role_permissions WHERE role_id = :role AND permission <> ALL(CAST(:permissions AS text[]))")
_GIVE = text("""
    INSERT INTO role_permissions (role_id, permission) SELECT :role, p FROM unnest(CAST(:permissions AS text[])) AS p
        ON CONFLICT DO NOTHING
""")
#: What is over stands in the trail; it must not keep a role for ever.
_FORGET = text("""
    DELETE FROM api_tokens WHERE role_id = :role AND org_id = :org AND (revoked_at IS NOT NULL OR expires_at <= now())
""")
_REMOVE = text("DELETE FROM roles WHERE id = :role AND org_id = :org")


def add(
    connection: Connection, org_id: UUID, by: Grantor, *, code: str, name: str, permissions: Collection[Permission]
) -> RoleRow:
    """Make a role. Raises `UserError`, `Conflict` for a code that is taken, `NotGranted`."""
    if not _CODE.fullmatch(code):
        raise UserError("a role's code is small letters, digits and _, and begins with a letter")
    by.check(permissions, "this role")
    taken = connection.execute(_TAKEN, {"org": org_id, "code": code}).one()
    if taken.built_in:
        raise Conflict(f"{code} is a built-in role; choose another code")
    if taken.own >= _MOST_ROLES:
        raise Conflict(f"an organization has at most {_MOST_ROLES} roles of its own")
    try:
        role_id = connection.execute(_ADD, {"org": org_id, "code": code, "name": _name(name)}).scalar_one()
    except IntegrityError:
        raise Conflict(f"there is a role {code} already") from None
    _give(connection, role_id, permissions)
    return _role(connection, org_id, role_id)


def change(
    connection: Connection,
    org_id: UUID,
    by: Grantor,
    role_id: UUID,
    *,
    name: str | None = None,
    permissions: Collection[Permission] | None = None,
) -> RoleRow:
    """Change an own role; its members have the new permissions from their next request on. Raises as `add`."""
    found = _own(connection, org_id, role_id)
    by.check(found.permissions, "this role")
    with keeping_somebody(connection, org_id):
        if name is not None:
            connection.execute(_NAME, {"org": org_id, "role": role_id, "name": _name(name)})
        if permissions is not None:
            by.check(permissions, "this role")
            _give(connection, role_id, permissions)
    return _role(connection, org_id, role_id)


def remove(connection: Connection, org_id: UUID, by: Grantor, role_id: UUID) -> None:
    """Remove an own role that nobody has, with its tokens that are over.

    Raises as `add`, and `Conflict` while somebody, or a token that works, has it.
    """
    found = _own(connection, org_id, role_id)
    by.check(found.permissions, "this role")
    try:
        connection.execute(_FORGET, {"org": org_id, "role": role_id})
        connection.execute(_REMOVE, {"org": org_id, "role": role_id})
    except IntegrityError:
        raise Conflict(f"people or tokens have the role {found.code}; give them another one first") from None


def _give(connection: Connection, role_id: UUID, permissions: Collection[Permission]) -> None:
    values = {"role": role_id, "permissions": sorted({one.value for one in permissions})}
    connection.execute(_CLEAR, values)
    connection.execute(_GIVE, values)


def _own(connection: Connection, org_id: UUID, role_id: UUID) -> RoleRow:
    found = _role(connection, org_id, role_id)
    if found.is_built_in:
        raise Conflict(f"{found.code} is built in and stays as it is; make a role of your own")
    return found


def _role(connection: Connection, org_id: UUID, role_id: UUID) -> RoleRow:
    found: Sequence[RoleRow] = people.roles(connection, org_id, role_id)
    if not found:
        raise Unknown(f"your organization has no role {role_id}")
    return found[0]


def _name(said: str) -> str:
    found = one_line(said)
    if not found or len(found) > _LONGEST_NAME:
        raise UserError(f"a role's name has 1 to {_LONGEST_NAME} characters")
    return found
