"""Which of our people somebody is that an identity provider vouches for; linked or made at their first coming."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.commands.people import ensure_membership, ensure_person
from pipeline.core.principals import Principal, Way
from pipeline.runtime import identity
from pipeline.runtime.token_bearers import linked_person, named_organization

_SAME_ADDRESS = text("SELECT id FROM people WHERE email = :email")
#: Once for each issuer: a second subject with the same address is somebody else, such as its next owner.
_LINK = text("""
    INSERT INTO identities (issuer, subject, person_id)
    SELECT :issuer, :subject, p.id FROM people p
     WHERE p.id = :person AND p.is_active AND p.erased_at IS NULL
       AND NOT EXISTS (SELECT FROM identities i WHERE i.person_id = p.id AND i.issuer = :issuer)
        ON CONFLICT (issuer, subject) DO NOTHING
    RETURNING person_id
""")
_FIRST = text("""
    SELECT m.org_id FROM memberships m WHERE m.person_id = :person AND m.is_active
     ORDER BY m.created_at, m.org_id LIMIT 1
""")
#: Two first comings of one person wait for each other.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")


class NobodyHere(Exception):
    """The provider vouches for them, and they are nobody here; the text says why, for themselves."""


def recognise(
    connection: Connection,
    *,
    issuer: str,
    subject: str,
    email: str | None,
    name: str,
    organization: str | None,
    default_role: str | None,
) -> Principal:
    """Return who comes, as they are in the organization they sign in to. Raises `NobodyHere`.

    Who was here before is known by the provider's own name for them. Else an address that the provider proved links
    them, once, to the person who has it. With a default role they are made, and made a member, where they are not.
    """
    org_id = None if organization is None else named_organization(connection, organization)
    if organization is not None and org_id is None:
        raise NobodyHere("the organization of FIELDPOST_OIDC_ORGANIZATION is not there; tell an administrator")
    connection.execute(_LOCK, {"name": f"{issuer} {email or subject}"})
    person_id = linked_person(connection, issuer, subject) or _linked(
        connection, issuer, subject, email, name, makes=bool(org_id and default_role)
    )
    if org_id is not None and default_role:
        ensure_membership(connection, org_id, person_id, default_role)
    org_id = org_id or connection.execute(_FIRST, {"person": person_id}).scalar_one_or_none()
    found = None if org_id is None else identity.by_person(connection, org_id, person_id, Way.SESSION)
    if found is None:
        raise NobodyHere("you have no active membership here; ask an administrator for one")
    return found


def _linked(connection: Connection, issuer: str, subject: str, email: str | None, name: str, *, makes: bool) -> UUID:
    """Return the person of a proved address, linked from now on. Raises `NobodyHere`."""
    if email is None:
        raise NobodyHere("nobody here is linked to this login, and the provider does not vouch for your address")
    person_id = connection.execute(_SAME_ADDRESS, {"email": email}).scalar_one_or_none()
    if person_id is None:
        if not makes:
            raise NobodyHere("nobody here has your address; ask an administrator to invite you")
        person_id = ensure_person(connection, email, name)
    values = {"issuer": issuer, "subject": subject, "person": person_id}
    if connection.execute(_LINK, values).scalar_one_or_none() is None:
        raise NobodyHere("your address belongs to somebody who signs in otherwise; ask an administrator")
    return UUID(str(person_id))
