"""Work orders in the database: how far somebody reaches, locked and read, changed, and every step of them kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row, text

from models.enums import Reach, TicketPriority, WorkOrderState, WorkPolicy
from models.permissions import Permission
from models.queries.order_scoping import order_condition
from models.queries.scoping import Reached
from pipeline.core.orders import OVER, Order
from pipeline.core.principals import Principal
from pipeline.core.written import read_id

_FIELDS = frozenset(one.name for one in fields(Order)) - {"known"}
_PLAIN = _FIELDS - {"order_id", "now"}
COLUMNS = ", ".join(("w.id AS order_id", "now() AS now", *(f"w.{name}" for name in sorted(_PLAIN))))
#: Read after it is locked, by a statement of its own: one statement would show the order as it was before the wait.
_LOCK = """
    SELECT w.id, ({reached}) AS is_reached FROM work_orders w
     WHERE w.org_id = :org AND w.policy = :policy AND w.{named} = :name FOR NO KEY UPDATE
"""
_READ = text(f"SELECT {COLUMNS} FROM work_orders w WHERE w.id = :order")  # noqa: S608 - names from above
#: What a command may change; version and times of its end follow from the change.
CHANGEABLE = frozenset(
    (
        *("title", "priority", "site_id", "asset_id", "team_id", "assigned_to_id", "assigned_by_id", "assigned_at"),
        *("attempt", "instructions", "return_reason", "fix_note", "outsourced_to", "started_at", "due_at"),
        *("due_soon_told_at", "overdue_told_at"),
    )
)
_INSERT = """
    INSERT INTO work_orders ({names}) VALUES ({values}) RETURNING id
"""
_STEPS = text("""
    INSERT INTO work_order_events
           (org_id, order_id, policy, command, attempt, from_state, to_state, actor_id, actor_role, data, audit_number)
    SELECT :org, s.order_id, s.policy, s.command, s.attempt, s.before, s.after, s.actor, s.role, s.data, s.number
      FROM unnest(CAST(:orders AS uuid[]), CAST(:policies AS text[]), CAST(:commands AS text[]),
                  CAST(:attempts AS smallint[]), CAST(:before AS text[]), CAST(:after AS text[]),
                  CAST(:actors AS text[]), CAST(:roles AS text[]), CAST(:data AS jsonb[]), CAST(:numbers AS bigint[]))
           WITH ORDINALITY
        AS s(order_id, policy, command, attempt, before, after, actor, role, data, number, position)
     ORDER BY s.position
""")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an order, as it is kept: what was done, from which state to which, by whom."""

    order_id: UUID
    policy: WorkPolicy
    command: str
    attempt: int
    before: str | None
    after: str
    actor_id: str
    actor_role: str | None
    audit_number: int
    data: Mapping[str, Any] = field(default_factory=dict)


def reach(principal: Principal, alias: str = "w") -> Reached:
    """Return the condition on `work_orders` that keeps a query within the principal's reach, with its parameters.

    Who works and gives nobody work sees what is theirs; who only ends what others do sees what went out (contract 004).
    By permissions, since an organization may call its roles as it likes.
    """
    scope = principal.scope
    return order_condition(
        reach=scope.reach,
        person_id=principal.person_id,
        account_ids=scope.account_ids,
        site_ids=scope.site_ids,
        team_id=scope.team_id,
        is_own_only=sees_own_only(principal),
        is_outsourced_only=sees_outsourced_only(principal),
        alias=alias,
    )


def place_reach(principal: Principal, alias: str) -> Reached:
    """Return the part of `reach` that is about places: for what stands at a site and is nobody's, as checklists."""
    scope = principal.scope
    return order_condition(
        reach=Reach.ORGANIZATION,
        person_id=None,
        account_ids=scope.account_ids,
        site_ids=scope.site_ids,
        team_id=None,
        is_own_only=False,
        is_outsourced_only=False,
        alias=alias,
    )


def sees_own_only(principal: Principal) -> bool:
    """Say whether somebody sees the orders alone that were given to them: who works, and gives nobody work."""
    is_worker = principal.may(Permission.WORK_ORDERS_WORK) and not principal.may(Permission.WORK_ORDERS_ASSIGN)
    return is_worker or principal.scope.reach is Reach.OWN


