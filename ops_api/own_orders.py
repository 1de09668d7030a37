"""The work order or checklist that an address names, within the reach of who asks (contract 004)."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Path
from sqlalchemy import Row

from models.queries import work_orders
from ops_api.answers import Refusal
from ops_api.dependencies import SignedIn, Transaction
from pipeline.commands.orders import MISSING, NOT_YOURS
from pipeline.core.refusing import Because
from pipeline.core.refusing import Refusal as Said
from pipeline.core.written import read_id
from pipeline.runtime import order_rows

OrderName = Annotated[str, Path(max_length=64, description="The id or the code of a work order.")]
_STATUS = {Because.MISSING: 404, Because.FORBIDDEN: 403}
_NO_CHECKLIST = Said("CHECKLIST_NOT_FOUND", "your organization has no such checklist", Because.MISSING)
_NOT_YOUR_CHECKLIST = Said(
    "FORBIDDEN", "this checklist is not of your zone, or asked you for nothing", Because.FORBIDDEN
)


def own_order(order_id: OrderName, session: SignedIn, connection: Transaction) -> Row[Any]:
    """Return the order of the path with what belongs to it; 404 when there is none, 403 when it is not theirs."""
    name = read_id(order_id) or order_rows.number_of(order_id)
    found = None if name is None else work_orders.one(connection, session.org_id, name, order_rows.reach(session))
    if found is None:
        raise _refusal(MISSING)
    if not found.is_reached:
        raise _refusal(NOT_YOURS)
    return found


def own_checklist(checklist_id: UUID, session: SignedIn, connection: Transaction) -> tuple[Row[Any], list[UUID]]:
    """Return the checklist of the path, and which of its orders are seen; refused as an order is.

    Who does not see all orders of a place sees the checklists of those that they see.
    """
    found = work_orders.checklist(connection, session.org_id, checklist_id, order_rows.place_reach(session, alias="c"))
    if found is None:
        raise _refusal(_NO_CHECKLIST)
    reached = order_rows.reach(session)
    ids = work_orders.of_checklist(connection, session.org_id, checklist_id, reached)
    sees_all = reached == order_rows.place_reach(session, alias="w")
    if not found.is_reached or not (ids or sees_all):
        raise _refusal(_NOT_YOUR_CHECKLIST)
    return found, ids


def _refusal(said: Said) -> Refusal:
    return Refusal(_STATUS[said.because], said.said, code=said.code)


NamedOrder = Annotated[Row[Any], Depends(own_order, scope="function")]
NamedChecklist = Annotated[tuple[Row[Any], list[UUID]], Depends(own_checklist, scope="function")]
