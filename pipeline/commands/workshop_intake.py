"""A thing comes into the workshop: found or made known, with a repair that waits for its review (contract 002)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from models.enums import WorkOrderState, WorkPolicy
from models.permissions import Permission
from models.work_lifecycle import BEGINNINGS
from pipeline.command import Ask, Command, Effect, Locked, Move, Refused, Target
from pipeline.commands.orders import MISSING, record
from pipeline.commands.workshop_arguments import NewRepair
from pipeline.core.inventory import Item
from pipeline.core.orders import Order
from pipeline.core.refusing import Because, Refusal
from pipeline.core.repairs import KnownPart, Metrics, metrics_of, problem_of_parts
from pipeline.core.serials import is_well_formed
from pipeline.runtime import inventory_rows, order_rows, repair_rows, rules
from pipeline.runtime.db import constraint_of

_NAME, _STATE = "workshop.create", WorkOrderState.UNDER_REVIEW
_ONE_OPEN = "uq_work_orders_item"
_BUSY = Refusal("ITEM_IN_REPAIR", "this thing has an open ticket already: go on with that one", Because.CONFLICT)


@dataclass(frozen=True, slots=True)
class Incoming:
    """What comes in, as the gates need it."""

    #: Of the order that is to be made.
    order_id: UUID
    #: Locked; None where the serial number is unknown.
    item: Item | None
    parts: Sequence[KnownPart]
    #: Known serial numbers that may be meant, where one was not found.
    alike: Sequence[str] = ()


def _lock(connection: Connection, ask: Ask[NewRepair]) -> Locked[Incoming]:
    asked, org_id = ask.arguments, ask.principal.org_id
    item = inventory_rows.by_serial(connection, org_id, asked.serial_number)
    parts = repair_rows.known_parts(connection, org_id, [one.part_id for one in asked.part_specs])
    is_certain = item is not None or problem_of_serial(asked) is None
    alike = [] if is_certain else inventory_rows.alike(connection, org_id, asked.serial_number)
    incoming = Incoming(repair_rows.new_id(connection), item, parts, alike)
    return Locked(str(incoming.order_id), incoming, 0, is_reached=True, trace_id=ask.trace_id)


def problem_of_serial(asked: NewRepair) -> str | None:
    """Return what is missing for a thing with an unknown serial number to be made known; None when nothing is."""
    serial = asked.serial_number
    if not is_well_formed(serial):
        return f"{serial} is not known, and a new serial number is RM- with 4 to 29 letters, digits or hyphens after it"
    if not asked.confirm_create_inventory_item or not asked.inventory_item_creation_reason:
        return (
            f"{serial} is not known; if it is right, send confirm_create_inventory_item=true and an "
            "inventory_item_creation_reason, which make it known"
        )
    return None


def item_fits(ask: Ask[NewRepair], incoming: Incoming) -> Refusal | None:
    """Refuse archived things, unknown ones that nobody vouches for, and those with an open repair."""
    item = incoming.item
    if item is None:
        problem = problem_of_serial(ask.arguments)
        near = f"; known and alike: {', '.join(incoming.alike)}" if incoming.alike else ""
        return None if problem is None else _invalid(f"serial_number: {problem}{near}")
    if item.archived_at is not None:
        said = f"{item.serial_number} is archived: restore it in the inventory before it is taken in"
        return Refusal("ITEM_ARCHIVED", said, Because.CONFLICT)
    return None if item.open_order_id is None else _BUSY


def parts_fit(ask: Ask[NewRepair], incoming: Incoming) -> Refusal | None:
    """Refuse parts that are unknown, of several categories, or of another one than the thing's."""
    asked, item = [one.part_id for one in ask.arguments.part_specs], incoming.item
    category_id = None if item is None else item.category_id
    problem = problem_of_parts(asked, incoming.parts, category_id, is_known_item=item is not None)
    return None if problem is None else _invalid(f"part_specs: {problem}")


