"""What a technician does to their own work orders (contract 004, transitions)."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from ops_api.commands import Calling
from ops_api.guard import GuardedRoute
from ops_api.own_orders import OrderName
from pipeline.commands import work_orders
from pipeline.commands.work_order_arguments import Finish, Nothing, Reasoned

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["work orders"])


class StartedOrder(BaseModel):
    """An order whose work has begun."""

    state: str
    startedAt: str
    version: int = Field(description="Now; send it as If-Match with the next change.")


class ReturnedOrder(BaseModel):
    """An order that was given back."""

    state: str
    version: int


class ClosedOrder(BaseModel):
    """An order that is over."""

    state: str
    closedAt: str
    version: int
    parentReleased: bool = Field(description="True for the one end that released the held checklist.")


@router.patch("/work-orders/{order_id}/start", response_model=StartedOrder)
def start(order_id: OrderName, call: Calling, asked: Nothing | None = None) -> Response:
    """Begin the work."""
    return call.run(work_orders.START, order_id, asked or Nothing())


@router.patch("/work-orders/{order_id}/done", response_model=ClosedOrder)
def done(order_id: OrderName, call: Calling, asked: Finish | None = None) -> Response:
    """Say that the work is done. 422 `fields.fixPhoto` without a photo of this attempt."""
    return call.run(work_orders.DONE, order_id, asked or Finish())


@router.patch("/work-orders/{order_id}/return", response_model=ReturnedOrder)
def give_back(order_id: OrderName, call: Calling, asked: Reasoned | None = None) -> Response:
    """Give the order back to who leads. 422 `fields.reason` without a reason."""
    return call.run(work_orders.RETURN, order_id, asked or Reasoned())
