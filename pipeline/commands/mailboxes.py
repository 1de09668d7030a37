"""Mailboxes and organizations: adding, finding, listing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from models.enums import Provider
from pipeline.runtime.errors import UserError

#: The update changes nothing; it makes a concurrent first caller wait for the row and return it.
_ORGANIZATION = text("""
    INSERT INTO organizations (name) VALUES (:name) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id
""")
_ADD = text("""
    INSERT INTO mailboxes (org_id, address, provider, source, credentials)
    VALUES (:org, :address, :provider, :source, :credentials)
        ON CONFLICT (address) DO UPDATE
            SET source = excluded.source, credentials = coalesce(excluded.credentials, mailboxes.credentials),
                project = CASE WHEN excluded.credentials IS NULL THEN mailboxes.project END
          WHERE mailboxes.org_id = excluded.org_id AND mailboxes.provider = excluded.provider
    RETURNING id
""")
_ORGANIZATIONS = text("""
    SELECT id, name FROM organizations
     WHERE CAST(:name AS text) IS NULL OR name = :name OR CAST(id AS text) = lower(:name) ORDER BY name LIMIT 10
""")
_FIND = text("SELECT id FROM mailboxes WHERE address = :name OR CAST(id AS text) = :name")
_NAMES = text("SELECT address FROM mailboxes ORDER BY address LIMIT 10")


def ensure_organization(connection: Connection, name: str) -> UUID:
    """Return the organization of that name, made when it is new."""
    found: UUID = connection.execute(_ORGANIZATION, {"name": name}).scalar_one()
    return found


def find_organization(connection: Connection, name: str | None) -> UUID:
    """Return the organization of a name or id, the only one without a name. Raises `UserError` that names the known."""
    found = connection.execute(_ORGANIZATIONS, {"name": name}).all()
    if len(found) == 1:
        return UUID(str(found[0].id))
    if found:
        raise UserError(f"say which organization with --org: {', '.join(row.name for row in found)}")
    known = ", ".join(row.name for row in connection.execute(_ORGANIZATIONS, {"name": None})) or "none yet"
    raise UserError(f"unknown organization {name!r}; known: {known}" if name else "there is no organization yet")


def add_mailbox(
    connection: Connection,
    org_id: UUID,
    address: str,
    provider: Provider,
    *,
    source: Mapping[str, Any],
    credentials: bytes | None = None,
) -> UUID:
    """Add a mailbox, or connect it anew; reconnecting moves no cursor and so skips no mail.

    Raises `UserError` when the address is no address, or stands already for another organization or provider.
    """
    cleaned = address.strip().lower()
    if cleaned.count("@") != 1 or not all(cleaned.split("@")) or any(character.isspace() for character in cleaned):
        raise UserError(f"{address!r} is no mail address; write it like help@example.org")
    found = connection.execute(
        _ADD,
        {
            "org": org_id,
            "address": cleaned,
            "provider": provider.value,
            "source": _json(source),
            "credentials": credentials,
        },
    ).scalar_one_or_none()
    if found is None:
        raise UserError(f"{cleaned} exists already with another organization or provider; see `fieldpost mailbox list`")
    return UUID(str(found))


def find_mailbox(connection: Connection, name: str) -> UUID:
    """Return the mailbox of an address or id. Raises `UserError` that names the known ones."""
    found = connection.execute(_FIND, {"name": name.strip().lower()}).scalar_one_or_none()
    if found is None:
        known = ", ".join(connection.execute(_NAMES).scalars()) or "none yet"
        raise UserError(f"unknown mailbox {name!r}; known: {known}. Add one with `fieldpost mailbox add`")
    return UUID(str(found))


def _json(value: Mapping[str, Any]) -> Any:
    return Jsonb(dict(value))
