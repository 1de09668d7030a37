"""Who may give what to whom: nobody gives more than they hold, and somebody is always left who may give."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.permissions import Permission
from pipeline.runtime.errors import UserError
from pipeline.runtime.identity import known

#: Changes of who may what wait for each other: two administrators cannot take each other's role away at once. No
#: stronger lock: rows that refer to the organization are written all the time.
_LOCK = text("SELECT id FROM organizations WHERE id = :org FOR NO KEY UPDATE")
_KEEPERS = text("""
    SELECT count(*) FROM memberships m JOIN people p ON p.id = m.person_id AND p.is_active AND p.erased_at IS NULL
     WHERE m.org_id = :org AND m.is_active AND m.reach = 'organization'
       AND EXISTS (SELECT FROM role_permissions h WHERE h.role_id = m.role_id AND h.permission = 'people.change')
""")
#: The organization's own goes before a built-in one; a role is also found by its id.
_ROLE = text("""
    SELECT r.id, r.code, r.org_id IS NULL AS is_built_in,
           ARRAY(SELECT h.permission FROM role_permissions h WHERE h.role_id = r.id) AS permissions
      FROM roles r
     WHERE (r.org_id IS NULL OR r.org_id = :org) AND (r.code = lower(:name) OR CAST(r.id AS text) = lower(:name))
     ORDER BY r.org_id NULLS LAST LIMIT 1
""")
_CODES = text("SELECT code FROM roles WHERE org_id IS NULL OR org_id = :org ORDER BY org_id NULLS FIRST, code LIMIT 40")


class Conflict(UserError):
    """It cannot be done as things stand."""


class Unknown(UserError):
    """The organization has nothing of this id."""


class NotGranted(UserError):
    """Whoever asks does not hold what they would give or change."""


@dataclass(frozen=True, slots=True)
class Grantor:
    """Who gives; the operator of the machine holds everything."""

    permissions: frozenset[Permission]
    person_id: UUID | None = None

    def check(self, permissions: Collection[str], what: str) -> None:
        """Raise `NotGranted` for a permission that is not held; one that this version does not know permits nothing."""
        missing = sorted(known(permissions) - self.permissions)
        if missing:
            raise NotGranted(f"{what} has permissions that you do not hold: {', '.join(missing)}")


#: Whoever may run commands on the machine could write the rows themselves.
OPERATOR = Grantor(frozenset(Permission))


@dataclass(frozen=True, slots=True)
class Role:
    """A role that may be given in an organization."""

    role_id: UUID
    code: str
    is_built_in: bool
    permissions: tuple[str, ...]


@contextmanager
def keeping_somebody(connection: Connection, org_id: UUID) -> Iterator[None]:
    """Let the block change who may what, alone; raise `Conflict` when nobody would be left who may do that."""
    connection.execute(_LOCK, {"org": org_id})
    before = _keepers(connection, org_id)
    yield
    if before and not _keepers(connection, org_id):
        raise Conflict("this is the last person who may change people: give that role to somebody else first")


def find_role(connection: Connection, org_id: UUID, name: str) -> Role:
    """Return the role of a code or id. Raises `UserError` that names the known ones."""
    row: Any = connection.execute(_ROLE, {"org": org_id, "name": name}).one_or_none()
    if row is None:
        codes = ", ".join(connection.execute(_CODES, {"org": org_id}).scalars())
        raise UserError(f"there is no role {name[:64]!r}; there are {codes}")
    return Role(row.id, row.code, row.is_built_in, tuple(row.permissions))


def _keepers(connection: Connection, org_id: UUID) -> int:
    return int(connection.execute(_KEEPERS, {"org": org_id}).scalar_one())