def review_is_anothers(ask: Ask[NewRepair], _incoming: Incoming) -> Refusal | None:
    """Refuse to approve what one takes in oneself: to those who may review at all for four eyes."""
    if not ask.arguments.approve_review:
        return None
    if not ask.principal.may(Permission.WORKSHOP_REVIEW):
        return _invalid(f"approve_review: the role {ask.principal.role} reviews nothing")
    return Refusal("FOUR_EYES", "approve_review: who takes it in may not review it; leave it out", Because.CONFLICT)


def _invalid(said: str) -> Refusal:
    return Refusal("INVALID_REQUEST", said, Because.INVALID)


def _create(connection: Connection, ask: Ask[NewRepair], incoming: Incoming) -> Effect:
    asked = ask.arguments
    item_id = _item(connection, ask, incoming)
    metrics = _metrics(connection, ask)
    order = _order(connection, ask, incoming.order_id, item_id)
    repair_rows.make(connection, order, [one.spec() for one in asked.part_specs], metrics)
    is_new = incoming.item is None
    details = {
        "serial_number": asked.serial_number,
        "item_id": str(item_id),
        "inventory_item_created_during_intake": is_new,
        "inventory_item_creation_reason": asked.inventory_item_creation_reason if is_new else None,
        "total_duration": asked.minutes,
        "total_minutes": asked.minutes,
        "part_specs_count": len(asked.part_specs),
        "flag_color": metrics.color.value,
        "xp_amount": metrics.xp,
        "is_manual": metrics.is_manual,
        "review_approved": False,
    }
    said, moves = repair_rows.say(connection, order), [Move(None, order.state.value)]
    return Effect(said, status=201, version=order.version, moves=moves, details=details, subject=order)


def _item(connection: Connection, ask: Ask[NewRepair], incoming: Incoming) -> UUID:
    """Return the thing; made known, or put into the category of its parts where it had none."""
    asked, org_id, item = ask.arguments, ask.principal.org_id, incoming.item
    category_id = incoming.parts[0].category_id
    if item is not None:
        if item.category_id is None:
            inventory_rows.save(connection, item.item_id, {"category_id": category_id})
        return item.item_id
    serial, because = asked.serial_number, asked.inventory_item_creation_reason
    made = inventory_rows.make(connection, org_id, serial, name=serial, category_id=category_id, because=because)
    if made is None:
        # Somebody made it known since it was looked for: and took it in, or put it away.
        said = f"{serial} was made known this moment by somebody else; look at it, and send this again if need be"
        raise Refused(Refusal("ITEM_MADE_MEANWHILE", said, Because.CONFLICT))
    return made


def _metrics(connection: Connection, ask: Ask[NewRepair]) -> Metrics:
    asked = ask.arguments
    if asked.flag_color is not None and asked.xp_amount is not None:
        return Metrics(asked.flag_color, asked.xp_amount, is_manual=True)
    return metrics_of(asked.minutes, rules.current(connection, ask.principal.org_id).ticket_xp)


def _order(connection: Connection, ask: Ask[NewRepair], order_id: UUID, item_id: UUID) -> Order:
    values: dict[str, Any] = {
        "id": order_id,
        "org_id": ask.principal.org_id,
        "policy": WorkPolicy.WORKSHOP,
        "state": _STATE,
        "title": ask.arguments.title,
        "item_id": item_id,
        "created_by_id": ask.principal.person_id,
        "trace_id": ask.trace_id,
    }
    try:
        return order_rows.make(connection, values)
    except IntegrityError as error:
        if constraint_of(error) != _ONE_OPEN:
            raise
        raise Refused(_BUSY) from None


CREATE = Command(
    name=_NAME,
    about="Takes a thing into the workshop, with what is to be done to which part.",
    arguments=NewRepair,
    permission=Permission.WORKSHOP_CREATE,
    target=Target("work_order", _lock, MISSING, record=record),
    effect=_create,
    gates=(item_fits, parts_fit, review_is_anothers),
    beginnings=frozenset(state.value for state in BEGINNINGS[WorkPolicy.WORKSHOP][_NAME]),
)
