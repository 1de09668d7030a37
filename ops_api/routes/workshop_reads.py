"""Tickets of the workshop for people: all of them, one with all that goes with it, and its steps (contract 002)."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from models.queries import repairs
from models.queries.repairs import Wanted
from ops_api.answers import Refusal
from ops_api.dependencies import SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.workshop_answers import (
    AskedPage,
    Envelope,
    RepairAnswer,
    RepairDetail,
    RepairName,
    RepairStatus,
    RepairStep,
    Results,
    Words,
)
from pipeline.core.repairs import ACTIONS, enveloped
from pipeline.runtime import order_rows, repair_rows, session_rows

_SOUGHT = "A code; or part of a serial number or title, of the newest 10,000 that the other filters leave."

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["workshop"])


def own_repair(repair_id: RepairName, session: SignedIn, connection: Transaction) -> UUID:
    """Return the id of the path's ticket when it is of the organization's workshop; 404 otherwise."""
    found = repair_rows.find(connection, session.org_id, repair_id)
    if found is None:
        raise Refusal(404, "your organization has no such ticket", code="WORK_ORDER_NOT_FOUND")
    return found


OwnRepair = Annotated[UUID, Depends(own_repair, scope="function")]


@router.get("/tickets/", response_model=Results[RepairAnswer])
def list_repairs(
    session: SignedIn,
    connection: Transaction,
    page: AskedPage,
    *,
    status: RepairStatus | None = None,
    technician: Annotated[UUID | None, Query(description="Who it was given to.")] = None,
    q: Annotated[Words | None, Query(description=_SOUGHT)] = None,
) -> dict[str, Any]:
    """List tickets with their thing, people, parts and open work session, newest first."""
    number = None if q is None else order_rows.number_of(q)
    wanted = Wanted(session.org_id, state=status, technician_id=technician, words=q, number=number)
    found = repairs.page(connection, wanted, **page.bounds)
    return page.of([repair_rows.described(row) for row in found], repairs.count(connection, wanted, **page.bounds))


@router.get("/tickets/{repair_id}/", response_model=Envelope[RepairDetail])
def show(order_id: OwnRepair, connection: Transaction) -> dict[str, Any]:
    """Return one ticket with all that goes with it, and how long it was worked on."""
    found = repair_rows.described(repairs.one(connection, order_id))
    return enveloped({**found, "active_seconds": session_rows.active_seconds(connection, order_id)})


@router.get("/tickets/{repair_id}/transitions/", response_model=Results[RepairStep])
def list_steps(order_id: OwnRepair, connection: Transaction, page: AskedPage) -> dict[str, Any]:
    """List the steps of a ticket, newest first; what happened in a work session stands in its own history."""
    found = repairs.steps(connection, order_id, ACTIONS, **page.bounds)
    total = repairs.count_steps(connection, order_id, ACTIONS, **page.bounds)
    return page.of([repair_rows.step(row) for row in found], total)
