"""What a technician does to the orders that were given to them: start, done, return (contract 004)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from models.enums import NotificationKind, PhotoKind, TruthSource, WorkOrderState, WorkPolicy
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect
from pipeline.commands.orders import by_assignee, changed, lifecycle, not_of_ticket, order_target
from pipeline.commands.work_order_arguments import Finish, Nothing, Reasoned, invalid, says_why
from pipeline.core import findings, order_answers
from pipeline.core.orders import Order
from pipeline.core.refusing import Refusal
from pipeline.runtime import case_truths, checklist_rows, notifying, photo_rows
from pipeline.runtime.case_truths import By

_S = WorkOrderState


def _look_for_proof(connection: Connection, _ask: Ask[Any], order: Order) -> Mapping[str, Any]:
    return {"proofs": photo_rows.count_of(connection, order.order_id, order.attempt, PhotoKind.COMPLETION)}


def is_proved(_ask: Ask[Finish], order: Order) -> Refusal | None:
    """Refuse to call work done without a photo of it, taken since it was given to who did it (contract 004)."""
    if order.known["proofs"]:
        return None
    return invalid("fixPhoto", "add a photo of the finished work first, with kind COMPLETION", "FIX_PHOTO_MISSING")


def _start(connection: Connection, _ask: Ask[Nothing], order: Order) -> Effect:
    return changed(
        connection, order, lambda _, after: order_answers.started(after), {"started_at": order.now}, _S.IN_PROGRESS
    )


def _done(connection: Connection, ask: Ask[Finish], order: Order) -> Effect:
    is_released = checklist_rows.release_without(connection, order)
    found = findings.of_completion(ask.arguments.finding, has_evidence=bool(order.known["proofs"]))
    by = By(TruthSource.FIELD, f"order:{order.order_id}:{order.attempt}", ask.principal.actor_id)
    told = case_truths.of_order(connection, order, by, found)
    return changed(
        connection,
        order,
        lambda _, after: order_answers.closed(after),
        {"fix_note": ask.arguments.fix_note or None},
        _S.DONE,
        details={"is_released": is_released, **told.details},
        more={"parentReleased": is_released},
        jobs=told.jobs,
    )


def _return(connection: Connection, ask: Ask[Reasoned], order: Order) -> Effect:
    reason = ask.arguments.reason
    reference = f"returned:{order.order_id}:{order.attempt}"
    leads = notifying.leads_of(connection, order)
    return changed(
        connection,
        order,
        lambda _, after: order_answers.returned(after),
        {"return_reason": reason},
        _S.RETURNED,
        details={"reason": reason},
        jobs=notifying.tell(connection, order, NotificationKind.RETURNED, leads, reference, reason=reason),
    )


START = Command(
    **lifecycle(WorkPolicy.FIELD, "work_order.start"),
    about="Begins the work.",
    arguments=Nothing,
    permission=Permission.WORK_ORDERS_WORK,
    target=order_target(WorkPolicy.FIELD),
    effect=_start,
    gates=(by_assignee, not_of_ticket),
)
DONE = Command(
    **lifecycle(WorkPolicy.FIELD, "work_order.done"),
    about="Ends the work, proved by a photo, and releases what it held.",
    arguments=Finish,
    permission=Permission.WORK_ORDERS_WORK,
    target=order_target(WorkPolicy.FIELD, _look_for_proof),
    effect=_done,
    gates=(by_assignee, not_of_ticket, is_proved),
)
RETURN = Command(
    **lifecycle(WorkPolicy.FIELD, "work_order.return"),
    about="Gives the order back to who leads, with the reason.",
    arguments=Reasoned,
    permission=Permission.WORK_ORDERS_WORK,
    target=order_target(WorkPolicy.FIELD),
    effect=_return,
    gates=(by_assignee, not_of_ticket, says_why),
)
#: What `pipeline.table` finds here.
COMMANDS = (START, DONE, RETURN)
