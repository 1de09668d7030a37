"""Commands on repairs before and beside the work itself: taken in, reviewed, judged, given to somebody, given up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from models.enums import InventoryState, NotificationKind, WorkOrderState, WorkPolicy
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect
from pipeline.commands.orders import changed, lifecycle, order_target
from pipeline.commands.workshop_arguments import Cancelling, ManualMetrics, Nothing, RepairAssignment
from pipeline.commands.workshop_intake import CREATE
from pipeline.core.orders import Order
from pipeline.core.refusing import Because, Refusal
from pipeline.runtime import inventory_rows, repair_rows, session_rows
from pipeline.runtime.notifying import holder, tell, tell_of_giving

__all__ = ["ASSIGN", "CANCEL", "COMMANDS", "CREATE", "REVIEW", "SET_METRICS"]

_S, _WORKSHOP = WorkOrderState, WorkPolicy.WORKSHOP


def is_person(ask: Ask[Any], _order: Order) -> Refusal | None:
    """Refuse a caller that is nobody we know: a review is somebody's."""
    if ask.principal.person_id is not None:
        return None
    return Refusal("FORBIDDEN", "this is for people who are members, not for a system", Because.FORBIDDEN)


def not_by_creator(ask: Ask[Any], order: Order) -> Refusal | None:
    """Refuse a review by who took it in (decision 45)."""
    if ask.principal.person_id != order.created_by_id:
        return None
    return Refusal("FOUR_EYES", "who took it in may not review it; ask somebody else", Because.CONFLICT)


def not_by_assignee(ask: Ask[Any], order: Order) -> Refusal | None:
    """Refuse who works on it to say what that is worth."""
    if ask.principal.person_id != order.assigned_to_id:
        return None
    return Refusal("FOUR_EYES", "who works on it may not say what it is worth", Because.CONFLICT)


def is_reviewed(_ask: Ask[Any], order: Order) -> Refusal | None:
    """Refuse before the review was approved (contract 002)."""
    if order.known["repair"].is_approved:
        return None
    return Refusal("REVIEW_REQUIRED", "its review must be approved before it is given to somebody", Because.CONFLICT)


def is_technician(_ask: Ask[RepairAssignment], order: Order) -> Refusal | None:
    """Refuse to give it to somebody who does not work in the workshop."""
    if order.known["is_technician"]:
        return None
    return Refusal("INVALID_REQUEST", "technician_id: no member who may work in the workshop", Because.INVALID)


def not_by_judge(_ask: Ask[RepairAssignment], order: Order) -> Refusal | None:
    """Refuse to give it to somebody who said what it is worth, as they could not say it afterwards."""
    if not order.known["has_judged"]:
        return None
    return Refusal("FOUR_EYES", "who said what it is worth may not work on it; ask somebody else", Because.CONFLICT)


def _see(connection: Connection, _ask: Ask[Any], order: Order) -> Mapping[str, Any]:
    return {"repair": repair_rows.repair(connection, order.order_id)}


def _see_technician(connection: Connection, ask: Ask[RepairAssignment], order: Order) -> Mapping[str, Any]:
    person_id, work = ask.arguments.technician_id, Permission.WORKSHOP_WORK
    is_one = repair_rows.may(connection, order.org_id, person_id, work)
    has_judged = repair_rows.has_judged(connection, order, person_id)
    return {**_see(connection, ask, order), "is_technician": is_one, "has_judged": has_judged}


def _review(connection: Connection, ask: Ask[Nothing], order: Order) -> Effect:
    if order.known["repair"].is_approved:
        said = repair_rows.say(connection, order)
        return Effect(said, version=order.version, details={"was_approved": True}, subject=order)
    assert ask.principal.person_id is not None
    repair_rows.approve(connection, order.order_id, ask.principal.person_id)
    return changed(connection, order, repair_rows.say, state=_S.NEW)


