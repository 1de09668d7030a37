"""People for tests: members of an organization by the code of a role, and the sessions that they are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Reach
from ops_api.sessions import CSRF_COOKIE, CSRF_HEADER, SESSION_COOKIE, CsrfTokens
from pipeline.commands.people import ensure_membership, ensure_person
from pipeline.runtime import sessions
from pipeline.runtime.secrets import Secrets

_ROLE = text("""
    UPDATE memberships SET role_id = (SELECT id FROM roles WHERE code = :role AND (org_id IS NULL OR org_id = :org)
                                       ORDER BY org_id NULLS LAST LIMIT 1)
     WHERE org_id = :org AND person_id = :person
""")
_REACH = text("""
    UPDATE memberships SET reach = :reach, team_id = :team WHERE org_id = :org AND person_id = :person RETURNING id
""")
_PLACES = text("""
    INSERT INTO membership_scopes (org_id, membership_id, account_id, site_id)
    SELECT :org, :membership, a, s
      FROM unnest(CAST(:accounts AS uuid[]), CAST(:sites AS uuid[])) AS places(a, s)
""")


_ACCOUNT = text("INSERT INTO accounts (org_id, name) VALUES (:org, :name) RETURNING id")
_SITE = text("INSERT INTO sites (org_id, account_id, name) VALUES (:org, :account, :name) RETURNING id")
_QUEUE = text("INSERT INTO queues (org_id, slug, name) VALUES (:org, :name, :name) RETURNING id")
_JOIN = text("INSERT INTO queue_memberships (org_id, queue_id, person_id) VALUES (:org, :queue, :person)")
_TEAM = text("INSERT INTO teams (org_id, name) VALUES (:org, :name) RETURNING id")
_PUT = text("""
    UPDATE tickets SET account_id = :account, site_id = :site, queue_id = :queue, assignee_user_id = :assignee
     WHERE id = :ticket
""")


@dataclass(frozen=True, slots=True)
class SignedUp:
    """What a client sends for a session, and whose it is."""

    person_id: UUID
    session_id: UUID
    cookies: dict[str, str]
    headers: dict[str, str]


def member(connection: Connection, org_id: UUID, role: str = "admin", email: str | None = None) -> UUID:
    """Return a person who is a member in a role; one who is there already is given that role."""
    person_id = ensure_person(connection, email or default_email(role))
    if not ensure_membership(connection, org_id, person_id, role):
        connection.execute(_ROLE, {"org": org_id, "person": person_id, "role": role})
    return person_id


def narrow(
    connection: Connection,
    org_id: UUID,
    person_id: UUID,
    reach: Reach,
    *,
    accounts: tuple[UUID, ...] = (),
    sites: tuple[UUID, ...] = (),
    team_id: UUID | None = None,
) -> None:
    """Let a membership reach only so far."""
    values: dict[str, Any] = {"org": org_id, "person": person_id, "reach": reach.value, "team": team_id}
    membership_id = connection.execute(_REACH, values).scalar_one()
    places = [*((account, None) for account in accounts), *((None, site) for site in sites)]
    values = {"accounts": [place[0] for place in places], "sites": [place[1] for place in places]}
    connection.execute(_PLACES, {"org": org_id, "membership": membership_id, **values})


def give(connection: Connection, org_id: UUID, ticket_id: UUID, person_id: UUID, reach: Reach) -> None:
    """Let a membership reach only as far as places, a queue or assignments that this ticket alone has."""
    values: dict[str, Any] = {"org": org_id, "ticket": ticket_id, "person": person_id, "name": str(ticket_id)}
    account_id = connection.execute(_ACCOUNT, values).scalar_one()
    site_id = connection.execute(_SITE, values | {"account": account_id}).scalar_one()
    values |= {"account": account_id, "site": site_id, "queue": None, "assignee": None}
    team_id = None
    if reach is Reach.TEAM:
        values["queue"] = connection.execute(_QUEUE, values).scalar_one()
        connection.execute(_JOIN, values)
        team_id = connection.execute(_TEAM, values).scalar_one()
    if reach is Reach.OWN:
        values["assignee"] = person_id
    connection.execute(_PUT, values)
    accounts = (account_id,) if reach is Reach.ACCOUNT else ()
    sites = (site_id,) if reach is Reach.SITE else ()
    narrow(connection, org_id, person_id, reach, accounts=accounts, sites=sites, team_id=team_id)


def sign_in(connection: Connection, secrets: Secrets, org_id: UUID, person_id: UUID) -> SignedUp:
    """Begin a session on plain HTTP of this machine."""
    begun = sessions.begin(connection, org_id, person_id)
    token = CsrfTokens(secrets).make(begun.session_id)
    cookies = {SESSION_COOKIE: begun.token, CSRF_COOKIE: token}
    return SignedUp(person_id, begun.session_id, cookies, {CSRF_HEADER: token})


def default_email(role: str) -> str:
    """Return who has a role when nobody is named."""
    return "ann@example.org" if role == "admin" else f"{role}@example.org"
