"""Holds whose time is over: ended for many tickets at once, with all that a command would write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from models.enums import DispatchState, HoldState
from models.lifecycle import HOLD_LAPSED
from pipeline.runtime import automatic_moves, schedule_rows, visit_rows
from pipeline.runtime.automatic_moves import Moved
from pipeline.runtime.db import copy_rows
from pipeline.runtime.jobs import Emit
from pipeline.runtime.schedule_rows import Lapsing
from pipeline.runtime.visit_rows import Visit

_BY = "system"
_BECAUSE = "nobody confirmed in time"
#: Where an unconfirmed schedule leads.
_AFTER = DispatchState.READY_TO_SCHEDULE
_MOVE = text("""
    UPDATE tickets SET dispatch_state = :state, version = version + 1,
                       last_activity_at = greatest(last_activity_at, now())
     WHERE id = ANY(CAST(:tickets AS uuid[]))
""")
_CLEAR = text("""
    UPDATE dispatches SET scheduled_start = NULL, scheduled_end = NULL, updated_at = now()
     WHERE ticket_id = ANY(CAST(:tickets AS uuid[]))
""")
_EVENTS = ("org_id", "ticket_id", "kind", "actor", "data", "trace_id")


def held(connection: Connection, hold_ids: Sequence[UUID]) -> list[Lapsing]:
    """Lock the tickets of those of these holds that are open; return these as they stand then, over or not."""
    found = schedule_rows.lock_lapsing(connection, hold_ids)
    return [one for one in found if one.state is DispatchState.PENDING_CUSTOMER_CONFIRMATION]


def end(connection: Connection, over: Sequence[Lapsing]) -> list[Emit]:
    """End holds whose tickets are locked; return whom to tell of visits that fell away. Locks audit trails last."""
    if not over:
        return []
    off = _end(connection, over)
    traces = {one.ticket_id: one.trace_id for one in over}
    return [visit_rows.invitation(visit, traces[ticket_id]) for ticket_id, visit in off.items()]


def _end(connection: Connection, over: Sequence[Lapsing]) -> dict[UUID, Visit]:
    tickets = [one.ticket_id for one in over]
    schedule_rows.end_holds(connection, [one.hold.hold_id for one in over], HoldState.LAPSED, _BECAUSE)
    schedule_rows.take_back(connection, *tickets)
    off = {visit.ticket_id: visit for visit in visit_rows.call_off(connection, *tickets)}
    connection.execute(_MOVE, {"tickets": tickets, "state": _AFTER.value})
    connection.execute(_CLEAR, {"tickets": tickets})
    copy_rows(connection, "events", _EVENTS, [_event(one, off) for one in over])
    after = _AFTER.value
    moved = [Moved(one.org_id, one.ticket_id, one.state.value, after, one.trace_id, _details(one, off)) for one in over]
    automatic_moves.record(connection, moved, HOLD_LAPSED)
    return off


def _event(one: Lapsing, off: dict[UUID, Visit]) -> tuple[Any, ...]:
    said = {**_details(one, off), "from": one.state.value, "to": _AFTER.value}
    data = orjson.dumps(said, default=str).decode()
    return (one.org_id, one.ticket_id, HOLD_LAPSED, _BY, data, one.trace_id)


def _details(one: Lapsing, off: dict[UUID, Visit]) -> dict[str, Any]:
    visit = off.get(one.ticket_id)
    return {
        "hold_id": one.hold.hold_id,
        "reason": _BECAUSE,
        "ends_at": one.hold.window.ends_at,
        "visit_id": visit.visit_id if visit else None,
    }
