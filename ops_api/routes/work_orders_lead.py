"""What leads do to work orders: make, assign, outsource, end and cancel them (contract 004, the notes)."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from ops_api.commands import Calling
from ops_api.guard import GuardedRoute
from ops_api.own_orders import OrderName
from ops_api.routes.work_orders import ClosedOrder
from pipeline.commands import work_orders_create, work_orders_lead
from pipeline.commands.work_order_arguments import Assignment, NewOrder, OutsourcedEnd, Outsourcing, Reasoned

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["work orders"])


class GivenOrder(BaseModel):
    """Who has an order now."""

    id: str
    code: str
    state: str
    version: int
    attempt: int = Field(description="Which giving to somebody this is; photos prove their own only.")
    assignedToId: str | None
    assignedAt: str | None
    outsourcedTo: str | None
    dueAt: str


class NewWorkOrder(GivenOrder):
    """An order as it was made."""

    gameZone: dict[str, Any]
    ride: dict[str, Any] | None
    sourceChecklist: dict[str, Any]
    aItem: dict[str, Any]
    title: str
    priority: str
    instructions: str | None
    sla: dict[str, Any]


@router.post("/work-orders", status_code=201, response_model=NewWorkOrder)
def create(call: Calling, asked: NewOrder) -> Response:
    """Make an order of what a checklist found; the checklist is HELD. 409 when the item has an open one."""
    answer = call.run(work_orders_create.CREATE, None, asked)
    answer.headers["Location"] = f"/api/v1/work-orders/{orjson.loads(answer.body)['id']}"
    return answer


@router.patch("/work-orders/{order_id}/assign", response_model=GivenOrder)
def assign(order_id: OrderName, call: Calling, asked: Assignment) -> Response:
    """Give the order to a technician; the one who had it is told, too."""
    return call.run(work_orders_lead.ASSIGN, order_id, asked)


@router.patch("/work-orders/{order_id}/outsource", response_model=GivenOrder)
def outsource(order_id: OrderName, call: Calling, asked: Outsourcing) -> Response:
    """Let a vendor do it."""
    return call.run(work_orders_lead.OUTSOURCE, order_id, asked)


@router.patch("/work-orders/{order_id}/complete-outsourced", response_model=ClosedOrder)
def complete_outsourced(order_id: OrderName, call: Calling, asked: OutsourcedEnd | None = None) -> Response:
    """Say that the vendor has done it."""
    return call.run(work_orders_lead.COMPLETE_OUTSOURCED, order_id, asked or OutsourcedEnd())


@router.patch("/work-orders/{order_id}/cancel", response_model=ClosedOrder)
def cancel(order_id: OrderName, call: Calling, asked: Reasoned | None = None) -> Response:
    """Give the order up. 422 `fields.reason` without a reason."""
    return call.run(work_orders_lead.CANCEL, order_id, asked or Reasoned())
