"""What people do to cases: say what they found, and send somebody (contract 003)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection

from models.enums import CaseState, WorkOrderState
from models.permissions import Permission
from models.queries import cases
from models.queries.scoping import EVERYTHING
from models.work_lifecycle import FIELD, legal_pairs
from pipeline.command import Ask, Command, Effect, Locked, Recorded, Target
from pipeline.commands.case_arguments import CaseDispatch, Verification
from pipeline.core import case_answers, dispatching
from pipeline.core.orders import Order
from pipeline.core.refusing import Because, Refusal
from pipeline.core.written import plain
from pipeline.runtime import (
    automatic_moves,
    case_orders,
    case_targets,
    case_truths,
    case_verdicts,
    order_rows,
    team_rows,
)
from pipeline.runtime.automatic_moves import Moved
from pipeline.runtime.case_orders import Wanted
from pipeline.runtime.case_targets import CaseTarget
from pipeline.runtime.case_verdicts import Finding
from pipeline.runtime.jobs import Emit
from pipeline.runtime.order_rows import Step
from pipeline.runtime.team_rows import Team

_S = WorkOrderState
_MISSING = Refusal("CASE_NOT_FOUND", "your organization has no such case", Because.MISSING)
#: How far an order is, in the contract's words; a team's order goes along these one by one.
_WAY = (_S.CREATED, _S.IN_PROGRESS, _S.DONE)
_PLACE = MappingProxyType({"created": 0, "in_progress": 1, "done": 2})
_LEGAL = frozenset(legal_pairs(FIELD))


@dataclass(frozen=True, slots=True)
class OrderStep:
    """One step of a case's order, before its row of the audit trail has a number."""

    order: Order
    before: WorkOrderState | None
    after: WorkOrderState


@dataclass(frozen=True, slots=True)
class Changed:
    """What a command did beside the case: steps of orders, and tickets that wait for a schedule now."""

    steps: Sequence[OrderStep] = ()
    moved: Sequence[Moved] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def _lock(connection: Connection, ask: Ask[Any]) -> Locked[CaseTarget] | None:
    found = case_targets.lock(connection, ask.principal, ask.target or "")
    if found is None:
        return None
    case, is_reached = found
    if is_reached and isinstance(ask.arguments, CaseDispatch):
        case = replace(case, known=MappingProxyType(_known(connection, ask, case)))
    return Locked(str(case.case_id), case, case.version, is_reached, case.state.value, trace_id=ask.trace_id)


def _known(connection: Connection, ask: Ask[CaseDispatch], case: CaseTarget) -> dict[str, Any]:
    team, names = team_rows.find(connection, case.org_id, ask.arguments.assigned_team)
    return {
        "team": team,
        "names": names,
        "order": case_orders.open_order(connection, case.asset_id, case.number),
    }


def _record(connection: Connection, recorded: Sequence[Recorded]) -> None:
    """Keep the steps of orders, and the moves of tickets, under the number of the command's row."""
    for one in recorded:
        changed = one.effect.subject
        if not isinstance(changed, Changed):
            continue
        order_rows.keep(connection, one.ask.principal.org_id, [_step(one, step, changed) for step in changed.steps])
        if changed.moved:
            numbers = [one.audit_number for _ in changed.moved]
            automatic_moves.keep_moves(connection, changed.moved, numbers, one.command)


def _step(one: Recorded, step: OrderStep, changed: Changed) -> Step:
    return Step(
        order_id=step.order.order_id,
        policy=step.order.policy,
        command=one.command,
        attempt=step.order.attempt,
        before=None if step.before is None else step.before.value,
        after=step.after.value,
        actor_id=one.ask.principal.actor_id,
        actor_role=one.ask.principal.role,
        audit_number=one.audit_number,
        data={"case_id": step.order.case_id, **changed.facts},
    )


CASE: Target[Any, CaseTarget] = Target("case", _lock, _MISSING, record=_record)


def is_open(_ask: Ask[Any], case: CaseTarget) -> Refusal | None:
    """Refuse what is asked of a case that is closed."""
    if case.state is CaseState.OPEN:
        return None
    said = f"{case.code} is closed; what is reported anew opens another one"
    return Refusal("CASE_CLOSED", said, details={"state": case.state.value})


