"""A ticket's field work in the database: locked and read, changed, and told of in the ticket's history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row, text

from models.enums import DispatchPriority, DispatchState
from pipeline.core.field_work import DUE_SOON, FieldTicket, due_at, is_in_queue
from pipeline.core.principals import Principal
from pipeline.core.written import read_id
from pipeline.runtime import identity

_COLUMNS = """
    t.id AS ticket_id, t.org_id, t.code, t.dispatch_state AS state, t.version, t.subject AS summary, t.created_at,
    now() AS now, t.status = 'merged' AS is_merged, t.merged_into, t.account_id, t.site_id, t.requester_email,
    d.ticket_id IS NOT NULL AS has_work, d.asset_id, d.incident_type, d.template_id, d.description,
    coalesce(d.priority, 'ROUTINE') AS priority, d.due_at, d.arrived_at, coalesce(d.nte_cents, 0) AS nte_cents,
    coalesce(d.currency, 'USD') AS currency, d.scheduled_start, d.scheduled_end, d.assigned_provider_id,
    d.assigned_tech_id, coalesce(d.visit_number, 0) AS visit_number, d.customer_name, d.customer_phone,
    d.customer_email, d.identity_confidence, d.classification_confidence,
    coalesce(d.is_sop_handoff_required, false) AS is_sop_handoff_required,
    coalesce(d.is_sop_handoff_acknowledged, false) AS is_sop_handoff_acknowledged, d.rework_reason,
    coalesce(d.trace_id, (SELECT e.trace_id FROM events e WHERE e.ticket_id = t.id AND e.trace_id IS NOT NULL
                           ORDER BY e.id LIMIT 1)) AS trace_id,
    d.updated_at
"""
_FROM = "FROM tickets t LEFT JOIN dispatches d ON d.ticket_id = t.id"
#: Read after it is locked, by a statement of its own: one statement would show the work as it was before the wait.
_LOCK = "SELECT t.id, ({reached}) AS is_reached FROM tickets t WHERE t.org_id = :org AND {named} FOR NO KEY UPDATE"
_READ = text(f"SELECT {_COLUMNS} {_FROM} WHERE t.id = :ticket")
#: What a command may change of the field work; the rest follows from these.
CHANGEABLE = frozenset(
    (
        *("asset_id", "incident_type", "template_id", "description", "priority", "nte_cents", "currency"),
        *("arrived_at", "scheduled_start", "scheduled_end", "assigned_provider_id", "assigned_tech_id"),
        *("visit_number", "customer_name", "customer_phone", "customer_email", "identity_signature"),
        *("identity_confidence", "classification_confidence", "is_sop_handoff_required"),
        *("is_sop_handoff_acknowledged", "sop_handoff_prompt", "rework_reason", "trace_id"),
    )
)
_MOVE = text("""
    UPDATE tickets SET dispatch_state = :state, version = version + 1,
                       last_activity_at = greatest(last_activity_at, now())
     WHERE id = :ticket
""")
_EVENT = text("""
    INSERT INTO events (org_id, ticket_id, kind, actor, data, trace_id)
    VALUES (:org, :ticket, :kind, :actor, CAST(:data AS jsonb), :trace)
""")
_FIELDS = frozenset(one.name for one in fields(FieldTicket)) - {"known"}


def lock(connection: Connection, principal: Principal, name: str) -> tuple[FieldTicket, bool] | None:
    """Lock a ticket by its id or code; return it and whether it is within reach, None when there is none."""
    reached, values = identity.ticket_reach(principal)
    ticket_id = read_id(name)
    named = "t.code = :code" if ticket_id is None else "t.id = :id"
    values |= {"org": principal.org_id}
    values |= {"code": name.lower()} if ticket_id is None else {"id": ticket_id}
    row = connection.execute(text(_LOCK.format(reached=reached, named=named)), values).one_or_none()
    return None if row is None else (read(connection, row.id), row.is_reached)


def read(connection: Connection, ticket_id: UUID) -> FieldTicket:
    """Return a ticket that is there, as the transaction sees it."""
    return _ticket(connection.execute(_READ, {"ticket": ticket_id}).one())


def save(
    connection: Connection, ticket: FieldTicket, changes: Mapping[str, Any], state: DispatchState | None = None
) -> FieldTicket:
    """Change a locked ticket's field work, and its state where one is named; its version counts up. Return it anew.

    `changes` are columns of `CHANGEABLE`. A ticket without field work gets it. When it is due follows from its
    priority and its creation, and whether it stands in the dispatcher's queue from its state.
    """
    unknown = set(changes) - CHANGEABLE
    if unknown:
        raise ValueError(f"not to be changed: {', '.join(sorted(unknown))}")
    after = state or ticket.state
    connection.execute(_MOVE, {"ticket": ticket.ticket_id, "state": after.value})
    priority = DispatchPriority(changes.get("priority", ticket.priority))
    due = due_at(ticket.created_at, priority)
    values = {
        **changes,
        "priority": priority.value,
        "due_at": due,
        "due_soon_at": due - DUE_SOON,
        "queue_due_at": due if is_in_queue(after) else None,
    }
    connection.execute(
        _upsert(tuple(sorted(values))), {**values, "ticket_id": ticket.ticket_id, "org_id": ticket.org_id}
    )
    return read(connection, ticket.ticket_id)


def tell(
    connection: Connection,
    ticket: FieldTicket,
    kind: str,
    data: Mapping[str, Any],
    *,
    actor: str = "system",
    trace_id: str | None = None,
) -> None:
    """Add to what the ticket's people see of its history."""
    values = {
        "org": ticket.org_id,
        "ticket": ticket.ticket_id,
        "kind": kind,
        "actor": actor,
        "data": orjson.dumps(data, default=str).decode(),
        "trace": trace_id or ticket.trace_id,
    }
    connection.execute(_EVENT, values)


def _upsert(columns: tuple[str, ...]) -> Any:
    """Return the statement that writes these columns; what is not named stays."""
    named = ", ".join(columns)
    given = ", ".join(f":{column}" for column in columns)
    kept = ", ".join(f"{column} = excluded.{column}" for column in columns)
    return text(f"""
        INSERT INTO dispatches (ticket_id, org_id, {named}) VALUES (:ticket_id, :org_id, {given})
        ON CONFLICT (ticket_id) DO UPDATE SET {kept}, updated_at = now()
    """)  # noqa: S608 - columns of `CHANGEABLE` alone


def _ticket(row: Row[Any]) -> FieldTicket:
    values = {name: value for name, value in row._asdict().items() if name in _FIELDS}
    values["state"] = DispatchState(values["state"])
    values["priority"] = DispatchPriority(values["priority"])
    return FieldTicket(**values, known=MappingProxyType({}))
