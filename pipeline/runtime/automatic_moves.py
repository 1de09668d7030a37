"""What stages move and make by themselves: an audit row by SYSTEM for each, with its transition or its first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import ActorKind, WorkOrderState, WorkPolicy
from pipeline.runtime import auditing, order_rows
from pipeline.runtime.auditing import Entry
from pipeline.runtime.order_rows import Step

_ACTOR = "system"
_MOVED = text("""
    INSERT INTO transitions (org_id, ticket_id, kind, from_state, to_state, command, audit_number)
    SELECT org, ticket, 'dispatch', before, after, :command, number
      FROM unnest(CAST(:orgs AS uuid[]), CAST(:tickets AS uuid[]), CAST(:befores AS text[]), CAST(:afters AS text[]),
                  CAST(:numbers AS bigint[])) WITH ORDINALITY AS m(org, ticket, before, after, number, position)
     ORDER BY position
""")


@dataclass(frozen=True, slots=True)
class Moved:
    """One ticket whose state a stage changed."""

    org_id: UUID
    ticket_id: UUID
    before: str
    after: str
    trace_id: str | None
    #: For the audit trail, beside both states.
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Made:
    """One work order of the field that a stage made."""

    org_id: UUID
    order_id: UUID
    ticket_id: UUID | None
    case_id: UUID | None
    trace_id: str | None


def record(connection: Connection, moved: Sequence[Moved], command: str, made: Sequence[Made] = ()) -> None:
    """Record changes that were made in this transaction, `command` being a name of both lifecycles.

    The organizations' audit trails stay locked until the transaction ends: call it last.
    """
    for org_id in sorted({one.org_id for one in moved} | {one.org_id for one in made}):
        tickets = sorted((one for one in moved if one.org_id == org_id), key=lambda one: one.ticket_id)
        orders = sorted((one for one in made if one.org_id == org_id), key=lambda one: one.order_id)
        entries = [_entry(one, command) for one in tickets] + [_entry_of_order(one, command) for one in orders]
        numbers = auditing.append_all(connection, org_id, entries)
        if tickets:
            keep_moves(connection, tickets, numbers[: len(tickets)], command)
        if orders:
            numbered = zip(orders, numbers[len(tickets) :], strict=True)
            order_rows.keep(connection, org_id, [_step(one, number, command) for one, number in numbered])


def keep_moves(connection: Connection, moved: Sequence[Moved], numbers: Sequence[int], command: str) -> None:
    """Keep changes of tickets' states, each under the number of its row in the audit trail."""
    values = {
        "command": command,
        "orgs": [one.org_id for one in moved],
        "tickets": [one.ticket_id for one in moved],
        "befores": [one.before for one in moved],
        "afters": [one.after for one in moved],
        "numbers": list(numbers),
    }
    connection.execute(_MOVED, values)


def _step(one: Made, number: int, command: str) -> Step:
    return Step(
        order_id=one.order_id,
        policy=WorkPolicy.FIELD,
        command=command,
        attempt=0,
        before=None,
        after=WorkOrderState.CREATED.value,
        actor_id=_ACTOR,
        actor_role=None,
        audit_number=number,
        data=_facts(one),
    )


def _entry_of_order(one: Made, command: str) -> Entry:
    return Entry(
        one.org_id,
        command,
        _ACTOR,
        ActorKind.SYSTEM,
        target_kind="work_order",
        target_id=str(one.order_id),
        trace_id=one.trace_id,
        details={"to_state": WorkOrderState.CREATED.value, **_facts(one)},
    )


def _facts(one: Made) -> dict[str, Any]:
    return {"ticket_id": one.ticket_id, "case_id": one.case_id}


def _entry(one: Moved, command: str) -> Entry:
    return Entry(
        one.org_id,
        command,
        _ACTOR,
        ActorKind.SYSTEM,
        target_kind="ticket",
        target_id=str(one.ticket_id),
        trace_id=one.trace_id,
        details={"from_state": one.before, "to_state": one.after, **one.details},
    )
