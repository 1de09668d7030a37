"""What the operator of the installation does to people, beyond any organization: switch off, passwords, links."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import ActorKind
from pipeline.core import contacts, passwords
from pipeline.core.notices import RESET_VALID
from pipeline.runtime import auditing, resetting, sessions
from pipeline.runtime.auditing import Entry
from pipeline.runtime.errors import UserError

_FIND = text("""
    SELECT id, email, phone, full_name, is_active FROM people
     WHERE (email = :name OR phone = :name OR CAST(id AS text) = :name) AND erased_at IS NULL
""")
_SWITCH = text("UPDATE people SET is_active = :is_active WHERE id = :person")
#: Whoever may change people in an organization where nobody else may.
_NEEDED = text("""
    SELECT o.name FROM memberships m
      JOIN organizations o ON o.id = m.org_id
      JOIN role_permissions h ON h.role_id = m.role_id AND h.permission = 'people.change'
     WHERE m.person_id = :person AND m.is_active AND m.reach = 'organization'
       AND NOT EXISTS (SELECT FROM memberships x
                         JOIN people p ON p.id = x.person_id AND p.is_active AND p.erased_at IS NULL
                         JOIN role_permissions y ON y.role_id = x.role_id AND y.permission = 'people.change'
                        WHERE x.org_id = m.org_id AND x.person_id <> m.person_id AND x.is_active
                          AND x.reach = 'organization')
     LIMIT 1
""")
_ORGANIZATIONS = text("SELECT org_id FROM memberships WHERE person_id = :person ORDER BY org_id")
DISABLED = "disabled by the operator"


def find_person(connection: Connection, name: str) -> Any:
    """Return the person of a mail address, a telephone number or an id. Raises `UserError`."""
    found = connection.execute(_FIND, {"name": contacts.identifier(name) or name.strip().lower()}).one_or_none()
    if found is None:
        raise UserError(f"there is no person {name[:80]!r}; see `fieldpost people list`")
    return found


def set_active(connection: Connection, person: Any, *, is_active: bool, actor: str) -> None:
    """Let somebody in again, or out everywhere: their sessions and tokens end.

    Raises `UserError` for who alone may change people in an organization.
    """
    if not is_active:
        needed = connection.execute(_NEEDED, {"person": person.id}).scalar_one_or_none()
        if needed is not None:
            raise UserError(f"nobody else may change people in {needed}: give that role to somebody first")
    connection.execute(_SWITCH, {"person": person.id, "is_active": is_active})
    if not is_active:
        sessions.end_all(connection, [person.id], DISABLED)
    record(connection, person.id, "people.enable" if is_active else "people.disable", actor)


def set_password(connection: Connection, person: Any, password: str, password_hash: str, *, actor: str) -> None:
    """Set somebody's password; everything they were signed in by ends. Raises `UserError` for a weak one."""
    weakness = passwords.problem(password, [one for one in (person.email, person.phone, person.full_name) if one])
    if weakness is not None:
        raise UserError(f"this password will not do: {weakness}")
    if not resetting.set_password(connection, person.id, password_hash):
        raise UserError("this person is disabled: let them in first with `fieldpost people enable`")
    record(connection, person.id, "password.set", actor)


def reset_token(connection: Connection, person: Any, *, actor: str) -> str:
    """Return a token that sets a password once, within `RESET_VALID`. Raises `UserError` for who is disabled."""
    if not person.is_active:
        raise UserError("this person is disabled: let them in first with `fieldpost people enable`")
    token = resetting.make(connection, person.id, RESET_VALID)
    record(connection, person.id, "password.link", actor)
    return token


def record(connection: Connection, person_id: UUID, action: str, actor: str, org_id: UUID | None = None) -> None:
    """Tell the audit trail of one organization, or of all that the person belongs to, what the operator did."""
    found = [org_id] if org_id else list(connection.execute(_ORGANIZATIONS, {"person": person_id}).scalars())
    for one in found:
        auditing.append(
            connection, Entry(one, action, actor, ActorKind.HUMAN, target_kind="person", target_id=str(person_id))
        )
