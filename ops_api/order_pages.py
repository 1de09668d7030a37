"""Pages of work orders of the field: what an address asks for, and the cursor that goes on (contract 004)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from models.enums import WorkOrderState
from models.queries import my_work, work_order_list, work_orders
from models.queries.work_order_list import OPEN_STATES, Place, Wanted
from ops_api.answers import Refusal
from ops_api.cursors import Cursors
from ops_api.work_order_answers import Orders, order_answers
from pipeline.core.orders import DUE_SOON
from pipeline.core.principals import Principal
from pipeline.runtime import order_rows


class MyFilter(StrEnum):
    """What a technician lists of their own; the last two are filters, and no states (contract 004)."""

    ASSIGNED = "assigned"
    IN_PROGRESS = "in_progress"
    RETURNED = "returned"
    DONE = "done"
    OVERDUE = "overdue"
    DUE_SOON = "due_soon"


class OrderFilter(StrEnum):
    """What a lead lists."""

    CREATED = "created"
    ASSIGNED = "assigned"
    IN_PROGRESS = "in_progress"
    RETURNED = "returned"
    OUTSOURCED = "outsourced"
    DONE = "done"
    CANCELLED = "cancelled"
    OVERDUE = "overdue"
    DUE_SOON = "due_soon"


def person_of(session: Principal) -> UUID:
    """Return who asks as a person. Raises `Refusal` (403) for a token's subject that is nobody we know."""
    if session.person_id is None:
        raise Refusal(403, "this is a person's own work; this token is nobody's that we know")
    return session.person_id


def my_wish(session: Principal, asked: MyFilter | None) -> Wanted:
    """Return what is asked for of who asks; without a filter all that is still to be done."""
    return wish(asked, my_work.MINE, technician_id=person_of(session))


def wish(asked: StrEnum | None, otherwise: tuple[WorkOrderState, ...] = OPEN_STATES, **more: Any) -> Wanted:
    """Return what a filter of an address means; without one, or one that is no state, those of `otherwise`."""
    if asked == MyFilter.OVERDUE:
        return Wanted(otherwise, **{**more, "is_overdue": True})
    if asked == MyFilter.DUE_SOON:
        return Wanted(otherwise, due_within=DUE_SOON, **more)
    return Wanted(otherwise if asked is None else (WorkOrderState(asked.value),), **more)


def page(
    connection: Connection,
    session: Principal,
    cursors: Cursors,
    wanted: Wanted,
    filters: Mapping[str, object],
    *,
    limit: int,
    cursor: str | None,
) -> Orders:
    """Return a page of what is asked for, within the reach of who asks. Raises `Refusal` (422) for a strange cursor."""
    bound = {"org": session.org_id, "who": session.actor_id, **filters}
    place = cursors.read_place(cursor, bound)
    after = None if place is None else Place(datetime.fromisoformat(place["at"]), UUID(place["id"]))
    found = work_order_list.find(
        connection,
        session.org_id,
        wanted,
        order_rows.reach(session),
        limit=limit,
        after=after,
        within=_places(connection, session),
    )
    last = found.last and {"at": found.last.due_at.isoformat(), "id": str(found.last.order_id)}
    return Orders(
        workOrders=order_answers(work_orders.shown(connection, found.ids)),
        nextCursor=cursors.make_place(last, bound) if last else None,
    )


def _places(connection: Connection, session: Principal) -> list[UUID] | None:
    """Return the sites that who asks is narrowed to, where these are few."""
    scope = session.scope
    if scope.site_ids is not None:
        return sorted(scope.site_ids)
    if scope.account_ids is not None:
        return work_order_list.places_of(connection, session.org_id, scope.account_ids)
    return None
