"""What a person says was true of a case, whatever was found before (issue 9: truth)."""

from __future__ import annotations

import secrets

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from models.enums import CaseState, TruthSource
from models.permissions import Permission
from models.queries import cases
from models.queries.cases import Named
from pipeline.command import Ask, Command, Effect
from pipeline.commands.cases import CASE, Changed, OrderStep
from pipeline.commands.field_arguments import Reason
from pipeline.core import case_answers
from pipeline.core.written import plain
from pipeline.runtime import case_orders, case_truths, settling
from pipeline.runtime.case_orders import Called
from pipeline.runtime.case_targets import CaseTarget


class Correction(BaseModel):
    """Whether something was wrong, and how that is known."""

    model_config = ConfigDict(extra="forbid")

    is_real: bool = Field(strict=True, description="True when something was wrong.")
    note: Reason = Field(description="How that is known; for colleagues.")


def _tell(connection: Connection, ask: Ask[Correction], case: CaseTarget) -> Effect:
    """Keep it, and bring the case up to date at once: its asset is locked."""
    said, who = ask.arguments, ask.principal
    case_truths.keep(
        connection,
        case.case_id,
        TruthSource.PERSON,
        f"person:{secrets.token_hex(8)}",
        is_real=said.is_real,
        order_id=None,
        actor_id=who.actor_id,
        note=said.note,
    )
    settled = settling.bring_up(connection, [case.case_id])
    called = Called()
    if case.state is CaseState.OPEN and not said.is_real:
        called = case_orders.call_off(
            connection, case.asset_id, case.number, actor=who.email, code=case.code, trace_id=ask.trace_id
        )
    return _effect(connection, ask, case, called, is_closed=settled.closed > 0)


def _effect(
    connection: Connection, ask: Ask[Correction], case: CaseTarget, called: Called, *, is_closed: bool
) -> Effect:
    said, who = ask.arguments, ask.principal
    row = cases.one(connection, case.org_id, Named(case.asset_id, case.number), case.policy.mode, ("TRUE", {}))
    assert row is not None
    answer = {
        "case": case_answers.case(row),
        "truth": {
            "source": TruthSource.PERSON.value,
            "is_real": said.is_real,
            "note": said.note,
            "actor_id": who.actor_id,
            "at": plain(case.now),
        },
        "cancelled_work_orders": [{"id": after.code, "state": after.state.value} for _, after in called.cancelled],
    }
    details = {
        "reason": said.note,
        "is_closed": is_closed,
        **case_truths.said(TruthSource.PERSON, is_real=said.is_real),
    }
    steps = [OrderStep(before, before.state, after.state) for before, after in called.cancelled]
    return Effect(
        case_answers.envelope(answer),
        version=row.version,
        details=details,
        jobs=called.jobs,
        subject=Changed(steps, facts={"reason": "not_real"}),
    )


TELL = Command(
    name="case.truth",
    about="Says whether something was wrong, whatever was found before; the case is closed when nothing was.",
    arguments=Correction,
    permission=Permission.CASES_VERIFY,
    target=CASE,
    effect=_tell,
)
#: What `pipeline.table` finds here.
COMMANDS = (TELL,)
