"""Work sessions in the database: locked with all that decides on them, moved on by events, and timed by jobs.

Events are appended after the session's order and the session itself are locked, at the database's clock of that moment
and not of the transaction's begin, so their order is the order of their times. A pause that is over by itself is
resumed at the moment when its budget ran out, however late somebody looks: by the stage `resume`, or by the next
command before it does anything else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from models.enums import ActorKind, Lane, WorkOrderState, WorkPolicy, WorkSessionAction, WorkSessionState
from pipeline.core import work_sessions
from pipeline.core.orders import Order
from pipeline.core.work_sessions import BY_ITSELF, SYSTEM, Session, SessionEvent
from pipeline.core.written import plain
from pipeline.runtime import auditing, ledger, order_rows
from pipeline.runtime.auditing import Entry
from pipeline.runtime.jobs import Emit
from pipeline.runtime.locks import PAUSES
from pipeline.runtime.order_rows import Step
from pipeline.runtime.session_reading import read

#: What the audit trail and the orders' steps call a pause that was over by itself.
RESUMED = "stage.resume"
#: The stage that ends pauses whose budget ran out; its keys are sessions' ids.
STAGE = "resume"
#: So that nobody reckons with rules that are being changed; those who reckon do not wait for each other.
_RECKON = text(f"""
    SELECT pg_advisory_xact_lock_shared({PAUSES}, hashtext(org)) FROM unnest(CAST(:orgs AS text[])) AS org
""")  # noqa: S608 - a number from above
_CHANGE = text(f"SELECT pg_advisory_xact_lock({PAUSES}, hashtext(CAST(:org AS text)))")
#: The one that is not stopped, else the latest.
_LATEST = text("""
    SELECT id FROM work_sessions WHERE order_id = :order ORDER BY state = 'stopped', id DESC LIMIT 1
""")
_ORDERS = text("""
    SELECT w.id, w.org_id FROM work_orders w
     WHERE w.id IN (SELECT s.order_id FROM work_sessions s WHERE s.id = ANY(CAST(:ids AS uuid[])))
     ORDER BY w.id FOR NO KEY UPDATE
""")
_LOCK = text("SELECT id FROM work_sessions WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR NO KEY UPDATE")
_NOW = text("""
    SELECT greatest(clock_timestamp(), max(event_at)) FROM work_session_events
     WHERE org_id = :org AND technician_id = :technician
""")
_BEGIN = text("""
    INSERT INTO work_sessions (org_id, order_id, technician_id, state, started_at)
    VALUES (:org, :order, :technician, 'running', :at) RETURNING id
""")
_EVENTS = text("""
    INSERT INTO work_session_events (org_id, session_id, order_id, technician_id, action, event_at, actor_id, data)
    SELECT e.org, e.session, e.ord, e.technician, e.action, e.at, e.actor, e.data
      FROM unnest(CAST(:orgs AS uuid[]), CAST(:sessions AS uuid[]), CAST(:orders AS uuid[]),
                  CAST(:technicians AS uuid[]), CAST(:actions AS text[]), CAST(:ats AS timestamptz[]),
                  CAST(:actors AS text[]), CAST(:data AS jsonb[])) WITH ORDINALITY
        AS e(org, session, ord, technician, action, at, actor, data, position)
     ORDER BY e.position
""")
_MOVE = text("""
    UPDATE work_sessions s SET state = n.state, ended_at = n.ended_at
      FROM unnest(CAST(:sessions AS uuid[]), CAST(:states AS text[]), CAST(:ends AS timestamptz[]))
        AS n(session, state, ended_at)
     WHERE s.id = n.session
""")
_ELSEWHERE = text("""
    SELECT number FROM work_orders
     WHERE org_id = :org AND assigned_to_id = :technician AND policy = 'workshop' AND state = 'in_progress'
       AND id <> :order LIMIT 1
""")
_OPEN = text("""
    SELECT s.id, w.trace_id FROM work_sessions s JOIN work_orders w ON w.id = s.order_id
     WHERE s.org_id = :org AND s.state <> 'stopped' ORDER BY s.id
""")
_OF_ORDER = text("""
    SELECT session_id, action, event_at, clock_timestamp() AS now
      FROM work_session_events WHERE order_id = :order ORDER BY id
""")


@dataclass(frozen=True, slots=True)
class Done:
    """A session after its last event, which is not kept yet; who did it, and what is to be said of it."""

    session: Session
    actor_id: str
    data: Mapping[str, Any] = field(default_factory=dict)


def latest(connection: Connection, order: Order) -> Session | None:
    """Lock the session of a locked order that is not stopped, else its last; with all that decides on a pause."""
    session_id = connection.execute(_LATEST, {"order": order.order_id}).scalar_one_or_none()
    if session_id is None:
        return None
    _reckon(connection, {order.org_id})
    connection.execute(_LOCK, {"ids": [session_id]})
    return read(connection, [session_id])[0]


def lock(connection: Connection, session_ids: Sequence[UUID]) -> list[Session]:
    """Lock sessions, their orders first; return those that are there, with all that decides on their pauses."""
    locked = connection.execute(_ORDERS, {"ids": list(session_ids)}).all()
    _reckon(connection, {one.org_id for one in locked})
    connection.execute(_LOCK, {"ids": list(session_ids)})
    return read(connection, session_ids)


def begin(connection: Connection, order: Order, technician_id: UUID, actor_id: str) -> Session:
    """Let a new session of a locked order run. Raises IntegrityError where the technician has another open one."""
    who = {"org": order.org_id, "technician": technician_id}
    at: datetime = connection.execute(_NOW, who).scalar_one()
    session_id = connection.execute(_BEGIN, {**who, "order": order.order_id, "at": at}).scalar_one()
    session = Session(
        session_id=session_id,
        org_id=order.org_id,
        order_id=order.order_id,
        technician_id=technician_id,
        state=WorkSessionState.RUNNING,
        started_at=at,
        ended_at=None,
        events=(SessionEvent(session_id, WorkSessionAction.STARTED, at),),
        now=at,
        began_at=order.now,
    )
    _append(connection, [Done(session, actor_id)])
    return session


def keep(connection: Connection, done: Sequence[Done]) -> None:
    """Keep the last event of locked sessions, and the states that these led to."""
    _append(connection, done)
    values = {
        "sessions": [one.session.session_id for one in done],
        "states": [one.session.state.value for one in done],
        "ends": [one.session.ended_at for one in done],
    }
    connection.execute(_MOVE, values)


def settle(connection: Connection, session: Session) -> Session:
    """End a locked session's pause, if it was over by itself, at the moment when it was; return it as it is then."""
    settled = session.settled()
    if settled is not session:
        keep(connection, [by_itself(settled)])
    return settled


