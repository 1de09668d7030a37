"""A technician's day: what is theirs to do, at a glance and as a list (contract 004)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from models.queries import my_work, work_order_list, work_orders
from ops_api.dependencies import Provided, SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.order_pages import MyFilter, my_wish, page, person_of
from ops_api.work_order_answers import Dashboard, Orders, dashboard_answer
from pipeline.core.orders import DUE_SOON
from pipeline.runtime import order_rows

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["technician"])

Cursor = Annotated[str | None, Query(max_length=1024)]
Limit = Annotated[int, Query(ge=1, le=100)]
#: Orders that a dashboard shows.
_PREVIEW = 5


@router.get("/me/dashboard")
def my_dashboard(session: SignedIn, connection: Transaction) -> Dashboard:
    """Return how many work orders of who asks stand how, and the five that are most urgent."""
    reached, wanted = order_rows.reach(session), my_wish(session, None)
    counts = my_work.counts(connection, session.org_id, person_of(session), reached, soon=DUE_SOON)
    found = work_order_list.find(connection, session.org_id, wanted, reached, limit=_PREVIEW)
    return dashboard_answer(counts, work_orders.shown(connection, found.ids))


@router.get("/me/work-orders")
def my_work_orders(
    *,
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    state: Annotated[MyFilter | None, Query(description="Without it, all that is not over.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Orders:
    """Return work orders that are assigned to who asks, those due first; of those done, the latest due first."""
    filters = {"list": "my-work-orders", "state": state}
    return page(connection, session, services.cursors, my_wish(session, state), filters, limit=limit, cursor=cursor)
