"""Work orders of cases: made once, whoever sends somebody, and called off when nobody must go.

Locks go on in the house's order: what is called here comes after the case, then tickets, then work orders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row, text

from models.enums import DispatchState, NotificationKind, WorkOrderState
from models.work_lifecycle import OPEN
from pipeline.core.intakes import priority_of
from pipeline.core.order_following import PRIORITIES
from pipeline.core.orders import Order, code_of
from pipeline.runtime import mail_work, notifying, order_rows
from pipeline.runtime.automatic_moves import Made, Moved
from pipeline.runtime.jobs import Emit
from pipeline.runtime.mail_work import MailWork

#: Waits for a merge under way, and shows where it led.
_LOCK_TICKETS = text("""
    SELECT id, coalesce(merged_into, id) AS now_id FROM tickets
     WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR NO KEY UPDATE
""")
_INSERT = text(f"""
    INSERT INTO work_orders (org_id, case_id, ticket_id, team_id, due_at, choice, trace_id, title, priority, asset_id,
                             site_id)
    SELECT org, case_id, ticket, team, due_at, choice, trace, title, priority, asset,
           (SELECT k.site_id FROM tickets k WHERE k.id = ticket)
      FROM unnest(CAST(:orgs AS uuid[]), CAST(:cases AS uuid[]), CAST(:tickets AS uuid[]), CAST(:teams AS uuid[]),
                  CAST(:due_ats AS timestamptz[]), CAST(:choices AS jsonb[]), CAST(:traces AS text[]),
                  CAST(:titles AS text[]), CAST(:priorities AS text[]), CAST(:assets AS uuid[]))
        AS t(org, case_id, ticket, team, due_at, choice, trace, title, priority, asset)
        ON CONFLICT (case_id) WHERE {OPEN} DO NOTHING
    RETURNING id, number, org_id, case_id, ticket_id, trace_id
