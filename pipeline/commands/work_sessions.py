"""Commands of whoever repairs: begin, pause, go on, stop, and hand over to quality control (contract 002).

One technician works at one thing: one order in progress, one open session. Whatever is wrong with that is answered 400.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from models.enums import InventoryState, WorkOrderState, WorkPolicy, WorkSessionAction, WorkSessionState
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect, Refused
from pipeline.commands.orders import by_assignee, changed, lifecycle, order_target
from pipeline.commands.workshop_arguments import Nothing
from pipeline.core.orders import Order, code_of
from pipeline.core.refusing import Because, Refusal
from pipeline.core.repairs import enveloped
from pipeline.core.work_sessions import Session, described
from pipeline.core.written import plain
from pipeline.runtime import inventory_rows, repair_rows, session_rows
from pipeline.runtime.db import constraint_of
from pipeline.runtime.session_rows import Done

_WORKSHOP = WorkPolicy.WORKSHOP
#: What the database holds a technician to, whoever else begins at the same moment.
_ONE_AT_A_TIME = frozenset(
    {"uq_work_sessions_technician_open", "uq_work_sessions_order_open", "uq_work_orders_in_progress"}
)


def is_assigned(ask: Ask[Any], order: Order) -> Refusal | None:
    """Refuse everybody but the technician it was given to, whatever their role (contract 002: 400)."""
    refusal = by_assignee(ask, order)
    return refusal and replace(refusal, because=Because.INVALID)


def is_not_begun(_ask: Ask[Any], order: Order) -> Refusal | None:
    """Refuse a second session beside one that is open."""
    session: Session | None = order.known["session"]
    if session is None or not session.is_open:
        return None
    return Refusal("SESSION_OPEN", f"its work session is {session.state.value}; stop it before you begin another one")


def is_free(_ask: Ask[Any], order: Order) -> Refusal | None:
    """Refuse to begin while the technician has something else in progress."""
    number: int | None = order.known["elsewhere"]
    return None if number is None else _busy(f"{code_of(number)} is in progress")


def is_stopped(_ask: Ask[Any], order: Order) -> Refusal | None:
    """Refuse to hand over before the last work session was stopped by hand."""
    session: Session | None = order.known["session"]
    if session is not None and not session.is_open:
        return None
    return Refusal("SESSION_NOT_STOPPED", "stop the work session before the ticket goes to quality control")


def is_own(ask: Ask[Any], order: Order) -> Refusal | None:
    """Refuse what is done to no session, or to that of somebody else."""
    session: Session | None = order.known["session"]
    if session is not None and session.is_open and session.technician_id == ask.principal.person_id:
        return None
    return Refusal("NO_OPEN_SESSION", "you have no open work session of this ticket", Because.INVALID)


def is_running(_ask: Ask[Any], order: Order) -> Refusal | None:
    """Refuse to pause what is paused."""
    if order.known["session"].settled().state is WorkSessionState.RUNNING:
        return None
    return Refusal("SESSION_PAUSED", "the work session is paused already")


def is_paused(_ask: Ask[Any], order: Order) -> Refusal | None:
    """Refuse to resume what runs, by itself perhaps."""
    session: Session = order.known["session"]
    settled = session.settled()
    if settled.state is WorkSessionState.PAUSED:
        return None
    said = "the work session runs"
    if settled is not session:
        said = f"the pause was over by itself at {plain(settled.events[-1].at)}, when its budget ran out"
    return Refusal("SESSION_RUNNING", said)


def has_pause_left(_ask: Ask[Any], order: Order) -> Refusal | None:
    """Refuse a pause when nothing is left of the day's budget."""
    session: Session = order.known["session"].settled()
    if session.pause_left:
        return None
    limit, until = session.terms[-1].limit, plain(session.budget_is_new_at)
    said = f"today's pauses of {int(limit.total_seconds()) // 60} minutes are used up; the next day begins at {until}"
    return Refusal("PAUSE_LIMIT_REACHED", said)


def _see(connection: Connection, _ask: Ask[Any], order: Order) -> Mapping[str, Any]:
    return {"session": session_rows.latest(connection, order)}


def _see_all(connection: Connection, ask: Ask[Any], order: Order) -> Mapping[str, Any]:
    person_id = ask.principal.person_id
    elsewhere = None if person_id is None else session_rows.in_progress_elsewhere(connection, order, person_id)
    return {**_see(connection, ask, order), "elsewhere": elsewhere}


