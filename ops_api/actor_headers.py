"""The development fallback of contract 000: headers that say who one is. Nothing proves them: production has none."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Request
from sqlalchemy import Connection

from models.enums import ActorKind
from ops_api.answers import Refusal
from ops_api.hosts import is_unforgeable
from pipeline.core.principals import Principal, Scope, Way
from pipeline.runtime import identity
from pipeline.runtime.settings import Settings

_ALL = "*"
_LONGEST = 4_096
_NAMES = ("x-actor-id", "x-actor-role")


@dataclass(frozen=True, slots=True)
class ActorHeaders:
    """Who somebody says they are; None for accounts and sites where all are meant."""

    actor_id: str
    role: str
    kind: ActorKind
    account_ids: frozenset[UUID] | None
    site_ids: frozenset[UUID] | None
    org_id: UUID | None


def presented(request: Request, settings: Settings) -> ActorHeaders | None:
    """Return what the headers say; None without them, and where they are not believed.

    Raises `Refusal` when one is missing or cannot be read, and for a name that another site could have pointed here.
    """
    headers = request.headers
    if not settings.is_dev_login_served or not any(name in headers for name in _NAMES):
        return None
    host = request.url.hostname or ""
    if not is_unforgeable(host) and host != urlsplit(settings.public_url or "").hostname:
        raise Refusal(403, "these headers are believed at an address, at localhost, and at FIELDPOST_PUBLIC_URL")
    actor_id, role = (headers.get(name, "").strip()[:200] for name in _NAMES)
    if not actor_id or not role:
        raise missing_actor()
    return ActorHeaders(
        actor_id=actor_id,
        role=role,
        kind=_kind(headers.get("x-actor-type", ActorKind.HUMAN)),
        account_ids=_places(headers.get("x-account-scope", _ALL), "X-Account-Scope"),
        site_ids=_places(headers.get("x-site-scope", _ALL), "X-Site-Scope"),
        org_id=_organization(headers.get("x-organization-id")),
    )


def principal(connection: Connection, said: ActorHeaders) -> Principal:
    """Return who that is in the organization that was named, or in the only one. A role nobody knows permits nothing.

    Whose actor's id is that of a member also has what is theirs alone: what is assigned to them, their views.
    """
    org_id = identity.organization(connection, said.org_id)
    if org_id is None:
        raise missing_actor("say which organization with X-Organization-Id")
    role = identity.role_named(connection, org_id, said.role)
    return Principal(
        org_id=org_id,
        actor_id=said.actor_id,
        actor_kind=said.kind,
        person_id=_person(connection, org_id, said.actor_id),
        email=said.actor_id,
        role=said.role if role is None else role.code,
        permissions=frozenset() if role is None else role.permissions,
        scope=Scope(account_ids=said.account_ids, site_ids=said.site_ids),
        way=Way.HEADERS,
    )


def missing_actor(why: str = "say who you are with X-Actor-Id and X-Actor-Role") -> Refusal:
    """Return the refusal of contract 000 for headers that do not say who asks."""
    return Refusal(400, why, code="MISSING_ACTOR_CONTEXT")


def _person(connection: Connection, org_id: UUID, actor_id: str) -> UUID | None:
    person_id = _uuid(actor_id)
    if person_id is None or identity.by_person(connection, org_id, person_id, Way.HEADERS) is None:
        return None
    return person_id


def _kind(said: str) -> ActorKind:
    try:
        return ActorKind(said.strip().upper())
    except ValueError:
        raise _unreadable("X-Actor-Type is HUMAN, AGENT, SERVICE or SYSTEM") from None


def _organization(said: str | None) -> UUID | None:
    found = None if said is None else _uuid(said)
    if said is not None and found is None:
        raise _unreadable("X-Organization-Id is no UUID")
    return found


def _places(said: str, name: str) -> frozenset[UUID] | None:
    """Return the ids of a list with commas; None for all of them, an empty set for none."""
    parts = [part.strip() for part in said[:_LONGEST].split(",") if part.strip()]
    if _ALL in parts:
        return None
    found = [_uuid(part) for part in parts]
    if None in found:
        raise _unreadable(f"{name} is a list of UUIDs with commas, or *")
    return frozenset(one for one in found if one is not None)


def _uuid(said: str) -> UUID | None:
    try:
        return UUID(said.strip())
    except ValueError:
        return None


def _unreadable(why: str) -> Refusal:
    return Refusal(401, why, code="INVALID_AUTH_CLAIMS")
