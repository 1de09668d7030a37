"""When somebody comes: windows proposed, confirmed, moved and withdrawn, and the customer's link (contract 000)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from models.enums import DispatchState, HoldState
from models.permissions import Permission
from models.queries import technicians as queries
from pipeline.command import Ask, Command, Effect, Refused
from pipeline.commands import schedule_arguments as given
from pipeline.commands.field import TICKET, changed, lifecycle, not_merged, ticket_target
from pipeline.commands.schedule_arguments import MOVABLE, Confirmation, Move, NewLink, Proposal, Withdrawal
from pipeline.core import schedule
from pipeline.core.field_work import FieldTicket, Window
from pipeline.core.refusing import Refusal
from pipeline.core.schedule import Proposed
from pipeline.core.written import plain
from pipeline.runtime import free_time, schedule_rows, visit_links, visit_rows
from pipeline.runtime.visit_rows import Taken, Visit

_S = DispatchState
#: So many technicians are asked for one hour; their calendars are locked meanwhile.
_MOST_ASKED = 10
#: What is taken from a ticket that nobody comes to any more.
NO_WINDOW: Mapping[str, Any] = {"scheduled_start": None, "scheduled_end": None}


def _look_at_proposal(connection: Connection, ask: Ask[Proposal], ticket: FieldTicket) -> Mapping[str, Any]:
    people = [one.technician_id for one in ask.arguments.options if one.technician_id]
    return {"technicians": queries.technicians_among(connection, ticket.org_id, people)}


def _look_at_offer(connection: Connection, _: Ask[Any], ticket: FieldTicket) -> Mapping[str, Any]:
    return {"offered": schedule_rows.offered(connection, ticket.ticket_id)}


def _look_at_visit(connection: Connection, _: Ask[Any], ticket: FieldTicket) -> Mapping[str, Any]:
    job = free_time.job_of(connection, ticket)
    hold = schedule_rows.open_hold(connection, ticket.ticket_id)
    visit = visit_rows.current(connection, ticket.ticket_id)
    # What was offered before somebody chose, or was taken back since, is kept for nobody.
    is_choice = hold is not None and hold.from_state is _S.SCHEDULE_PROPOSED
    offered = schedule_rows.offered(connection, ticket.ticket_id) if is_choice else []
    length = free_time.length_of(ticket, job)
    return {"job": job, "length": length, "hold": hold, "visit": visit, "offered": offered}


def _propose(connection: Connection, ask: Ask[Proposal], ticket: FieldTicket) -> Effect:
    windows = [Proposed(one.window, one.technician_id) for one in ask.arguments.options]
    schedule_rows.offer(connection, ticket, windows)
    first = windows[0].window
    changes = {"scheduled_start": first.starts_at, "scheduled_end": first.ends_at}
    return changed(
        connection,
        ask,
        ticket,
        PROPOSE.name,
        changes,
        path=[_S.SCHEDULE_PROPOSED],
        details={"windows": [_recorded(one) for one in windows]},
        more={"proposed_windows": [schedule.proposed_as_json(one) for one in windows]},
    )


def _confirm(connection: Connection, ask: Ask[Confirmation], ticket: FieldTicket) -> Effect:
    one = schedule.chosen(ticket.known["offered"], ask.arguments.window)
    assert one is not None  # a gate looked
    try:
        visit = visit_rows.book(connection, ticket, one.window, one.technician_id)
    except Taken:
        raise Refused(_taken(connection, ticket, one.window)) from None
    return _booked(connection, ask, ticket, CONFIRM.name, visit=visit, more=_offered_as_json(ticket))


def _move(connection: Connection, ask: Ask[Move], ticket: FieldTicket) -> Effect:
    """Book the visit anew; the technicians' calendars are locked before they are read, so that what is free stays so.

    A customer who confirms a time that is held for them has it, whoever comes.
    """
    hold = ticket.known["hold"]
    visit = _kept(connection, ask, ticket) or _booked_anew(connection, ask, ticket, ask.arguments.window)
    if hold is not None:
        schedule_rows.end_holds(connection, [hold.hold_id], HoldState.RELEASED, "the customer chose a time")
    return _booked(connection, ask, ticket, MOVE.name, visit=visit)


def _kept(connection: Connection, ask: Ask[Move], ticket: FieldTicket) -> Visit | None:
    """Return the visit where the window is its own, or one that was offered before the hold; None for another one."""
    window, before = ask.arguments.window, ticket.known["visit"]
    if ask.arguments.technician_id is not None:
        return None
    if before is not None and before.window == window:
        found: Visit = before
        return found
    one = schedule.chosen(ticket.known["offered"], window)
    try:
        return visit_rows.book(connection, ticket, window, one.technician_id) if one else None
    except Taken:
        return None


def _booked_anew(connection: Connection, ask: Ask[Move], ticket: FieldTicket, window: Window) -> Visit:
    job, org_id = ticket.known["job"], ticket.org_id
    wanted = [ask.arguments.technician_id] if ask.arguments.technician_id else None
    before: Visit | None = ticket.known["visit"]
    found = free_time.who_can_come(connection, org_id, job, window, wanted)
    # Whoever comes already goes first.
    asked = sorted(found, key=lambda one: before is None or one != before.technician_id)[:_MOST_ASKED]
    visit_rows.lock_calendars(connection, asked)
    still = set(free_time.who_can_come(connection, org_id, job, window, asked)) if asked else set()
    for person_id in (one for one in asked if one in still):  # the first one, almost always
        try:
            return visit_rows.book(connection, ticket, window, person_id)
        except Taken:
            continue
    raise Refused(_taken(connection, ticket, window))


def _booked(
    connection: Connection,
    ask: Ask[Any],
    ticket: FieldTicket,
    name: str,
    *,
    visit: Visit,
    more: Mapping[str, Any] | None = None,
) -> Effect:
    path = [_S.SCHEDULED] if ticket.state is not _S.SCHEDULED else []
    details = {
        "visit_id": visit.visit_id,
        "visit_number": visit.number,
        "technician_id": visit.technician_id,
        "starts_at": visit.window.starts_at,
        "ends_at": visit.window.ends_at,
    }
    changes = visit_rows.changes_of(visit)
    jobs = [visit_rows.invitation(visit, ask.trace_id or ticket.trace_id)]
    return changed(connection, ask, ticket, name, changes, path=path, details=details, more=more, jobs=jobs)


def _withdraw(connection: Connection, ask: Ask[Withdrawal], ticket: FieldTicket) -> Effect:
    schedule_rows.take_back(connection, ticket.ticket_id)
    off = visit_rows.call_off(connection, ticket.ticket_id)
    details = {"reason": ask.arguments.reason, "visit_ids": [one.visit_id for one in off]}
    jobs = [visit_rows.invitation(one, ask.trace_id or ticket.trace_id) for one in off]
    path = [_S.READY_TO_SCHEDULE]
    return changed(connection, ask, ticket, WITHDRAW.name, NO_WINDOW, path=path, details=details, jobs=jobs)


def _link(connection: Connection, ask: Ask[NewLink], ticket: FieldTicket) -> Effect:
    windows = [one.window for one in ticket.known["offered"]] + ([ticket.window] if ticket.window else [])
    made = visit_links.New(
        link_id=ask.arguments.link_id,
        token_hash=ask.arguments.token_hash,
        expires_at=schedule.link_expires_at(ticket.now, windows),
        created_by=ask.principal.actor_id,
    )
    visit_links.replace(connection, ticket, made)
    more = {"link_id": str(made.link_id), "expires_at": plain(made.expires_at)}
    details = {"link_id": made.link_id, "expires_at": made.expires_at}
    return changed(connection, ask, ticket, LINK.name, details=details, status=201, more=more)


def _taken(connection: Connection, ticket: FieldTicket, window: Window) -> Refusal:
    """Return why somebody came too late, with what is free from then on."""
    job = ticket.known.get("job") or free_time.job_of(connection, ticket)
    slots = free_time.next_slots(connection, ticket, job, window)
    said = "nobody is free then (any more); choose one of the next free windows" if slots else "nobody is free then"
    return Refusal("SLOT_TAKEN", said, details={"slots": slots})


def _recorded(one: Proposed) -> dict[str, Any]:
    return {
        "starts_at": one.window.starts_at,
        "ends_at": one.window.ends_at,
        "technician_id": one.technician_id,
    }


def _offered_as_json(ticket: FieldTicket) -> dict[str, Sequence[Mapping[str, Any]]]:
    return {"proposed_windows": [schedule.proposed_as_json(one) for one in ticket.known["offered"]]}


PROPOSE = Command(
    **lifecycle("schedule.propose"),
    about="Offers the customer windows to choose among.",
    arguments=Proposal,
    permission=Permission.SCHEDULE_PROPOSE,
    target=ticket_target(_look_at_proposal),
    gates=(not_merged, given.windows_fit),
    effect=_propose,
)
CONFIRM = Command(
    **lifecycle("schedule.confirm"),
    about="Books one of the windows that were offered.",
    arguments=Confirmation,
    permission=Permission.SCHEDULE_CONFIRM,
    target=ticket_target(_look_at_offer),
    gates=(not_merged, given.is_offered),
    effect=_confirm,
)
MOVE = Command(
    **lifecycle("schedule.move"),
    about="Books the visit for another time, at which somebody is free.",
    arguments=Move,
    permission=Permission.SCHEDULE_CONFIRM,
    target=ticket_target(_look_at_visit),
    gates=(not_merged, given.is_in_time, given.may_be_moved_to),
    effect=_move,
)
WITHDRAW = Command(
    **lifecycle("schedule.withdraw"),
    about="Takes offers and the booked visit back.",
    arguments=Withdrawal,
    permission=Permission.SCHEDULE_PROPOSE,
    target=TICKET,
    gates=(not_merged,),
    effect=_withdraw,
)
LINK = Command(
    name="schedule.link",
    from_states=frozenset({_S.READY_TO_SCHEDULE, *MOVABLE, _S.DISPATCHED}),
    needs_key=True,
    about="Makes the link by which the customer confirms or moves the visit; the one before is good no more.",
    arguments=NewLink,
    permission=Permission.SCHEDULE_PROPOSE,
    target=ticket_target(_look_at_offer),
    gates=(not_merged,),
    effect=_link,
)
#: What `pipeline.table` finds here.
COMMANDS = (PROPOSE, CONFIRM, MOVE, WITHDRAW, LINK)
