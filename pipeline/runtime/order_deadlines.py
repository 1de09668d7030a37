"""Deadlines of work orders: people are told once when one comes near and once when it has passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import NotificationKind, WorkOrderState
from models.work_lifecycle import AWAITED
from pipeline.core.orders import DUE_SOON as SOON
from pipeline.core.orders import Order
from pipeline.core.written import plain
from pipeline.runtime import ledger, notifying
from pipeline.runtime.ledger import Line
from pipeline.runtime.notifying import Saying
from pipeline.runtime.order_rows import COLUMNS, order_of

#: As metrics call them.
DUE_SOON, OVERDUE = "due_soon", "overdue"
#: Orders of a kind that one sweep tells of; the next one goes on.
SWEEP = 500
#: Somebody has it at hand; a returned order is nobody's until it is given again.
_AT_HAND = frozenset({WorkOrderState.ASSIGNED, WorkOrderState.IN_PROGRESS})

#: Skips what somebody has at hand: no sweep waits, and none tells twice. Its version stays: nothing that people read
#: of it has changed.
_MARK = """
    WITH due AS (
        SELECT id FROM work_orders
         WHERE {awaited} AND {mark} IS NULL AND due_at < now(){more}
         ORDER BY due_at LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
    ), marked AS (
        UPDATE work_orders w SET {sets} FROM due WHERE w.id = due.id RETURNING w.*
    )
    SELECT {columns} FROM marked w
"""
_OVERDUE = text(
    _MARK.format(
        awaited=AWAITED,
        columns=COLUMNS,
        mark="overdue_told_at",
        more="",
        sets="overdue_told_at = now(), due_soon_told_at = coalesce(w.due_soon_told_at, now())",
    )
)
#: Nobody is told that it will be late what is late already.
_DUE_SOON = text(
    _MARK.format(
        awaited=AWAITED,
        columns=COLUMNS,
        mark="due_soon_told_at",
        more=" + CAST(:soon AS interval) AND due_at >= now()",
        sets="due_soon_told_at = now()",
    )
)


@dataclass(frozen=True, slots=True)
class Notices:
    """How many orders were told of, by how much the latest of them came late, in seconds, and the lines with pushes."""

    told: int
    lag: float
    lines: frozenset[Line] = field(default_factory=frozenset)


def announce(connection: Connection, limit: int = SWEEP) -> Mapping[str, Notices]:
    """Tell of work orders that are overdue, and of those that will be soon; each once, however many do this.

    Whoever has it at hand is told once for each deadline and giving, those who lead it once for each deadline: of what
    is overdue, and of what will be with nobody at it. Their pushes are put in the same transaction.
    """
    late = [order_of(row) for row in connection.execute(_OVERDUE, {"limit": limit})]
    near = [order_of(row) for row in connection.execute(_DUE_SOON, {"limit": limit, "soon": SOON})]
    leads = _leads(connection, [*late, *(one for one in near if _holder(one) is None)])
    return {
        OVERDUE: _told(connection, late, NotificationKind.OVERDUE, leads),
        DUE_SOON: _told(connection, near, NotificationKind.DUE_SOON, leads),
    }


def _leads(connection: Connection, orders: Sequence[Order]) -> Mapping[UUID, Sequence[UUID]]:
    return notifying.leads_of_all(connection, [one.order_id for one in orders]) if orders else {}


def _holder(order: Order) -> UUID | None:
    return order.assigned_to_id if order.state in _AT_HAND else None


def _told(
    connection: Connection, orders: Sequence[Order], kind: NotificationKind, leads: Mapping[UUID, Sequence[UUID]]
) -> Notices:
    sayings = [saying for one in orders for saying in _sayings(one, kind, leads.get(one.order_id, ()))]
    pushes = notifying.tell_all(connection, sayings)
    lines = ledger.put(connection, pushes) if pushes else ()
    return Notices(len(orders), max((_lag(one, kind) for one in orders), default=0.0), frozenset(lines))


def _sayings(order: Order, kind: NotificationKind, leads: Sequence[UUID]) -> list[Saying]:
    holder = _holder(order)
    what = f"{kind.name.lower()}:{order.order_id}:{plain(order.due_at)}"
    others = [one for one in leads if one != holder] if holder is None or kind is NotificationKind.OVERDUE else []
    own = [] if holder is None else [Saying(order, kind, [holder], f"{what}:{order.attempt}")]
    return own + ([Saying(order, kind, others, what)] if others else [])


def _lag(order: Order, kind: NotificationKind) -> float:
    """Return how long it could have been told before; not of the time before it was there or given to somebody."""
    assert order.due_at is not None
    fell_at = order.due_at if kind is NotificationKind.OVERDUE else order.due_at - SOON
    since = max(fell_at, order.created_at, order.assigned_at or order.created_at)
    return max((order.now - since).total_seconds(), 0.0)
