"""Holds whose time is over: ended for many tickets at once, with all that a command would write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from models.enums import ActorKind, DispatchState, HoldState, TransitionKind
from models.lifecycle import HOLD_LAPSED
from pipeline.runtime import auditing, schedule_rows, visit_rows
from pipeline.runtime.auditing import Entry
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
_TRANSITIONS = ("org_id", "ticket_id", "kind", "from_state", "to_state", "command", "audit_number")


@dataclass(frozen=True, slots=True)
class Lapsed:
    """What became of holds: those that are not over yet, and who is to be told that a visit fell away."""

    early: Sequence[Lapsing]
    invitations: Sequence[Emit]


def lapse(connection: Connection, hold_ids: Sequence[UUID]) -> Lapsed:
    """End those of these holds that are open and over. Locks their tickets, and last their audit trails."""
    found = schedule_rows.lock_lapsing(connection, hold_ids)
    held = [one for one in found if one.state is DispatchState.PENDING_CUSTOMER_CONFIRMATION]
    over = [one for one in held if one.is_over]
    off = _end(connection, over) if over else {}
    traces = {one.ticket_id: one.trace_id for one in over}
    told = [visit_rows.invitation(visit, traces[ticket_id]) for ticket_id, visit in off.items()]
    return Lapsed([one for one in held if not one.is_over], told)


def _end(connection: Connection, over: Sequence[Lapsing]) -> dict[UUID, Visit]:
    tickets = [one.ticket_id for one in over]
    schedule_rows.end_holds(connection, [one.hold.hold_id for one in over], HoldState.LAPSED, _BECAUSE)
    schedule_rows.take_back(connection, *tickets)
    off = {visit.ticket_id: visit for visit in visit_rows.call_off(connection, *tickets)}
    connection.execute(_MOVE, {"tickets": tickets, "state": _AFTER.value})
    connection.execute(_CLEAR, {"tickets": tickets})
    copy_rows(connection, "events", _EVENTS, [_event(one, off) for one in over])
    _record(connection, over, off)
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


def _record(connection: Connection, over: Sequence[Lapsing], off: dict[UUID, Visit]) -> None:
    """Append audit rows and transitions, organization by organization: their trails are locked in one order."""
    rows: list[tuple[Any, ...]] = []
    by_org = sorted(over, key=attrgetter("org_id", "ticket_id"))
    for org_id, some in groupby(by_org, key=attrgetter("org_id")):
        lapsed = list(some)
        numbers = auditing.append_all(connection, org_id, [_entry(one, off) for one in lapsed])
        rows += [
            (org_id, one.ticket_id, TransitionKind.DISPATCH.value, one.state.value, _AFTER.value, HOLD_LAPSED, number)
            for one, number in zip(lapsed, numbers, strict=True)
        ]
    copy_rows(connection, "transitions", _TRANSITIONS, rows)


def _entry(one: Lapsing, off: dict[UUID, Visit]) -> Entry:
    return Entry(
        org_id=one.org_id,
        action=HOLD_LAPSED,
        actor_id=_BY,
        actor_kind=ActorKind.SYSTEM,
        target_kind="ticket",
        target_id=str(one.ticket_id),
        trace_id=one.trace_id,
        details=_details(one, off),
    )
