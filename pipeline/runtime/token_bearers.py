"""Who a proved token of another issuer stands for here, and what they may do at this moment."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.core.jwt_rules import BadClaims, BadToken, Places, Said, as_uuid
from pipeline.core.principals import Principal, Scope, Way
from pipeline.runtime import identity

#: Two are enough to know that it is not the only one.
_NAMED = text("SELECT id FROM organizations WHERE id = CAST(:id AS uuid) OR name = :name LIMIT 2")
_OF_ACCOUNTS = text("SELECT DISTINCT org_id FROM accounts WHERE id = ANY(CAST(:ids AS uuid[])) LIMIT 2")
_ONLY = text("SELECT id FROM organizations LIMIT 2")
_LINKED = text("SELECT person_id FROM identities WHERE issuer = :issuer AND subject = :subject")
_IS_PERSON = text("SELECT EXISTS (SELECT FROM people WHERE id = :person)")


def principal(
    connection: Connection, said: Said, *, issuer: str | None, pinned: str | None, otherwise: str | None
) -> Principal:
    """Return who acts by a token, in three queries or four. A role nobody knows permits nothing.

    `pinned` is the one organization that the token's issuer may open, by name or id, `otherwise` the one for tokens
    that name none. Somebody we know may at most what their membership permits, and reaches no further. Raises
    `BadClaims` where the organization cannot be told, `BadToken` for a person who is nothing here any more.
    """
    org_id = _organization(connection, said, pinned, otherwise)
    person_id = _person_id(connection, issuer, said.subject)
    role = identity.role_named(connection, org_id, said.role)
    if person_id is None and not said.places.is_said:
        raise BadClaims("it has neither account_ids and site_ids, nor a person that is known here")
    found = Principal(
        org_id=org_id,
        actor_id=said.subject,
        actor_kind=said.kind,
        person_id=None,
        email=said.subject,
        role=said.role if role is None else role.code,
        permissions=frozenset() if role is None else role.permissions,
        scope=Scope(account_ids=said.places.account_ids, site_ids=said.places.site_ids),
        way=Way.BEARER,
        expires_at=said.expires_at,
    )
    return found if person_id is None else _as_person(connection, found, person_id, said.places)


def _as_person(connection: Connection, found: Principal, person_id: UUID, places: Places) -> Principal:
    """Bound what a token gives by what the person is."""
    member = identity.by_person(connection, found.org_id, person_id, Way.BEARER)
    if member is None:
        raise BadToken("its subject is no active member of the organization")
    reach = member.scope
    scope = replace(
        reach,
        account_ids=_both(reach.account_ids, places.account_ids),
        site_ids=_both(reach.site_ids, places.site_ids),
    )
    return replace(
        found,
        actor_id=member.actor_id,
        person_id=person_id,
        email=member.email or found.email,
        permissions=found.permissions & member.permissions,
        scope=scope,
    )


def _both(one: frozenset[UUID] | None, other: frozenset[UUID] | None) -> frozenset[UUID] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _organization(connection: Connection, said: Said, pinned: str | None, otherwise: str | None) -> UUID:
    """Return the organization that a token is for; an issuer that is bound to one opens no other."""
    if pinned is not None:
        found = named_organization(connection, pinned)
        if found is None or said.org_id not in {None, found}:
            raise BadClaims("its issuer is bound to another organization, or to one that is not there")
        return found
    if said.org_id is not None:
        return _one(
            list(connection.execute(_NAMED, {"id": said.org_id, "name": None}).scalars()), "its org_id is none of ours"
        )
    if said.places.account_ids:
        ids = {"ids": sorted(said.places.account_ids)}
        owners = list(connection.execute(_OF_ACCOUNTS, ids).scalars())
        if owners:
            return _one(owners, "its accounts are of several organizations; it must have an org_id")
    if otherwise is not None:
        return _one(
            [named_organization(connection, otherwise)],
            "it has no org_id, and FIELDPOST_JWT_ORGANIZATION names none of ours",
        )
    return _one(list(connection.execute(_ONLY).scalars()), "it has no org_id, and there is more than one organization")


def named_organization(connection: Connection, said: str) -> UUID | None:
    """Return the organization of a name or an id, None when there is none."""
    found = list(connection.execute(_NAMED, {"id": as_uuid(said), "name": said}).scalars())
    return found[0] if len(found) == 1 else None


def linked_person(connection: Connection, issuer: str, subject: str) -> UUID | None:
    """Return the person that an issuer's name for somebody was linked to, None when nobody was."""
    found: UUID | None = connection.execute(_LINKED, {"issuer": issuer, "subject": subject}).scalar_one_or_none()
    return found


def _one(found: list[UUID | None], otherwise: str) -> UUID:
    if len(found) != 1 or found[0] is None:
        raise BadClaims(otherwise)
    return found[0]


def _person_id(connection: Connection, issuer: str | None, subject: str) -> UUID | None:
    """Return whom a subject is: linked to its issuer's name for them, or called by their own id."""
    if issuer is not None:
        linked = linked_person(connection, issuer, subject)
        if linked is not None:
            return linked
    own = as_uuid(subject)
    is_person = own is not None and connection.execute(_IS_PERSON, {"person": own}).scalar_one()
    return own if is_person else None
