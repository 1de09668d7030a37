"""The ticket that an address of contract 000 names: refused in that contract's words."""

from __future__ import annotations

import re
from typing import Annotated
from uuid import UUID

from fastapi import Depends
from sqlalchemy import Connection

from models.queries import conversations
from models.queries.conversations import Head
from ops_api.answers import Refusal
from ops_api.dependencies import Provided, SignedIn, TicketName, Transaction
from pipeline.core.principals import Principal
from pipeline.runtime import identity

_CODE = re.compile(r"tkt-[a-z2-7]{16}", re.ASCII | re.IGNORECASE)


def find(connection: Connection, principal: Principal, name: str) -> Head:
    """Return a ticket by id or code. Refuses with 400 INVALID_TICKET_ID, or 404 TICKET_NOT_FOUND out of reach."""
    if not _CODE.fullmatch(name.strip()) and not _is_uuid(name):
        raise Refusal(400, "a ticket is named by its id, a UUID, or by its code", code="INVALID_TICKET_ID")
    found = conversations.find_head(connection, name, principal.org_id, identity.ticket_reach(principal))
    if found is None:
        raise Refusal(404, "your organization has no such ticket", code="TICKET_NOT_FOUND")
    return found


def named(ticket_id: TicketName, session: SignedIn, connection: Transaction) -> Head:
    """Return the ticket of the path, in the request's transaction."""
    return find(connection, session, ticket_id)


def reached(ticket_id: TicketName, session: SignedIn, services: Provided) -> Head:
    """Return the ticket of the path; no transaction is open afterwards."""
    with services.begin(session) as connection:
        return find(connection, session, ticket_id)


NamedTicket = Annotated[Head, Depends(named, scope="function")]
ReachedTicket = Annotated[Head, Depends(reached, scope="function")]


def _is_uuid(said: str) -> bool:
    try:
        UUID(said)
    except ValueError:
        return False
    return True