def team_exists(ask: Ask[CaseDispatch], case: CaseTarget) -> Refusal | None:
    """Refuse a team that the organization does not have; tell those that it has."""
    if case.known["team"] is not None:
        return None
    names = ", ".join(case.known["names"]) or "none yet; add one first"
    said = f"assigned_team: there is no team {ask.arguments.assigned_team!a}; the teams are: {names}"
    return Refusal("UNKNOWN_TEAM", said, Because.INVALID, {"fields": {"assigned_team": said}})


def is_to_come(ask: Ask[CaseDispatch], case: CaseTarget) -> Refusal | None:
    """Refuse work that would be late before anybody heard of it; an order that is late may go on as it is due."""
    due_at, order = ask.arguments.due_at, case.known["order"]
    is_known = order is not None and due_at == order.due_at
    if due_at is None or due_at > case.now or is_known:
        return None
    said = f"due_at: {plain(due_at)} is over; name a time to come, or leave it out for the case's SLA"
    return Refusal("INVALID_REQUEST", said, Because.INVALID, {"fields": {"due_at": said}})


def is_answered(ask: Ask[CaseDispatch], case: CaseTarget) -> Refusal | None:
    """Refuse to send somebody while a required verification is open, unless whoever may says why."""
    if not case.is_waiting:
        return None
    if ask.arguments.override_reason is None:
        said = f"{case.code} waits for its verification: answer it first, or say why not as override_reason"
        return Refusal("VERIFICATION_OPEN", said, details={"state": case.state.value})
    if ask.principal.may(Permission.CASES_OVERRIDE):
        return None
    said = f"the role {ask.principal.role} may not override an open verification; it needs cases.override"
    return Refusal("FORBIDDEN", said, Because.FORBIDDEN)


def goes_forward(ask: Ask[CaseDispatch], case: CaseTarget) -> Refusal | None:
    """Refuse a state that is behind the order's, and one that another way leads to."""
    order: Order | None = case.known["order"]
    wanted = ask.arguments.state or "created"
    if order is None:
        ahead = case.ticket_id is not None and _PLACE[wanted] > 0
        said = f"the order follows ticket {case.ticket_id}: leave state out, and go on there"
        return _not_so(None, wanted, said) if ahead else None
    now = case_answers.state_word(order.state.value)
    if ask.arguments.state is None or _PLACE[wanted] == _PLACE[now]:
        return None
    if _PLACE[wanted] < _PLACE[now]:
        return _not_so(order.state, wanted, f"{order.code} is {now}; it does not go back to {wanted}")
    if order.ticket_id is not None:
        return _not_so(order.state, wanted, f"{order.code} follows ticket {order.ticket_id}: go on there")
    if order.assigned_to_id is not None or order.state not in _WAY:
        said = f"{order.code} is {order.state.value}: who has it starts and ends it, with proof"
        return _not_so(order.state, wanted, said)
    return None


def _not_so(before: WorkOrderState | None, wanted: str, said: str) -> Refusal:
    details = {"from_state": None if before is None else before.value, "to_state": wanted}
    return Refusal("INVALID_STATE_TRANSITION", said, details=details)


def _verify(connection: Connection, ask: Ask[Verification], case: CaseTarget) -> Effect:
    who, asked = ask.principal, ask.arguments
    found = Finding(asked.result, asked.notes, who.actor_id, who.email, ask.trace_id or secrets.token_hex(16))
    kept = case_verdicts.keep(connection, case, found)
    place = cases.Named(case.asset_id, case.number)
    row = cases.one(connection, case.org_id, place, case.policy.mode, EVERYTHING)
    orders = [{"id": after.code, "state": after.state.value} for _, after in kept.called.cancelled]
    answer = {
        "verification_task": case_answers.task(kept.task, case.code),
        "case": case_answers.case(row),
        "cancelled_work_orders": orders,
    }
    return Effect(
        case_answers.envelope(answer),
        version=kept.version,
        details={"result": asked.result.value, "task_id": kept.task.id, **kept.truth},
        jobs=kept.jobs,
        subject=Changed(
            [OrderStep(before, before.state, after.state) for before, after in kept.called.cancelled],
            facts={"reason": "false_alarm"},
        ),
    )