def sees_outsourced_only(principal: Principal) -> bool:
    """Say whether somebody sees what went out alone: who ends what others do, and gives nobody work."""
    ends = principal.may(Permission.WORK_ORDERS_COMPLETE_OUTSOURCED)
    return ends and not principal.may(Permission.WORK_ORDERS_ASSIGN)


def lock(
    connection: Connection, principal: Principal, name: str, policy: WorkPolicy, reached: Reached
) -> tuple[Order, bool] | None:
    """Lock an order of a policy by its id or code; return it and whether `reached` holds, None when there is none."""
    order_id = read_id(name)
    number = number_of(name) if order_id is None else None
    if order_id is None and number is None:
        return None
    condition, values = reached
    statement = _LOCK.format(reached=condition, named="number" if order_id is None else "id")
    values = {**values, "org": principal.org_id, "policy": policy.value, "name": order_id or number}
    row = connection.execute(text(statement), values).one_or_none()
    return None if row is None else (read(connection, row.id), row.is_reached)


def read(connection: Connection, order_id: UUID) -> Order:
    """Return an order that is there, as the transaction sees it."""
    return order_of(connection.execute(_READ, {"order": order_id}).one())


def make(connection: Connection, values: Mapping[str, Any]) -> Order:
    """Make an order; `values` by column. Raises IntegrityError where the database holds it to be a second one."""
    names = sorted(values)
    statement = _INSERT.format(names=", ".join(names), values=", ".join(f":{name}" for name in names))
    made = connection.execute(text(statement), {name: _plain(value) for name, value in values.items()})
    return read(connection, made.scalar_one())


def save(
    connection: Connection, order: Order, changes: Mapping[str, Any], state: WorkOrderState | None = None
) -> Order:
    """Change a locked order, and its state where one is named; its version counts up. Return it anew.

    `changes` are columns of `CHANGEABLE`. When it was closed follows from its state.
    """
    unknown = set(changes) - CHANGEABLE
    if unknown:
        raise ValueError(f"not to be changed: {', '.join(sorted(unknown))}")
    after = state or order.state
    values = {name: _plain(value) for name, value in changes.items()} | {"state": after.value}
    sets = ", ".join(f"{name} = :{name}" for name in sorted(values))
    closed = "coalesce(closed_at, now())" if after in OVER else "NULL"
    connection.execute(
        text(f"UPDATE work_orders SET {sets}, closed_at = {closed}, version = version + 1 WHERE id = :order"),  # noqa: S608 - columns of `CHANGEABLE` alone
        {**values, "order": order.order_id},
    )
    return read(connection, order.order_id)


def keep(connection: Connection, org_id: UUID, steps: Sequence[Step]) -> None:
    """Keep steps of an organization's orders, in order."""
    if not steps:
        return
    values = {
        "org": org_id,
        "orders": [one.order_id for one in steps],
        "policies": [one.policy.value for one in steps],
        "commands": [one.command for one in steps],
        "attempts": [one.attempt for one in steps],
        "before": [one.before for one in steps],
        "after": [one.after for one in steps],
        "actors": [one.actor_id for one in steps],
        "roles": [one.actor_role for one in steps],
        "data": [orjson.dumps(one.data, default=str).decode() for one in steps],
        "numbers": [one.audit_number for one in steps],
    }
    connection.execute(_STEPS, values)


def order_of(row: Row[Any]) -> Order:
    """Return an order from a row that has `COLUMNS`."""
    values = {name: value for name, value in row._asdict().items() if name in _FIELDS}
    values["policy"] = WorkPolicy(values["policy"])
    values["state"] = WorkOrderState(values["state"])
    values["priority"] = TicketPriority(values["priority"])
    return Order(**values)


def number_of(name: str) -> int | None:
    """Return the number that a code such as `wo_007` says; None for anything else."""
    digits = name.lower().removeprefix("wo_")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else None


def _plain(value: Any) -> Any:
    return getattr(value, "value", value)
