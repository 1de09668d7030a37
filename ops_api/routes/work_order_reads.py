"""Work orders of the field, reading: one whole, its steps, lists for leads, and checklists (contract 004)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from models.queries import work_orders
from ops_api.dependencies import Provided, SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.order_pages import OrderFilter, page, wish
from ops_api.own_orders import NamedChecklist, NamedOrder
from ops_api.versions import etag
from ops_api.work_order_answers import (
    MOST_STEPS,
    ChecklistAnswer,
    Orders,
    OrderTimeline,
    WholeOrder,
    checklist_answer,
    step_answers,
    whole_order,
)
from pipeline.runtime import order_rows, photo_rows

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["work orders"])

Cursor = Annotated[str | None, Query(max_length=1024)]
Limit = Annotated[int, Query(ge=1, le=100)]


class OrderQuery(BaseModel):
    """How a list of orders may be narrowed; what is not named narrows nothing."""

    state: OrderFilter | None = Field(default=None, description="Without it, all that is not over.")
    gameZoneId: UUID | None = None
    technicianId: UUID | None = None
    overdue: bool = Field(default=False, description="Late, and not over.")
    q: str | None = Field(
        default=None,
        min_length=2,
        max_length=200,
        description="A code like wo_007; or words of the title, the failed item or the ride, in any case.",
    )


@router.get("/work-orders")
def list_orders(
    *,
    asked: Annotated[OrderQuery, Query()],
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Orders:
    """Return work orders, those due first; of those over, the latest due first. Follow `nextCursor` until it is null.

    Who works sees their own, who takes back what went out sees that alone.
    """
    wanted = wish(
        asked.state,
        technician_id=asked.technicianId or (session.person_id if order_rows.sees_own_only(session) else None),
        site_id=asked.gameZoneId,
        is_overdue=asked.overdue,
        is_outsourced=order_rows.sees_outsourced_only(session),
        words=asked.q,
    )
    filters = {"list": "work-orders", **asked.model_dump()}
    return page(connection, session, services.cursors, wanted, filters, limit=limit, cursor=cursor)


@router.get("/work-orders/{order_id}")
def show_order(order: NamedOrder, connection: Transaction, request: Request, response: Response) -> WholeOrder:
    """Return a work order with its photos, its returns and its newest steps; 403 when it is not theirs to see."""
    photos = photo_rows.of_orders(connection, [order.id])
    steps = work_orders.steps(connection, order.id, limit=MOST_STEPS + 1)
    returns = work_orders.returns(connection, order.id) if order.return_reason is not None else ()
    response.headers["ETag"] = etag(order.version)
    return whole_order(request, order, photos, steps, returns)


@router.get("/work-orders/{order_id}/timeline")
def show_steps(
    order: NamedOrder, connection: Transaction, services: Provided, limit: Limit = 100, cursor: Cursor = None
) -> OrderTimeline:
    """Return the steps of a work order, the oldest first; the newest of them without a cursor."""
    filters = {"list": "work-order-timeline", "order": order.id}
    before = services.cursors.read(cursor, filters)
    found = work_orders.steps(connection, order.id, limit=limit + 1, before=before)
    more = services.cursors.make(found[limit - 1].id, filters) if len(found) > limit else None
    return OrderTimeline(items=step_answers(found[:limit]), nextCursor=more)


@router.get("/checklists/{checklist_id}")
def show_checklist(named: NamedChecklist, connection: Transaction) -> ChecklistAnswer:
    """Return a checklist that failed: whether it holds its ride, and the work orders that it asked for."""
    found, ids = named
    return checklist_answer(found, work_orders.shown(connection, ids))
