"""What commands on work orders share: the order they are done to, who may, and what a change is answered with.

One model, two policies: the field's commands and the workshop's differ in their table of moves and in what they
answer, not in how an order is locked, versioned, moved and told of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection

from models.enums import WorkOrderState, WorkPolicy
from models.queries.scoping import EVERYTHING, Reached
from models.work_lifecycle import moves_of, states_before
from pipeline.command import Ask, Effect, Locked, Move, Recorded, Target
from pipeline.core.orders import Order
from pipeline.core.principals import Principal
from pipeline.core.refusing import Because, Refusal
from pipeline.runtime import order_rows
from pipeline.runtime.jobs import Emit
from pipeline.runtime.order_rows import Step

#: Looks up, under the order's lock, what the gates of one command need; by name in `Order.known`.
Look = Callable[[Connection, Ask[Any], Order], Mapping[str, Any]]
#: What a changed order is answered with, by its policy.
Say = Callable[[Connection, Order], Mapping[str, Any]]

MISSING = Refusal("WORK_ORDER_NOT_FOUND", "your organization has no such work order", Because.MISSING)
#: Contract 004 answers 403 for an order of somebody else; an unknown one is 404 (decision 40).
NOT_YOURS = Refusal(
    "FORBIDDEN", "this work order is not yours, or not of your zone", Because.FORBIDDEN, recorded_as="FORBIDDEN_SCOPE"
)


def order_target(
    policy: WorkPolicy, look: Look | None = None, reached: Callable[[Principal], Reached] | None = None
) -> Target[Any, Order]:
    """Return the target of a command on one order of a policy, by its id or code.

    `reached` says how far who asks reaches; without it an order of the workshop is reached by the whole organization
    (contract 002), and one of the field by those it concerns (contract 004).
    """
    how_far = reached or (order_rows.reach if policy is WorkPolicy.FIELD else lambda _: EVERYTHING)

    def lock(connection: Connection, ask: Ask[Any]) -> Locked[Order] | None:
        found = order_rows.lock(connection, ask.principal, ask.target or "", policy, how_far(ask.principal))
        if found is None:
            return None
        order, is_reached = found
        if look is not None and is_reached:
            order = replace(order, known=MappingProxyType(dict(look(connection, ask, order))))
        return Locked(str(order.order_id), order, order.version, is_reached, order.state.value, trace_id=order.trace_id)

    return Target("work_order", lock, MISSING, NOT_YOURS, record)


def lifecycle(policy: WorkPolicy, name: str) -> dict[str, Any]:
    """Return the columns of a command's row that come from the table of the lifecycles."""
    return {"name": name, "from_states": states_before(policy, name), "moves": moves_of(policy, name)}


def by_assignee(ask: Ask[Any], order: Order) -> Refusal | None:
    """Refuse everybody but the person the order was given to."""
    if ask.principal.person_id is not None and ask.principal.person_id == order.assigned_to_id:
        return None
    return Refusal("NOT_ASSIGNED", "only the technician it was given to may do this", Because.FORBIDDEN)


def not_of_ticket(_ask: Ask[Any], order: Order) -> Refusal | None:
    """Refuse what is done to the ticket whose field work this order follows (decision 40)."""
    if order.ticket_id is None:
        return None
    said = f"this order follows the field work of ticket {order.ticket_id}: do it there"
    return Refusal("FOLLOWS_TICKET", said, details={"ticket_id": str(order.ticket_id)})


def changed(
    connection: Connection,
    order: Order,
    say: Say,
    changes: Mapping[str, Any] | None = None,
    state: WorkOrderState | None = None,
    *,
    details: Mapping[str, Any] | None = None,
    more: Mapping[str, Any] | None = None,
    status: int = 200,
    jobs: Sequence[Emit] = (),
) -> Effect:
    """Change an order and lead it to `state`; answer it in the words of its contract.

    `details` go to the audit trail and to the order's steps; `more` beside the answer's fields.
    """
    after = order_rows.save(connection, order, changes or {}, state)
    answer = {**say(connection, after), **(more or {})}
    moves = [Move(order.state.value, after.state.value)] if after.state is not order.state else []
    return Effect(
        answer, status=status, version=after.version, moves=moves, details=dict(details or {}), jobs=jobs,
        subject=after,
    )  # fmt: skip


def record(connection: Connection, recorded: Sequence[Recorded]) -> None:
    """Keep a step for every command that was done to an order, whether it changed the state or not."""
    steps = [step for one in recorded for step in _steps(one)]
    if steps:
        order_rows.keep(connection, recorded[0].ask.principal.org_id, steps)


def _steps(one: Recorded) -> list[Step]:
    order = one.effect.subject if isinstance(one.effect.subject, Order) else one.subject
    state = order.state.value
    moves = one.effect.moves or [Move(state, state)]
    return [
        Step(
            order_id=order.order_id,
            policy=order.policy,
            command=one.command,
            attempt=order.attempt,
            before=move.before,
            after=move.after,
            actor_id=one.ask.principal.actor_id,
            actor_role=one.ask.principal.role,
            audit_number=one.audit_number,
            data=one.effect.details,
        )
        for move in moves
    ]
