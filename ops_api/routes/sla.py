"""Service levels: policies, the clocks of a ticket, and how many stand how."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response

from models.queries import clocks as queries
from ops_api.answers import Refusal
from ops_api.dependencies import OwnTicket, SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.sla_answers import Overview, PolicyAnswer, PolicyAnswers, PolicyChange, PolicyRequest, TicketLevels
from ops_api.versions import Seen, etag
from pipeline.commands import sla_policies as commands
from pipeline.commands.calendars import Conflict
from pipeline.runtime import clock_reading, identity

router = APIRouter(route_class=GuardedRoute, tags=["sla"])

CONFLICTS: dict[int | str, dict[str, Any]] = {
    409: {"description": "A name that is taken, an object in use, or a version that is not the newest."}
}


@contextmanager
def conflicts() -> Iterator[None]:
    """Answer 409 where something that is there stands against it; what is wrong in itself is 422."""
    try:
        yield
    except Conflict as error:
        raise Refusal(409, str(error)) from error


@router.get("/sla/policies")
def list_policies(session: SignedIn, connection: Transaction) -> PolicyAnswers:
    """Return the policies in the order they are tried; a ticket that meets none has the default times."""
    found = queries.policies(connection, session.org_id)
    return PolicyAnswers(items=[PolicyAnswer.model_validate(one) for one in found])


@router.post("/sla/policies", status_code=201, responses=CONFLICTS)
def add_policy(asked: PolicyRequest, session: SignedIn, connection: Transaction, response: Response) -> PolicyAnswer:
    """Add a policy; the clocks of open tickets follow. 409 for a taken name, 422 says what is wrong."""
    with conflicts():
        made = commands.add_policy(connection, session.org_id, asked.columns())
    return _policy(connection, session.org_id, made, response)


@router.patch("/sla/policies/{policy_id}", responses=CONFLICTS)
def change_policy(
    *, policy_id: UUID, asked: PolicyChange, session: SignedIn, connection: Transaction, seen: Seen, response: Response
) -> PolicyAnswer:
    """Change what is named of a policy; clocks follow, and keep what they ran and stood still. 409 when it changed."""
    with conflicts():
        commands.change_policy(connection, session.org_id, policy_id, asked.columns(), version=seen)
    return _policy(connection, session.org_id, policy_id, response)


@router.delete("/sla/policies/{policy_id}", status_code=204, responses=CONFLICTS)
def delete_policy(policy_id: UUID, session: SignedIn, connection: Transaction, seen: Seen) -> None:
    """Delete a policy that has timed nothing; 409 for one that has: switch it off."""
    with conflicts():
        is_deleted = commands.delete_policy(connection, session.org_id, policy_id, version=seen)
    if not is_deleted:
        raise _no_policy()


@router.get("/sla/overview")
def overview(session: SignedIn, connection: Transaction) -> Overview:
    """Return how the clocks of open tickets within reach stand, by queue and priority."""
    counts, is_complete = queries.overview(connection, session.org_id, identity.ticket_reach(session))
    return Overview.of(counts, is_complete=is_complete)


@router.get("/tickets/{ticket_id}/sla")
def ticket_levels(ticket: OwnTicket, connection: Transaction) -> TicketLevels:
    """Return the clocks of a ticket, their ledger, the policy in force, and why it is that one."""
    return TicketLevels.of(ticket.ticket_id, clock_reading.explain(connection, ticket.ticket_id))


def _policy(connection: Transaction, org_id: UUID, policy_id: UUID, response: Response) -> PolicyAnswer:
    found = queries.policies(connection, org_id, policy_id)
    if not found:
        raise _no_policy()
    response.headers["ETag"] = etag(found[0].version)
    return PolicyAnswer.model_validate(found[0])


def _no_policy() -> Refusal:
    return Refusal(404, "your organization has no such policy")