def by_itself(settled: Session) -> Done:
    """Return a session whose pause was over by itself, to be kept."""
    return Done(settled, SYSTEM, BY_ITSELF)


def end(connection: Connection, order: Order, actor_id: str, data: Mapping[str, Any]) -> Session | None:
    """Stop what is open of a locked order, if anything is, since the order is over; return it."""
    session = latest(connection, order)
    if session is None or not session.is_open:
        return None
    stopped = settle(connection, session).then(WorkSessionAction.STOPPED, session.now)
    keep(connection, [Done(stopped, actor_id, data)])
    return stopped


def awaken(session: Session) -> list[Emit]:
    """Return the job that ends a session's pause when its budget runs out; none where it never does."""
    at = session.pause_ends_at
    if at is None:
        return []
    return [_job(session.session_id, session.org_id, session.trace_id).after(at - session.began_at)]


def retime(connection: Connection, org_id: UUID) -> list[Emit]:
    """Have every open session of an organization looked at now, since its rules of pauses changed.

    Call it after the new rules are written, in their transaction, and emit what it returns. Nobody reckons with rules
    of pauses until that commits, so no pause is timed by rules that are not in force any more.
    """
    connection.execute(_CHANGE, {"org": org_id})
    found = connection.execute(_OPEN, {"org": org_id}).all()
    ledger.hasten_stage(connection, STAGE, [one.id for one in found])
    return [_job(one.id, org_id, one.trace_id) for one in found]


def in_progress_elsewhere(connection: Connection, order: Order, technician_id: UUID) -> int | None:
    """Return the number of another order that a technician has in progress; None where there is none."""
    values = {"org": order.org_id, "order": order.order_id, "technician": technician_id}
    return connection.execute(_ELSEWHERE, values).scalar_one_or_none()


def record(connection: Connection, resumed: Sequence[Session]) -> None:
    """Tell the audit trails, and the orders' steps, of pauses that were over by themselves.

    The organizations' audit trails stay locked until the transaction ends: call it last.
    """
    for org_id in sorted({one.org_id for one in resumed}):  # a trail is of one organization
        ours = [one for one in resumed if one.org_id == org_id]
        numbers = auditing.append_all(connection, org_id, [_entry(one) for one in ours])
        order_rows.keep(connection, org_id, [_step(one, number) for one, number in zip(ours, numbers, strict=True)])


def active_seconds(connection: Connection, order_id: UUID) -> int:
    """Return how long an order was worked on in all its sessions; what runs counts up to now."""
    found = connection.execute(_OF_ORDER, {"order": order_id}).all()
    events = [SessionEvent(one.session_id, WorkSessionAction(one.action), one.event_at) for one in found]
    return work_sessions.active_seconds(events, found[-1].now) if found else 0


def _reckon(connection: Connection, org_ids: Collection[UUID]) -> None:
    connection.execute(_RECKON, {"orgs": sorted(map(str, org_ids))})


def _append(connection: Connection, done: Sequence[Done]) -> None:
    events = [one.session.events[-1] for one in done]
    values = {
        "orgs": [one.session.org_id for one in done],
        "sessions": [one.session.session_id for one in done],
        "orders": [one.session.order_id for one in done],
        "technicians": [one.session.technician_id for one in done],
        "actions": [event.action.value for event in events],
        "ats": [event.at for event in events],
        "actors": [one.actor_id for one in done],
        "data": [orjson.dumps(dict(one.data)).decode() for one in done],
    }
    connection.execute(_EVENTS, values)


def _entry(one: Session) -> Entry:
    return Entry(
        one.org_id,
        RESUMED,
        SYSTEM,
        ActorKind.SYSTEM,
        target_kind="work_order",
        target_id=str(one.order_id),
        trace_id=one.trace_id,
        details=_details(one),
    )


def _step(one: Session, number: int) -> Step:
    state = WorkOrderState.IN_PROGRESS.value
    return Step(
        one.order_id, WorkPolicy.WORKSHOP, RESUMED, one.attempt, state, state, SYSTEM, None, number, _details(one)
    )  # fmt: skip


def _details(one: Session) -> dict[str, Any]:
    return {"session_id": str(one.session_id), "resumed_at": plain(one.events[-1].at), **BY_ITSELF}


def _job(session_id: UUID, org_id: UUID, trace_id: str | None) -> Emit:
    return Emit(STAGE, str(session_id), org_id, None, Lane.LIVE, 0, trace_id or "")
