"""What leads do to work orders: give them to somebody, to others than ours, end what others did, give them up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from models.enums import NotificationKind, PhotoKind, TruthSource, WorkOrderState, WorkPolicy
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect
from pipeline.commands.orders import changed, lifecycle, not_of_ticket, order_target
from pipeline.commands.work_order_arguments import (
    Assignment,
    OutsourcedEnd,
    Outsourcing,
    Reasoned,
    invalid,
    says_why,
)
from pipeline.core import findings, order_answers
from pipeline.core.orders import Order
from pipeline.core.refusing import Refusal
from pipeline.core.written import plain
from pipeline.runtime import case_truths, checklist_rows, notifying, order_staff, photo_rows
from pipeline.runtime.case_truths import By
from pipeline.runtime.jobs import Emit
from pipeline.runtime.notifying import holder
from pipeline.runtime.order_staff import Fitness

_S = WorkOrderState
#: Somebody has it in hand there: given to them again, nothing changes.
_HELD = frozenset({_S.ASSIGNED, _S.IN_PROGRESS})
#: Told anew of every giving.
_UNTOLD: Mapping[str, Any] = {"due_soon_told_at": None, "overdue_told_at": None}


def _look_at_technician(connection: Connection, ask: Ask[Assignment], order: Order) -> Mapping[str, Any]:
    return {"fitness": order_staff.fitness(connection, order, ask.arguments.technician_id)}


def is_technician(_ask: Ask[Assignment], order: Order) -> Refusal | None:
    """Refuse who does not work orders, or is no active member, or does not reach the order's place."""
    fitness: Fitness = order.known["fitness"]
    if not fitness.is_technician:
        return invalid("technicianId", "this is no active member who works orders", "UNKNOWN_TECHNICIAN")
    if not fitness.is_in_zone:
        return invalid("technicianId", "the order is not of a zone of this technician", "TECHNICIAN_OUT_OF_ZONE")
    return None


def _assign(connection: Connection, ask: Ask[Assignment], order: Order) -> Effect:
    person_id = ask.arguments.technician_id
    facts = {"from": plain(order.assigned_to_id), "to": str(person_id)}
    if order.assigned_to_id == person_id and order.state in _HELD:
        return Effect(order_answers.given(order), version=order.version, details=facts, subject=order)
    changes = {
        "assigned_to_id": person_id,
        "assigned_by_id": ask.principal.person_id,
        "assigned_at": order.now,
        "attempt": order.attempt + 1,
        "started_at": None,
        **_UNTOLD,
    }
    jobs = notifying.tell_of_giving(connection, order, person_id)
    return changed(connection, order, _given, changes, _S.ASSIGNED, details=facts, jobs=jobs)


def _outsource(connection: Connection, ask: Ask[Outsourcing], order: Order) -> Effect:
    asked = ask.arguments
    facts = {"from": plain(order.assigned_to_id), "vendor": asked.vendor, "reason": asked.reason or None}
    changes = {"outsourced_to": asked.vendor, "assigned_to_id": None, "started_at": None, **_UNTOLD}
    reference = f"outsourced:{order.order_id}:{order.version}"
    jobs = notifying.tell(connection, order, NotificationKind.REASSIGNED, holder(order), reference)
    return changed(connection, order, _given, changes, _S.OUTSOURCED, details=facts, jobs=jobs)


def _complete(connection: Connection, ask: Ask[OutsourcedEnd], order: Order) -> Effect:
    changes = {"fix_note": ask.arguments.note or None}
    has_evidence = photo_rows.count_of(connection, order.order_id, order.attempt, PhotoKind.COMPLETION) > 0
    found = findings.of_completion(ask.arguments.finding, has_evidence=has_evidence)
    by = By(TruthSource.FIELD, f"order:{order.order_id}:{order.attempt}:vendor", ask.principal.actor_id)
    told = case_truths.of_order(connection, order, by, found)
    facts = {"vendor": order.outsourced_to, **told.details}
    return _end(connection, order, _S.DONE, changes=changes, facts=facts, jobs=told.jobs)


def _cancel(connection: Connection, ask: Ask[Reasoned], order: Order) -> Effect:
    reason, reference = ask.arguments.reason, f"cancelled:{order.order_id}"
    jobs = notifying.tell(connection, order, NotificationKind.CANCELLED, holder(order), reference, reason=reason)
    return _end(connection, order, _S.CANCELLED, facts={"reason": reason}, jobs=jobs)


def _end(
    connection: Connection,
    order: Order,
    state: WorkOrderState,
    *,
    facts: Mapping[str, Any],
    changes: Mapping[str, Any] | None = None,
    jobs: Sequence[Emit] = (),
) -> Effect:
    is_released = checklist_rows.release_without(connection, order)
    return changed(
        connection,
        order,
        lambda _, after: order_answers.closed(after),
        changes,
        state,
        details={**facts, "is_released": is_released},
        more={"parentReleased": is_released},
        jobs=jobs,
    )


def _given(_connection: Connection, order: Order) -> Mapping[str, Any]:
    return order_answers.given(order)


ASSIGN = Command(
    **lifecycle(WorkPolicy.FIELD, "work_order.assign"),
    about="Gives the order to a technician, or takes it to another one.",
    arguments=Assignment,
    permission=Permission.WORK_ORDERS_ASSIGN,
    target=order_target(WorkPolicy.FIELD, _look_at_technician),
    effect=_assign,
    gates=(not_of_ticket, is_technician),
)
OUTSOURCE = Command(
    **lifecycle(WorkPolicy.FIELD, "work_order.outsource"),
    about="Lets somebody do it who is not ours.",
    arguments=Outsourcing,
    permission=Permission.WORK_ORDERS_OUTSOURCE,
    target=order_target(WorkPolicy.FIELD),
    effect=_outsource,
    gates=(not_of_ticket,),
)
COMPLETE_OUTSOURCED = Command(
    **lifecycle(WorkPolicy.FIELD, "work_order.complete_outsourced"),
    about="Ends what a vendor has done, and releases what it held.",
    arguments=OutsourcedEnd,
    permission=Permission.WORK_ORDERS_COMPLETE_OUTSOURCED,
    target=order_target(WorkPolicy.FIELD),
    effect=_complete,
    gates=(not_of_ticket,),
)
CANCEL = Command(
    **lifecycle(WorkPolicy.FIELD, "work_order.cancel"),
    about="Gives the order up, with the reason, and releases what it held.",
    arguments=Reasoned,
    permission=Permission.WORK_ORDERS_CANCEL,
    target=order_target(WorkPolicy.FIELD),
    effect=_cancel,
    gates=(not_of_ticket, says_why),
)
#: What `pipeline.table` finds here.
COMMANDS = (ASSIGN, OUTSOURCE, COMPLETE_OUTSOURCED, CANCEL)
