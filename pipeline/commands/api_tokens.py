"""Making tokens for cron and scripts: nobody makes one that may more than they themselves."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection

from pipeline.commands.granting import Conflict, Grantor, find_role
from pipeline.core.principals import Way
from pipeline.runtime import api_tokens, identity
from pipeline.runtime.api_tokens import Issued
from pipeline.runtime.errors import UserError

#: Days that a token may be good for.
SHORTEST, LONGEST = 1, 366


def issue(
    connection: Connection, org_id: UUID, by: Grantor, person_id: UUID, *, name: str, role: str, days: int
) -> Issued:
    """Make a token that acts for a person in a role.

    What it may is looked up whenever it is used: what the role has and the person has, too. Raises `UserError` for an
    unknown role, for days out of bounds and for who is no member, `Conflict` for a name in use, and `NotGranted` for a
    role that has more than whoever makes it.
    """
    if not SHORTEST <= days <= LONGEST:
        raise UserError(f"a token is good for {SHORTEST} to {LONGEST} days")
    held = identity.by_person(connection, org_id, person_id, Way.API_TOKEN)
    if held is None:
        raise UserError("a token acts for a person who is an active member of the organization")
    found = find_role(connection, org_id, role)
    by.check(found.permissions, f"the role {found.code}")
    Grantor(held.permissions).check(found.permissions, f"for {held.email} the role {found.code}")
    issued = api_tokens.add(connection, org_id, person_id, found.role_id, name=name, valid=timedelta(days=days))
    if issued is None:
        raise Conflict(f"there is a token {name!r} already; revoke it, or name this one otherwise")
    return issued
