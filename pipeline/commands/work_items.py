"""What is added to a ticket's bill by hand: parts, and time that check-in did not count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from models.enums import DispatchState
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect
from pipeline.commands.billing_arguments import LONGEST, NewPart, NewTime, PartRemoval, TimeRemoval
from pipeline.commands.field import by_assignee, changed, not_merged, ticket_target
from pipeline.core.field_work import FieldTicket
from pipeline.core.invoicing import Part
from pipeline.core.refusing import Because, Refusal
from pipeline.core.written import plain
from pipeline.runtime import work_item_rows
from pipeline.runtime.work_item_rows import MOST_ENTRIES, PartEntry, TimeEntry, TimeStanding

#: From when somebody knows what is to be done until it is billed.
WHILE_UNBILLED = frozenset(
    state.value
    for state in DispatchState
    if state
    not in {
        *(DispatchState.NEW, DispatchState.NEEDS_INFO),
        *(DispatchState.INVOICED, DispatchState.CLOSED, DispatchState.CANCELLED),
    }
)


def part_body(entry: PartEntry) -> dict[str, Any]:
    """Return a part as it is answered; its quantity as text, so that no digit of it is lost."""
    part = entry.part
    return {
        "id": str(part.part_id),
        "name": part.name,
        "sku": part.sku,
        "quantity": str(part.quantity),
        "unit_price_cents": part.unit_price_cents,
        "recorded_by": entry.recorded_by,
        "created_at": plain(entry.created_at),
        "removed_at": plain(entry.removed_at),
        "removed_by": entry.removed_by,
    }


def time_body(entry: TimeEntry) -> dict[str, Any]:
    """Return a piece of time as it is answered."""
    return {
        "id": str(entry.time_id),
        "kind": entry.kind.value,
        "technician_id": None if entry.technician_id is None else str(entry.technician_id),
        "began_at": plain(entry.began_at),
        "ended_at": plain(entry.ended_at),
        "recorded_by": entry.recorded_by,
        "created_at": plain(entry.created_at),
        "removed_at": plain(entry.removed_at),
        "removed_by": entry.removed_by,
    }


def _look_at_parts(connection: Connection, _ask: Ask[NewPart], ticket: FieldTicket) -> Mapping[str, Any]:
    return {"parts": work_item_rows.count_parts(connection, ticket.ticket_id)}


def _look_at_part(connection: Connection, ask: Ask[PartRemoval], ticket: FieldTicket) -> Mapping[str, Any]:
    return {"part": work_item_rows.part_of(connection, ticket.ticket_id, ask.arguments.part_id)}


def _look_at_time(connection: Connection, ask: Ask[NewTime], ticket: FieldTicket) -> Mapping[str, Any]:
    told = ask.arguments
    found = work_item_rows.time_standing(connection, ticket.ticket_id, told.kind, told.began_at, told.ended_at)
    return {"time": found}


def _look_at_entry(connection: Connection, ask: Ask[TimeRemoval], ticket: FieldTicket) -> Mapping[str, Any]:
    return {"entry": work_item_rows.time_of(connection, ticket.ticket_id, ask.arguments.time_id)}


def _is_room_for_part(_ask: Ask[NewPart], ticket: FieldTicket) -> Refusal | None:
    if ticket.known["parts"] < MOST_ENTRIES:
        return None
    return Refusal("TOO_MANY_PARTS", f"a ticket has at most {MOST_ENTRIES} parts; put equal ones into one")


def _part_is_there(_ask: Ask[PartRemoval], ticket: FieldTicket) -> Refusal | None:
    part: PartEntry | None = ticket.known["part"]
    if part is None:
        return Refusal("PART_NOT_FOUND", "this ticket has no such part", Because.MISSING)
    if part.removed_at is not None:
        return Refusal("PART_REMOVED", f"it was taken back already, by {part.removed_by}")
    return None


def _time_is_there(_ask: Ask[TimeRemoval], ticket: FieldTicket) -> Refusal | None:
    entry: TimeEntry | None = ticket.known["entry"]
    if entry is None:
        return Refusal("TIME_NOT_FOUND", "this ticket has no such piece of time", Because.MISSING)
    if entry.removed_at is not None:
        return Refusal("TIME_REMOVED", f"it was taken back already, by {entry.removed_by}")
    if entry.ended_at is None:
        return Refusal("TIME_GOES_ON", "this time has not ended: hold, return or complete the work first")
    return None


def _time_is_plausible(ask: Ask[NewTime], ticket: FieldTicket) -> Refusal | None:
    told = ask.arguments
    if told.began_at >= told.ended_at:
        return Refusal("INVALID_REQUEST", "ended_at must come after began_at", Because.INVALID)
    if told.ended_at - told.began_at > LONGEST:
        return Refusal("INVALID_REQUEST", "one piece of time is 24 hours at most; tell each day", Because.INVALID)
    if told.ended_at > ticket.now:
        return Refusal("INVALID_REQUEST", "time is told when it is over; ended_at is in the future", Because.INVALID)
    return None


def _time_is_free(ask: Ask[NewTime], ticket: FieldTicket) -> Refusal | None:
    standing: TimeStanding = ticket.known["time"]
    if standing.is_taken:
        said = f"some {ask.arguments.kind.value} of this ticket lies in this time already"
        return Refusal("TIME_OVERLAP", said)
    if standing.entries >= MOST_ENTRIES:
        return Refusal("TOO_MANY_TIMES", f"a ticket has at most {MOST_ENTRIES} pieces of time")
    return None


def _add_part(connection: Connection, ask: Ask[NewPart], ticket: FieldTicket) -> Effect:
    new, by = ask.arguments, ask.principal.actor_id
    told = work_item_rows.add_part(
        connection,
        ticket,
        name=new.name,
        sku=new.sku,
        quantity=new.quantity,
        unit_price_cents=new.unit_price_cents,
        by=by,
    )
    part = Part(told.entry_id, new.name, new.quantity, new.unit_price_cents, new.sku)
    more = {"part": part_body(PartEntry(part, by, told.created_at))}
    facts = {"part_id": told.entry_id, "unit_price_cents": new.unit_price_cents}
    facts |= {"thousandths": int(new.quantity * 1000)}
    return changed(connection, ask, ticket, "parts.add", details=facts, status=201, more=more)


def _remove_part(connection: Connection, ask: Ask[PartRemoval], ticket: FieldTicket) -> Effect:
    entry: PartEntry = ticket.known["part"]
    by = ask.principal.actor_id
    removed_at = work_item_rows.remove_part(connection, entry.part.part_id, by=by)
    more = {"part": part_body(replace(entry, removed_at=removed_at, removed_by=by))}
    facts = {"part_id": entry.part.part_id, "reason": ask.arguments.reason}
    return changed(connection, ask, ticket, "parts.remove", details=facts, more=more)


def _tell_time(connection: Connection, ask: Ask[NewTime], ticket: FieldTicket) -> Effect:
    told, who = ask.arguments, ask.principal
    technician_id = who.person_id if who.is_sent else ticket.assigned_tech_id
    made = work_item_rows.tell_time(
        connection, ticket, told.kind, told.began_at, told.ended_at, technician_id=technician_id, by=who.actor_id
    )
    entry = TimeEntry(
        made.entry_id, told.kind, technician_id, told.began_at, told.ended_at, who.actor_id, made.created_at
    )
    facts = {"time_id": made.entry_id, "kind": told.kind.value, "began_at": told.began_at, "ended_at": told.ended_at}
    return changed(connection, ask, ticket, "time.tell", details=facts, status=201, more={"time": time_body(entry)})


def _remove_time(connection: Connection, ask: Ask[TimeRemoval], ticket: FieldTicket) -> Effect:
    entry: TimeEntry = ticket.known["entry"]
    by = ask.principal.actor_id
    removed_at = work_item_rows.remove_time(connection, entry.time_id, by=by)
    more = {"time": time_body(replace(entry, removed_at=removed_at, removed_by=by))}
    facts = {"time_id": entry.time_id, "kind": entry.kind.value, "began_at": entry.began_at, "ended_at": entry.ended_at}
    reason = {"reason": ask.arguments.reason}
    return changed(connection, ask, ticket, "time.remove", details=facts | reason, more=more)


ADD_PART = Command(
    name="parts.add",
    about="Adds a part that was built in to a ticket's bill.",
    arguments=NewPart,
    permission=Permission.TECH_COMPLETE,
    target=ticket_target(_look_at_parts),
    effect=_add_part,
    gates=(not_merged, by_assignee, _is_room_for_part),
    from_states=WHILE_UNBILLED,
    needs_key=True,
)
REMOVE_PART = Command(
    name="parts.remove",
    about="Takes a part back from a ticket's bill; it stays for the record.",
    arguments=PartRemoval,
    permission=Permission.TECH_COMPLETE,
    target=ticket_target(_look_at_part),
    effect=_remove_part,
    gates=(not_merged, by_assignee, _part_is_there),
    from_states=WHILE_UNBILLED,
    needs_key=True,
)
TELL_TIME = Command(
    name="time.tell",
    about="Adds labor or travel that check-in did not count to a ticket's bill.",
    arguments=NewTime,
    permission=Permission.TECH_COMPLETE,
    target=ticket_target(_look_at_time),
    effect=_tell_time,
    gates=(not_merged, by_assignee, _time_is_plausible, _time_is_free),
    from_states=WHILE_UNBILLED,
    needs_key=True,
)
REMOVE_TIME = Command(
    name="time.remove",
    about="Takes labor or travel that is over back from a ticket's bill; it stays for the record.",
    arguments=TimeRemoval,
    permission=Permission.TECH_COMPLETE,
    target=ticket_target(_look_at_entry),
    effect=_remove_time,
    gates=(not_merged, by_assignee, _time_is_there),
    from_states=WHILE_UNBILLED,
    needs_key=True,
)
#: What `pipeline.table` finds here.
COMMANDS = (ADD_PART, REMOVE_PART, TELL_TIME, REMOVE_TIME)