def _dispatch(connection: Connection, ask: Ask[CaseDispatch], case: CaseTarget) -> Effect:
    team: Team = case.known["team"]
    order: Order | None = case.known["order"]
    asked = ask.arguments
    if order is None:
        order, steps, moved = _make(connection, ask, case, team)
    else:
        steps, moved = [], []
        order = _change(connection, order, team, asked.due_at)
        steps.append(OrderStep(order, order.state, order.state))
    order, more = _lead(connection, order, asked.state)
    facts = {"team_id": team.team_id, "due_at": plain(order.due_at), "action": case.recommended_action}
    if case.is_waiting:
        facts["reason"] = asked.override_reason
    return Effect(
        case_answers.envelope({"work_order": case_answers.work_order(cases.order(connection, order.order_id))}),
        version=case.version,
        details={**facts, "order_id": order.order_id, "to_state": order.state.value},
        jobs=_after(order, case, ask.trace_id),
        subject=Changed([*steps, *more], moved, facts),
    )


def _make(
    connection: Connection, ask: Ask[CaseDispatch], case: CaseTarget, team: Team
) -> tuple[Order, list[OrderStep], Sequence[Moved]]:
    wanted = Wanted(
        org_id=case.org_id,
        case_id=case.case_id,
        ticket_id=case.ticket_id,
        asset_id=case.asset_id,
        asset=case.asset,
        sla_hours=case.sla_hours,
        team_id=team.team_id,
        due_at=ask.arguments.due_at or dispatching.due_at(case.now, case.sla_hours),
        choice=[{"team_id": str(team.team_id), "name": team.name, "score": None, "reasons": ["a person chose it"]}],
        trace_id=ask.trace_id,
        actor=ask.principal.email,
    )
    begun = case_orders.begin(connection, [wanted])
    (made,) = begun.made
    order = order_rows.read(connection, made.order_id)
    return order, [OrderStep(order, None, order.state)], begun.moved


def _change(connection: Connection, order: Order, team: Team, due_at: datetime | None) -> Order:
    """Give an order to a team, due anew where somebody says so: then it is told of anew, too."""
    changes: dict[str, Any] = {"team_id": team.team_id}
    if due_at is not None and due_at != order.due_at:
        changes |= {"due_at": due_at, "due_soon_told_at": None, "overdue_told_at": None}
    return order_rows.save(connection, order, changes)


def _lead(connection: Connection, order: Order, wanted: str | None) -> tuple[Order, list[OrderStep]]:
    """Lead a team's order forward to a state, step by step."""
    steps: list[OrderStep] = []
    if wanted is None or order.state not in _WAY:
        return order, steps
    for state in _WAY[_WAY.index(order.state) + 1 : _PLACE[wanted] + 1]:
        if (order.state.value, state.value) not in _LEGAL:
            raise ValueError(f"{order.state} to {state} is no move of an order")
        changes = {"started_at": order.now} if state is _S.IN_PROGRESS else {}
        steps.append(OrderStep(order, order.state, state))
        order = order_rows.save(connection, order, changes, state)
    return order, steps


def _after(order: Order, case: CaseTarget, trace_id: str | None) -> list[Emit]:
    """Return what follows: the case of an order that is done is closed."""
    if order.state is not _S.DONE:
        return []
    return [case_truths.settling(case.org_id, case.case_id, trace_id)]


VERIFY = Command(
    name="case.verify",
    about="Says what somebody found who looked; the case, its question and its order follow.",
    arguments=Verification,
    permission=Permission.CASES_VERIFY,
    target=CASE,
    effect=_verify,
    gates=(is_open,),
)
DISPATCH = Command(
    name="case.dispatch",
    about="Makes the work order of a case, or gives it to another team.",
    arguments=CaseDispatch,
    permission=Permission.CASES_DISPATCH,
    target=CASE,
    effect=_dispatch,
    gates=(is_open, is_answered, team_exists, is_to_come, goes_forward),
)
#: What `pipeline.table` finds here.
COMMANDS = (VERIFY, DISPATCH)
