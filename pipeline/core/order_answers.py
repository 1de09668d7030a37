"""What a work order of the field is answered with (contract 004): states in capitals, times in UTC with a Z."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.enums import WorkOrderState
from pipeline.core.orders import Order, sla
from pipeline.core.written import plain


def state_word(state: WorkOrderState | str) -> str:
    """Return a state as contract 004 says it: `IN_PROGRESS`."""
    return str(state).upper()


def sla_of(order: Order) -> dict[str, Any]:
    """Return `sla` of a list: `{dueAt, ageHrs, overdue}`."""
    found = sla(order)
    return found | {"dueAt": plain(found["dueAt"])}


def started(order: Order) -> dict[str, Any]:
    """Return what a start is answered with, literally."""
    return {"state": state_word(order.state), "startedAt": plain(order.started_at), "version": order.version}


def closed(order: Order) -> dict[str, Any]:
    """Return what an end is answered with, but for `parentReleased`."""
    return {"state": state_word(order.state), "closedAt": plain(order.closed_at), "version": order.version}


def returned(order: Order) -> dict[str, Any]:
    """Return what a return is answered with, literally."""
    return {"state": state_word(order.state), "version": order.version}


def given(order: Order) -> dict[str, Any]:
    """Return what leads are answered with who give an order to somebody."""
    return {
        "id": str(order.order_id),
        "code": order.code,
        "state": state_word(order.state),
        "version": order.version,
        "attempt": order.attempt,
        "assignedToId": plain(order.assigned_to_id),
        "assignedAt": plain(order.assigned_at),
        "outsourcedTo": order.outsourced_to,
        "dueAt": plain(order.due_at),
    }


def made(order: Order, around: Mapping[str, Any]) -> dict[str, Any]:
    """Return a new order; `around` are `gameZone`, `ride`, `sourceChecklist` and `aItem`."""
    return {
        **given(order),
        **around,
        "title": order.title,
        "priority": order.priority.value,
        "instructions": order.instructions,
        "sla": sla_of(order),
    }
