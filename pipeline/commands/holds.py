"""A schedule that waits for its customer: held, released when they confirm, rolled back when it is given up."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from secrets import token_hex
from typing import Any

from sqlalchemy import Connection

from models.enums import DispatchState, HoldState, Lane
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect
from pipeline.commands import schedule_arguments as given
from pipeline.commands.field import TICKET, changed, lifecycle, not_merged, ticket_target
from pipeline.commands.schedule_arguments import HoldBody, Release, Rollback
from pipeline.core import schedule
from pipeline.core.field_work import FieldTicket
from pipeline.core.schedule import Hold
from pipeline.runtime import schedule_rows, visit_rows
from pipeline.runtime.jobs import Emit

#: The stage that ends a hold whose time is over.
LAPSE = "lapse"
_CONFIRMED = "the customer confirmed"
_NO_WINDOW: Mapping[str, Any] = {"scheduled_start": None, "scheduled_end": None}


def _look(connection: Connection, _: Ask[Any], ticket: FieldTicket) -> Mapping[str, Any]:
    return {
        "hold": schedule_rows.open_hold(connection, ticket.ticket_id),
        "offered": schedule_rows.offered(connection, ticket.ticket_id),
    }


def _hold(connection: Connection, ask: Ask[HoldBody], ticket: FieldTicket) -> Effect:
    """Hold the schedule; its end is put into the ledger with it, so that nobody must remember it."""
    asked, window = ask.arguments, ask.arguments.confirmation_window.window
    hold_id = schedule_rows.begin_hold(connection, ticket, asked.hold_reason, window)
    trace_id = ask.trace_id or ticket.trace_id or token_hex(16)
    wait = max(window.ends_at - ticket.now, timedelta(0))
    lapse = Emit(LAPSE, str(hold_id), ticket.org_id, None, Lane.LIVE, 0, trace_id, delay=wait)
    details = {
        "hold_id": hold_id,
        "reason": asked.hold_reason.value,
        "starts_at": window.starts_at,
        "ends_at": window.ends_at,
    }
    more = {"hold_id": str(hold_id), "confirmation_window": schedule.as_json(window)}
    return changed(
        connection,
        ask,
        ticket,
        HOLD.name,
        path=[DispatchState.PENDING_CUSTOMER_CONFIRMATION],
        details=details,
        status=201,
        more={**more, "hold_reason": asked.hold_reason.value},
        jobs=[lapse],
    )


def _release(connection: Connection, ask: Ask[Release], ticket: FieldTicket) -> Effect:
    return _ended(connection, ask, ticket, RELEASE.name, state=HoldState.RELEASED, because=_CONFIRMED)


def _roll_back(connection: Connection, ask: Ask[Rollback], ticket: FieldTicket) -> Effect:
    return _ended(connection, ask, ticket, ROLLBACK.name, state=HoldState.ROLLED_BACK, because=ask.arguments.reason)


def _ended(
    connection: Connection, ask: Ask[Any], ticket: FieldTicket, name: str, *, state: HoldState, because: str
) -> Effect:
    """Bring back what was before the hold; what has passed meanwhile is scheduled anew, and its visit called off."""
    hold: Hold | None = ticket.known["hold"]
    if hold is not None:
        schedule_rows.end_holds(connection, [hold.hold_id], state, because)
    found = schedule.restored(hold, ticket.known["offered"], ticket.now)
    changes, jobs = dict(_NO_WINDOW), []
    if found.window is not None:
        changes = {"scheduled_start": found.window.starts_at, "scheduled_end": found.window.ends_at}
    if found.state is DispatchState.READY_TO_SCHEDULE:
        schedule_rows.take_back(connection, ticket.ticket_id)
        off = visit_rows.call_off(connection, ticket.ticket_id)
        jobs = [visit_rows.invitation(one, ask.trace_id or ticket.trace_id) for one in off]
    details = {"hold_id": hold.hold_id if hold else None, "reason": because}
    more = {"hold_id": str(hold.hold_id) if hold else None}
    return changed(connection, ask, ticket, name, changes, path=[found.state], details=details, more=more, jobs=jobs)


HOLD = Command(
    **lifecycle("schedule.hold"),
    about="Waits with the schedule until the customer has confirmed, up to a time.",
    arguments=HoldBody,
    permission=Permission.SCHEDULE_HOLD,
    target=TICKET,
    gates=(not_merged, given.is_ahead),
    effect=_hold,
)
RELEASE = Command(
    **lifecycle("schedule.release"),
    about="Ends a hold because the customer confirmed in time; what was before it holds again.",
    arguments=Release,
    permission=Permission.SCHEDULE_HOLD,
    target=ticket_target(_look),
    gates=(not_merged, given.is_confirmed),
    effect=_release,
)
ROLLBACK = Command(
    **lifecycle("schedule.rollback"),
    about="Gives a hold up, at any time; what was before it holds again, unless it has passed.",
    arguments=Rollback,
    permission=Permission.SCHEDULE_HOLD,
    target=ticket_target(_look),
    gates=(not_merged, given.is_the_open_hold),
    effect=_roll_back,
)
#: What `pipeline.table` finds here.
COMMANDS = (HOLD, RELEASE, ROLLBACK)