def _start(connection: Connection, ask: Ask[Nothing], order: Order) -> Effect:
    assert order.assigned_to_id is not None
    assert order.item_id is not None
    try:
        session = session_rows.begin(connection, order, order.assigned_to_id, ask.principal.actor_id)
        inventory_rows.set_state(connection, order.item_id, InventoryState.IN_SERVICE)
        changes = {} if order.started_at else {"started_at": session.started_at}
        details = {"session_id": str(session.session_id)}
        return changed(connection, order, repair_rows.say, changes, WorkOrderState.IN_PROGRESS, details=details)
    except IntegrityError as error:
        if constraint_of(error) not in _ONE_AT_A_TIME:
            raise
        raise Refused(_busy("something else is in progress")) from error


def _to_waiting_qc(connection: Connection, _ask: Ask[Nothing], order: Order) -> Effect:
    return changed(connection, order, repair_rows.say, state=WorkOrderState.WAITING_QC)


def _pause(connection: Connection, ask: Ask[Nothing], order: Order) -> Effect:
    return _go_on(connection, ask, order, WorkSessionAction.PAUSED)


def _resume(connection: Connection, ask: Ask[Nothing], order: Order) -> Effect:
    return _go_on(connection, ask, order, WorkSessionAction.RESUMED)


def _stop(connection: Connection, ask: Ask[Nothing], order: Order) -> Effect:
    return _go_on(connection, ask, order, WorkSessionAction.STOPPED)


def _go_on(connection: Connection, ask: Ask[Nothing], order: Order, action: WorkSessionAction) -> Effect:
    """Do something to the session, after its pause was ended if that was over by itself; answer the session."""
    locked: Session = order.known["session"]
    settled = session_rows.settle(connection, locked)
    after = settled.then(action, settled.now)
    session_rows.keep(connection, [Done(after, ask.principal.actor_id)])
    details = {"session_id": str(after.session_id)}
    if settled is not locked:
        details["auto_resumed_at"] = plain(settled.events[-1].at)
    said = enveloped(described(after))
    return changed(connection, order, lambda *_: said, details=details, jobs=session_rows.awaken(after))


def _busy(why: str) -> Refusal:
    return Refusal("TECHNICIAN_BUSY", f"{why}; a technician works at one ticket at a time")


START = Command(
    **lifecycle(_WORKSHOP, "workshop.start"),
    about="Begins a repair, or goes on with it in another session; its work session runs.",
    arguments=Nothing,
    permission=Permission.WORKSHOP_WORK,
    target=order_target(_WORKSHOP, _see_all),
    effect=_start,
    gates=(is_assigned, is_not_begun, is_free),
)
TO_WAITING_QC = Command(
    **lifecycle(_WORKSHOP, "workshop.to_waiting_qc"),
    about="Hands a repair over to quality control, after its work session was stopped.",
    arguments=Nothing,
    permission=Permission.WORKSHOP_WORK,
    target=order_target(_WORKSHOP, _see),
    effect=_to_waiting_qc,
    gates=(is_assigned, is_stopped),
)
PAUSE = Command(
    **lifecycle(_WORKSHOP, "workshop.pause"),
    about="Pauses one's work session, as long as something is left of the day's budget.",
    arguments=Nothing,
    permission=Permission.WORKSHOP_WORK,
    target=order_target(_WORKSHOP, _see),
    effect=_pause,
    gates=(is_own, is_running, has_pause_left),
)
RESUME = Command(
    **lifecycle(_WORKSHOP, "workshop.resume"),
    about="Goes on after a pause.",
    arguments=Nothing,
    permission=Permission.WORKSHOP_WORK,
    target=order_target(_WORKSHOP, _see),
    effect=_resume,
    gates=(is_own, is_paused),
)
STOP = Command(
    **lifecycle(_WORKSHOP, "workshop.stop"),
    about="Ends one's work session, out of a pause as well.",
    arguments=Nothing,
    permission=Permission.WORKSHOP_WORK,
    target=order_target(_WORKSHOP, _see),
    effect=_stop,
    gates=(is_own,),
)
#: What `pipeline.table` finds here.
COMMANDS = (START, TO_WAITING_QC, PAUSE, RESUME, STOP)