def _set_metrics(connection: Connection, ask: Ask[ManualMetrics], order: Order) -> Effect:
    asked, before = ask.arguments, order.known["repair"].metrics
    assert ask.principal.person_id is not None
    repair_rows.judge(connection, order.order_id, asked.flag_color, asked.xp_amount)
    repair_rows.approve(connection, order.order_id, ask.principal.person_id)
    told = {
        "flag_color": {"before": before.color.value, "after": asked.flag_color.value},
        "xp_amount": {"before": before.xp, "after": asked.xp_amount},
    }
    after = _S.NEW if order.state is _S.UNDER_REVIEW else None
    return changed(connection, order, repair_rows.say, state=after, details=told)


def _assign(connection: Connection, ask: Ask[RepairAssignment], order: Order) -> Effect:
    person_id, before = ask.arguments.technician_id, order.assigned_to_id
    told = {"technician_id": str(person_id), "before_id": None if before is None else str(before)}
    if person_id == before:
        said = repair_rows.say(connection, order)
        return Effect(said, version=order.version, details=told, subject=order)
    changes = {
        "assigned_to_id": person_id,
        "assigned_by_id": ask.principal.person_id,
        "assigned_at": order.now,
        "attempt": order.attempt + 1,
    }
    after = None if order.state in {_S.ASSIGNED, _S.REWORK} else _S.ASSIGNED
    jobs = tell_of_giving(connection, order, person_id)
    return changed(connection, order, repair_rows.say, changes, after, details=told, jobs=jobs)


def _cancel(connection: Connection, ask: Ask[Cancelling], order: Order) -> Effect:
    reason = ask.arguments.reason
    session_rows.end(connection, order, ask.principal.actor_id, {"reason": reason})
    assert order.item_id is not None
    item = inventory_rows.by_id(connection, order.org_id, order.item_id)
    if item is not None and item.state is InventoryState.IN_SERVICE:
        inventory_rows.set_state(connection, item.item_id, InventoryState.READY)
    kind, reference = NotificationKind.CANCELLED, f"cancelled:{order.order_id}"
    jobs = tell(connection, order, kind, holder(order), reference, reason=reason)
    return changed(
        connection, order, repair_rows.say, state=_S.CANCELLED, details={"reason": reason}, jobs=jobs
    )  # fmt: skip


REVIEW = Command(
    **lifecycle(_WORKSHOP, "workshop.review"),
    about="Approves what a repair is to take; somebody who did not take it in.",
    arguments=Nothing,
    permission=Permission.WORKSHOP_REVIEW,
    target=order_target(_WORKSHOP, _see),
    effect=_review,
    gates=(is_person, not_by_creator),
)
SET_METRICS = Command(
    **lifecycle(_WORKSHOP, "workshop.set_metrics"),
    about="Sets colour and points of a repair by hand, which approves its review as well.",
    arguments=ManualMetrics,
    permission=Permission.WORKSHOP_METRICS,
    target=order_target(_WORKSHOP, _see),
    effect=_set_metrics,
    gates=(is_person, not_by_creator, not_by_assignee),
)
ASSIGN = Command(
    **lifecycle(_WORKSHOP, "workshop.assign"),
    about="Gives a reviewed repair to a technician, or to another one.",
    arguments=RepairAssignment,
    permission=Permission.WORKSHOP_ASSIGN,
    target=order_target(_WORKSHOP, _see_technician),
    effect=_assign,
    gates=(is_reviewed, is_technician, not_by_judge),
)
CANCEL = Command(
    **lifecycle(_WORKSHOP, "workshop.cancel"),
    about="Gives a repair up; its work session is stopped, and what was in service is ready again.",
    arguments=Cancelling,
    permission=Permission.WORKSHOP_CANCEL,
    target=order_target(_WORKSHOP),
    effect=_cancel,
)
#: What `pipeline.table` finds here.
COMMANDS = (CREATE, REVIEW, SET_METRICS, ASSIGN, CANCEL)
