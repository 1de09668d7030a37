"""Quality control of repairs: passed or sent back, by somebody who did not work on it (contract 002)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import Connection, text

from models.enums import InventoryState, NotificationKind, QaResult, TruthSource, WorkOrderState, WorkPolicy
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect
from pipeline.commands.field_arguments import Words
from pipeline.commands.orders import changed, lifecycle, order_target
from pipeline.core.findings import REPAIRED
from pipeline.core.orders import Order
from pipeline.core.refusing import Because, Refusal
from pipeline.core.xp import Checked, Grant, of_check, of_pass
from pipeline.runtime import case_truths, inventory_rows, notifying, repair_rows, rules, session_rows, xp_rows
from pipeline.runtime.case_truths import By
from pipeline.runtime.jobs import Emit

#: Everybody whose work it is or ever was, in any attempt; and whether a check of it failed before.
_KNOWN = text("""
    SELECT ARRAY(SELECT s.technician_id FROM work_sessions s WHERE s.order_id = :order
                  UNION SELECT c.technician_id FROM quality_checks c WHERE c.order_id = :order) AS workers,
           EXISTS (SELECT FROM quality_checks c WHERE c.order_id = :order AND c.result = 'FAIL') AS has_failed
""")
_CHECK = text("""
    INSERT INTO quality_checks (org_id, order_id, technician_id, inspector_id, result, notes)
    VALUES (:org, :order, :technician, :inspector, :result, :notes) RETURNING id
""")
_ENDS = {
    QaResult.PASS: (NotificationKind.QC_PASSED, WorkOrderState.DONE),
    QaResult.FAIL: (NotificationKind.QC_FAILED, WorkOrderState.REWORK),
}


class QualityCheck(BaseModel):
    """What an inspector has to say, if anything; the technician reads it."""

    model_config = ConfigDict(extra="forbid")

    notes: Annotated[Words, StringConstraints(strip_whitespace=True, max_length=2000)] | None = Field(default=None)


def _look(connection: Connection, _ask: Ask[Any], order: Order) -> Mapping[str, Any]:
    row = connection.execute(_KNOWN, {"order": order.order_id}).one()
    return {"workers": frozenset(row.workers), "has_failed": row.has_failed}


def four_eyes(ask: Ask[Any], order: Order) -> Refusal | None:
    """Refuse whoever worked on it, in any attempt, and whoever is nobody that could answer for it."""
    inspector_id = ask.principal.person_id
    if inspector_id is None:
        return Refusal("FORBIDDEN", "a check is made by a person of the organization", Because.FORBIDDEN)
    if inspector_id == order.assigned_to_id or inspector_id in order.known["workers"]:
        return Refusal("FOUR_EYES", "who worked on it does not check it: somebody else must")
    return None


def _pass(connection: Connection, ask: Ask[QualityCheck], order: Order) -> Effect:
    checked = _checked(connection, ask, order, QaResult.PASS)
    inventory_rows.set_state(connection, _there(order.item_id), InventoryState.READY)
    points = of_pass(checked, rules.current(connection, order.org_id).ticket_xp)
    details = _told(connection, ask, order, checked, points)
    by = By(TruthSource.QC, f"qc:{checked.check_id}", ask.principal.actor_id)
    told = case_truths.of_order(connection, order, by, REPAIRED)
    return _done(connection, ask, order, {**details, **told.details}, told.jobs)


def _fail(connection: Connection, ask: Ask[QualityCheck], order: Order) -> Effect:
    checked = _checked(connection, ask, order, QaResult.FAIL)
    points = [of_check(checked, rules.current(connection, order.org_id).ticket_xp)]
    return _done(connection, ask, order, _told(connection, ask, order, checked, points))


def _checked(connection: Connection, ask: Ask[QualityCheck], order: Order, result: QaResult) -> Checked:
    """Keep the check; return it as points see it."""
    repair = repair_rows.repair(connection, order.order_id)
    technician_id, inspector_id = _there(order.assigned_to_id), _there(ask.principal.person_id)
    values = {
        "org": order.org_id,
        "order": order.order_id,
        "technician": technician_id,
        "inspector": inspector_id,
        "result": result.value,
        "notes": ask.arguments.notes or None,
    }
    return Checked(
        order_id=order.order_id,
        check_id=connection.execute(_CHECK, values).scalar_one(),
        result=result,
        technician_id=technician_id,
        inspector_id=inspector_id,
        xp_amount=repair.metrics.xp,
        minutes=repair.minutes,
        active_seconds=session_rows.active_seconds(connection, order.order_id),
        has_failed=order.known["has_failed"],
    )


def _told(
    connection: Connection, ask: Ask[QualityCheck], order: Order, checked: Checked, points: Sequence[Grant]
) -> dict[str, Any]:
    """Give the points; return what is told of the check."""
    written = xp_rows.grant(connection, order.org_id, points, ask.principal.actor_id)
    return {
        "check_id": checked.check_id,
        "result": checked.result.value,
        "technician_id": checked.technician_id,
        "notes": ask.arguments.notes or None,
        "xp": {one.kind.value: one.amount for one in written},
    }


def _done(
    connection: Connection,
    ask: Ask[QualityCheck],
    order: Order,
    details: Mapping[str, Any],
    following: Sequence[Emit] = (),
) -> Effect:
    """Lead the order on, and tell the technician."""
    kind, state = _ENDS[QaResult(details["result"])]
    reference, notes = f"qc:{details['check_id']}", ask.arguments.notes or None
    told = notifying.tell(connection, order, kind, [details["technician_id"]], reference, reason=notes)
    jobs = [*told, *following]
    return changed(connection, order, repair_rows.say, {}, state, details=details, jobs=jobs)


def _there(found: UUID | None) -> UUID:
    """Return what the state and the gates before promise."""
    assert found is not None
    return found


_TARGET = order_target(WorkPolicy.WORKSHOP, _look)
PASS = Command(
    **lifecycle(WorkPolicy.WORKSHOP, "workshop.qc_pass"),
    about="Passes a repair: it is done, its item is ready, and points are given once.",
    arguments=QualityCheck,
    permission=Permission.WORKSHOP_QC,
    target=_TARGET,
    gates=(four_eyes,),
    effect=_pass,
)
FAIL = Command(
    **lifecycle(WorkPolicy.WORKSHOP, "workshop.qc_fail"),
    about="Sends a repair back to be reworked.",
    arguments=QualityCheck,
    permission=Permission.WORKSHOP_QC,
    target=_TARGET,
    gates=(four_eyes,),
    effect=_fail,
)
#: What `pipeline.table` finds here.
COMMANDS = (PASS, FAIL)
