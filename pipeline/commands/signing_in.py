"""Sessions that begin: by the login of development, and in another organization of the same person."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from models import row_security
from pipeline.commands.mailboxes import ensure_organization
from pipeline.commands.people import ensure_membership, ensure_person
from pipeline.core.principals import Principal, Way
from pipeline.runtime import auditing, identity, sessions
from pipeline.runtime.errors import UserError
from pipeline.runtime.sessions import Begun

#: What the audit trail calls them.
SWITCHED, BEGUN = "session.switch", "session.begin"


def dev_login(
    connection: Connection, email: str, organization_name: str, instead_of: UUID | None = None
) -> tuple[Begun, Principal]:
    """Begin a session without any proof: organization, person and a membership as admin are made where missing.

    Raises `UserError` for somebody who was disabled, or whose membership was revoked.
    """
    org_id = ensure_organization(connection, organization_name)
    person_id = ensure_person(connection, email)
    ensure_membership(connection, org_id, person_id, "admin")
    return _begun(connection, org_id, person_id, instead_of)


def switch(
    connection: Connection, principal: Principal, org_id: UUID, origin: Mapping[str, str | None]
) -> tuple[Begun, Principal]:
    """End the principal's session and begin one in another organization, which ends when the first would have.

    The trails of both tell it; `origin` is what they note. Raises `UserError` for who is no member.
    """
    assert principal.person_id is not None
    # The other organization lies beyond the barrier; the query itself asks whether they belong to it.
    with row_security.unbarred(connection):
        begun, there = _begun(connection, org_id, principal.person_id, principal.session_id, principal.expires_at)
        rows = (auditing.by(principal, SWITCHED, **origin), auditing.by(there, BEGUN, **origin))
        # In one order, so that two who change places do not wait for each other.
        for row in sorted(rows, key=lambda one: one.org_id):
            auditing.append(connection, row)
        return begun, there


def _begun(
    connection: Connection, org_id: UUID, person_id: UUID, instead_of: UUID | None, until: datetime | None = None
) -> tuple[Begun, Principal]:
    if identity.by_person(connection, org_id, person_id, Way.SESSION) is None:
        raise UserError("you are not, or no longer, a member of this organization")
    begun = sessions.begin(connection, org_id, person_id, instead_of=instead_of, until=until)
    principal = identity.by_session(connection, begun.token)
    assert principal is not None
    return begun, principal
