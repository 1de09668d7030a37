"""People and their memberships, made where they are missing."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.runtime.errors import UserError

#: The update changes nothing; it makes a concurrent first caller wait for the row and return it.
_PERSON = text("""
    INSERT INTO people (email, full_name) VALUES (:email, :name)
        ON CONFLICT (email) WHERE email IS NOT NULL DO UPDATE SET email = excluded.email
    RETURNING id
""")
_FIND = text("SELECT id FROM people WHERE email = :email")
_ROLE = text("""
    SELECT id FROM roles WHERE code = :code AND (org_id IS NULL OR org_id = :org) ORDER BY org_id NULLS LAST LIMIT 1
""")
_MEMBERSHIP = text("""
    INSERT INTO memberships (org_id, person_id, role_id) VALUES (:org, :person, :role)
        ON CONFLICT (org_id, person_id) DO NOTHING
""")


def ensure_person(connection: Connection, email: str, full_name: str = "") -> UUID:
    """Return the person of a mail address, made when they are new; who is there keeps their name."""
    values = {"email": email.strip().lower(), "name": full_name}
    found: UUID = connection.execute(_PERSON, values).scalar_one()
    return found


def find_person(connection: Connection, email: str) -> UUID:
    """Return the person of a mail address. Raises `UserError` when there is none."""
    found: UUID | None = connection.execute(_FIND, {"email": email.strip().lower()}).scalar_one_or_none()
    if found is None:
        raise UserError(f"there is no person {email!r}; see `fieldpost people list`")
    return found


def ensure_membership(connection: Connection, org_id: UUID, person_id: UUID, role: str) -> bool:
    """Make a person a member by the code of a role; who is one keeps role and reach, and who was revoked stays so.

    Return whether they are new. Raises `UserError` when the organization has no such role.
    """
    role_id = connection.execute(_ROLE, {"code": role, "org": org_id}).scalar_one_or_none()
    if role_id is None:
        raise UserError(f"there is no role {role!r}")
    return bool(connection.execute(_MEMBERSHIP, {"org": org_id, "person": person_id, "role": role_id}).rowcount)