""")  # noqa: S608 - a constant
_READY = text("""
    WITH locked AS (
        SELECT id, dispatch_state FROM tickets
         WHERE id = ANY(CAST(:ids AS uuid[])) AND dispatch_state IN ('NEW', 'TRIAGED')
         ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE tickets SET dispatch_state = 'READY_TO_SCHEDULE', version = version + 1
      FROM locked WHERE tickets.id = locked.id
    RETURNING tickets.id, tickets.org_id, locked.dispatch_state AS before
""")
_READY_STATE = DispatchState.READY_TO_SCHEDULE.value
_EVENT = text("""
    INSERT INTO events (org_id, ticket_id, kind, actor, data, trace_id)
    VALUES (:org_id, :ticket_id, :kind, :actor, :data, :trace_id)
""")
#: Of both modes' cases of one trouble: which of them leads may have changed since.
_OPEN_OF = text(f"""
    SELECT w.id FROM work_orders w JOIN cases k ON k.id = w.case_id
     WHERE k.asset_id = :asset AND k.number = :number AND w.{OPEN} ORDER BY w.id FOR NO KEY UPDATE OF w
""")  # noqa: S608 - a constant
#: Nobody of ours is there yet; what went out to others may be under way, and nobody here knows.
_NOT_BEGUN = frozenset({WorkOrderState.CREATED, WorkOrderState.ASSIGNED, WorkOrderState.RETURNED})


@dataclass(frozen=True, slots=True)
class Wanted:
    """A work order that a case is to have."""

    org_id: UUID
    case_id: UUID
    #: Of its newest mail.
    ticket_id: UUID | None
    asset_id: UUID
    asset: str
    sla_hours: int
    team_id: UUID | None
    due_at: datetime
    #: Who was weighed, with what came of it.
    choice: Sequence[Mapping[str, Any]]
    trace_id: str | None
    #: Who sends.
    actor: str = "system"


@dataclass(frozen=True, slots=True)
class Begun:
    """What was made, and which tickets wait for a schedule now; `automatic_moves` records both."""

    made: Sequence[Made] = ()
    moved: Sequence[Moved] = ()


@dataclass(frozen=True, slots=True)
class Called:
    """What became of the orders of a trouble that was none: before and after, and whom to tell."""

    cancelled: Sequence[tuple[Order, Order]] = ()
    jobs: Sequence[Emit] = field(default_factory=tuple)


def begin(connection: Connection, wanted: Sequence[Wanted]) -> Begun:
    """Make one order for each case that has no open one; the cases are locked. A second is refused by the database."""
    if not wanted:
        return Begun()
    tickets = _locked_tickets(connection, {one.ticket_id for one in wanted})
    created = connection.execute(_INSERT, _columns(wanted, tickets)).all()
    if not created:
        return Begun()
    actors = {one.case_id: one.actor for one in wanted}
    connection.execute(_EVENT, [_made_event(row, actors[row.case_id]) for row in created])
    moved = _make_ready(connection, created, {one.case_id: one.sla_hours for one in wanted})
    return Begun([Made(row.org_id, row.id, row.ticket_id, row.case_id, row.trace_id) for row in created], moved)


def open_order(connection: Connection, asset_id: UUID, number: int) -> Order | None:
    """Lock and return the open order of an asset's trouble, if it has one."""
    found = _locked(connection, asset_id, number)
    return found[-1] if found else None


def call_off(
    connection: Connection, asset_id: UUID, number: int, *, actor: str, code: str, trace_id: str | None
) -> Called:
    """Cancel the orders of a trouble that was none, as far as they are not begun and follow no ticket.

    A ticket's are its dispatcher's to decide on: an event in it says so.
    """
    cancelled, jobs, events = [], [], []
    for order in _locked(connection, asset_id, number):
        if order.ticket_id is not None:
            events.append(_alarm_event(order, actor, code, trace_id))
        elif order.state in _NOT_BEGUN:
            after = order_rows.save(connection, order, {}, WorkOrderState.CANCELLED)
            cancelled.append((order, after))
            held = [] if order.assigned_to_id is None else [order.assigned_to_id]
            reference, reason = f"cancelled:{order.order_id}", "it was a false alarm"
            jobs += notifying.tell(connection, after, NotificationKind.CANCELLED, held, reference, reason=reason)
    if events:
        connection.execute(_EVENT, events)
    return Called(cancelled, jobs)


def _locked(connection: Connection, asset_id: UUID, number: int) -> list[Order]:
    ids = connection.execute(_OPEN_OF, {"asset": asset_id, "number": number}).scalars().all()
    # Read after it is locked, by a statement of its own: one would show it as it was before the wait.
    found = [order_rows.read(connection, order_id) for order_id in ids]
    return [order for order in found if order.closed_at is None]


def _columns(wanted: Sequence[Wanted], tickets: Mapping[UUID | None, UUID]) -> dict[str, Any]:
    return {
        "orgs": [one.org_id for one in wanted],
        "cases": [one.case_id for one in wanted],
        "tickets": [tickets.get(one.ticket_id) for one in wanted],
        "teams": [one.team_id for one in wanted],
        "due_ats": [one.due_at for one in wanted],
        "choices": [orjson.dumps(list(one.choice)).decode() for one in wanted],
        "traces": [one.trace_id for one in wanted],
        "titles": [one.asset for one in wanted],
        "priorities": [PRIORITIES[priority_of(one.sla_hours)].value for one in wanted],
        "assets": [one.asset_id for one in wanted],
    }


def _make_ready(connection: Connection, created: Sequence[Row[Any]], hours: Mapping[UUID, int]) -> list[Moved]:
    """Give the tickets of new work orders their field work, and let them wait for a schedule."""
    orders = [row for row in created if row.ticket_id is not None]
    mail_work.begin(
        connection,
        [MailWork(row.ticket_id, row.case_id, priority_of(hours[row.case_id]), row.trace_id) for row in orders],
    )
    traces = {row.ticket_id: row.trace_id for row in reversed(orders)}
    ready = connection.execute(_READY, {"ids": list(traces)})
    return [Moved(row.org_id, row.id, row.before, _READY_STATE, traces[row.id]) for row in ready]


def _locked_tickets(connection: Connection, wanted: set[UUID | None]) -> dict[UUID | None, UUID]:
    """Lock the tickets that work orders will hang on; one that was merged since leads to the ticket it is now."""
    places: dict[UUID | None, UUID] = {one: one for one in wanted if one is not None}
    while True:
        found = connection.execute(_LOCK_TICKETS, {"ids": list(places.values())})
        moved = {row.id: row.now_id for row in found if row.id != row.now_id}
        if not moved:
            return places
        places = {one: moved.get(place, place) for one, place in places.items()}


def _made_event(row: Row[Any], actor: str) -> dict[str, Any]:
    said = {"work_order_id": str(row.id), "code": code_of(row.number)}
    event = {"org_id": row.org_id, "ticket_id": row.ticket_id, "trace_id": row.trace_id}
    return {**event, "kind": "work_order.created", "actor": actor, "data": orjson.dumps(said).decode()}


def _alarm_event(order: Order, actor: str, code: str, trace_id: str | None) -> dict[str, Any]:
    said = {"case": code, "work_order_id": str(order.order_id), "code": order.code, "state": order.state.value}
    event = {"org_id": order.org_id, "ticket_id": order.ticket_id, "trace_id": trace_id or order.trace_id}
    return {**event, "kind": "case.false_alarm", "actor": actor, "data": orjson.dumps(said).decode()}
