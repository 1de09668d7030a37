"""The customer's link to a ticket's visit: its token, what it is found by, and who acts by it.

The token is 256 bits that follow from the secret key and the link's id: the database holds its SHA-256 alone, and a
request for a link that is sent again has the same answer.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import ActorKind, DispatchState
from pipeline.core.field_work import FieldTicket
from pipeline.core.principals import Principal, Scope, Way
from pipeline.runtime import identity
from pipeline.runtime.secrets import Secrets

_PURPOSE = "visit link"
#: Of 32 bytes in base64url without padding.
TOKEN_LENGTH = 43
_ROLE = "customer"

_REVOKE = text("""
    UPDATE visit_links SET revoked_at = now() WHERE ticket_id = ANY(CAST(:tickets AS uuid[])) AND revoked_at IS NULL
""")
_NEW = text("""
    INSERT INTO visit_links (id, org_id, ticket_id, token_hash, created_by, expires_at)
    VALUES (:id, :org, :ticket, :hash, :by, :expires)
""")
_FIND = text("""
    SELECT l.id, l.org_id, l.ticket_id, l.expires_at, t.code, t.dispatch_state, o.name AS company, now() AS now,
           s.name AS site, s.address1, s.address2, s.city, s.region, s.postal_code, s.timezone,
           d.scheduled_start, d.scheduled_end
      FROM visit_links l
      JOIN tickets t ON t.id = l.ticket_id AND t.status <> 'merged'
      JOIN organizations o ON o.id = l.org_id
      LEFT JOIN dispatches d ON d.ticket_id = l.ticket_id
      LEFT JOIN sites s ON s.id = t.site_id
     WHERE l.token_hash = :hash AND l.revoked_at IS NULL AND l.expires_at > now()
""")
_USED = text("UPDATE visit_links SET used_at = now() WHERE id = :id")


@dataclass(frozen=True, slots=True)
class New:
    """A link as it is made."""

    link_id: UUID
    token_hash: bytes
    expires_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class Link:
    """A link that is good, and what its page says: of a person nothing but where the visit is."""

    link_id: UUID
    org_id: UUID
    ticket_id: UUID
    code: str
    state: DispatchState
    company: str
    #: On one line; None for a ticket without a site.
    address: str | None
    timezone: str
    starts_at: datetime | None
    ends_at: datetime | None
    expires_at: datetime
    now: datetime


def token_of(secrets: Secrets, link_id: UUID) -> str:
    """Return the token of a link, by the secret key of today."""
    return _token(secrets.key(_PURPOSE), link_id)


def hash_of(token: str) -> bytes:
    """Return what a link is found by."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def replace(connection: Connection, ticket: FieldTicket, new: New) -> None:
    """Make a locked ticket's link; whatever links it had are good no more."""
    revoke(connection, ticket.ticket_id)
    values = {"id": new.link_id, "org": ticket.org_id, "ticket": ticket.ticket_id, "hash": new.token_hash}
    connection.execute(_NEW, values | {"by": new.created_by, "expires": new.expires_at})


def revoke(connection: Connection, *ticket_ids: UUID) -> None:
    """Let the links of tickets be good no more."""
    connection.execute(_REVOKE, {"tickets": list(ticket_ids)})


def find(connection: Connection, token: str) -> Link | None:
    """Return the link of a token; None for one that is unknown, over or revoked, without telling which."""
    if len(token) != TOKEN_LENGTH:
        return None
    row = connection.execute(_FIND, {"hash": hash_of(token)}).one_or_none()
    return None if row is None else _link(row)


def note_used(connection: Connection, link: Link) -> None:
    """Note that somebody acted by a link."""
    connection.execute(_USED, {"id": link.link_id})


def principal_of(connection: Connection, link: Link) -> Principal:
    """Return who acts by a link: a customer who reaches its one ticket, called `link:<id>` in the audit trail."""
    held = identity.role_named(connection, link.org_id, _ROLE)
    name = f"link:{link.link_id}"
    return Principal(
        org_id=link.org_id,
        actor_id=name,
        actor_kind=ActorKind.HUMAN,
        person_id=None,
        email=name,
        role=_ROLE,
        permissions=held.permissions if held else frozenset(),
        scope=Scope(ticket_id=link.ticket_id),
        way=Way.LINK,
        expires_at=link.expires_at,
    )


def _token(key: bytes, link_id: UUID) -> str:
    return base64.urlsafe_b64encode(hmac.digest(key, link_id.bytes, hashlib.sha256)).rstrip(b"=").decode()


def _link(row: Any) -> Link:
    return Link(
        link_id=row.id,
        org_id=row.org_id,
        ticket_id=row.ticket_id,
        code=row.code,
        state=DispatchState(row.dispatch_state),
        company=row.company,
        address=_address(row),
        timezone=row.timezone or "UTC",
        starts_at=row.scheduled_start,
        ends_at=row.scheduled_end,
        expires_at=row.expires_at,
        now=row.now,
    )


def _address(row: Any) -> str | None:
    """Return the site's address, its name where it has none."""
    place = " ".join(part for part in (row.region, row.postal_code) if part)
    parts: Sequence[str | None] = (row.address1, row.address2, row.city, place)
    return ", ".join(part.strip() for part in parts if part and part.strip()) or row.site
