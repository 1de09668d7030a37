"""What people found to be true of cases: written where it is found, each finding once, and never changed.

Whoever tells may hold a ticket or an order, so no case is changed here: the stage `settle` brings it up to date under
its asset's lock. The commands that hold the asset do so at once (`pipeline.runtime.settling`).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Lane, TruthSource, WorkOrderState
from models.work_lifecycle import OPEN
from pipeline.core.field_work import FieldTicket
from pipeline.core.findings import Found
from pipeline.core.orders import Order
from pipeline.runtime.jobs import Emit

STAGE = "settle"
_TELL = text("""
    INSERT INTO case_truths (org_id, case_id, source, reference, is_real, order_id, actor_id, note)
    SELECT c.org_id, c.id, :source, :reference, :is_real, t.order_id, :actor, :note
      FROM unnest(CAST(:cases AS uuid[]), CAST(:orders AS uuid[])) AS t(case_id, order_id)
      JOIN cases c ON c.id = t.case_id ORDER BY c.id
        ON CONFLICT (case_id, reference) DO NOTHING
""")
_ORGANIZATIONS = text("SELECT id, org_id FROM cases WHERE id = ANY(CAST(:cases AS uuid[])) ORDER BY id")
#: Those that are open, or the newest that was not called off: its ticket was taken up again after its case closed.
_OF_TICKET = text(f"""
    SELECT DISTINCT ON (w.case_id) w.case_id, w.id FROM work_orders w
     WHERE w.ticket_id = :ticket AND w.policy = 'field' AND w.case_id IS NOT NULL
       AND (w.{OPEN}
            OR w.number = (SELECT max(o.number) FROM work_orders o
                            WHERE o.ticket_id = :ticket AND o.policy = 'field' AND o.state <> 'cancelled'))
     ORDER BY w.case_id, w.number DESC
""")  # noqa: S608 - a constant
_TOLD_BY = text("""
    SELECT t.is_real, t.note FROM case_truths t
      JOIN work_orders w ON w.id = t.order_id AND w.ticket_id = :ticket
     WHERE t.reference = :reference ORDER BY t.id LIMIT 1
""")
#: What was true of the trouble of a case `c`, of which `:sources` are the most reliable last (`RELIABLE`): of all
#: findings the most reliable counts, then the newest; NULL without any.
IS_REAL = """
    (SELECT h.is_real FROM cases k JOIN case_truths h ON h.case_id = k.id
      WHERE k.asset_id = c.asset_id AND k.number = c.number
      ORDER BY array_position(CAST(:sources AS text[]), h.source) DESC, h.id DESC LIMIT 1)
"""
RELIABLE = tuple(source.value for source in TruthSource)


@dataclass(frozen=True, slots=True)
class By:
    """Who found something out: the kind of source, what names the finding, and whoever says so."""

    source: TruthSource
    reference: str
    actor_id: str


@dataclass(frozen=True, slots=True)
class Told:
    """What telling made: jobs that follow, and what the audit trail and the counters are told."""

    jobs: Sequence[Emit] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


def tell(
    connection: Connection,
    case_id: UUID,
    source: TruthSource,
    reference: str,
    *,
    is_real: bool,
    order_id: UUID | None,
    actor_id: str,
    note: str = "",
    trace_id: str | None = None,
) -> list[Emit]:
    """Keep a finding, once by its reference; return the job that brings its case up to date. Locks no case."""
    keep(connection, case_id, source, reference, is_real=is_real, order_id=order_id, actor_id=actor_id, note=note)
    return _settling_all(connection, [case_id], trace_id)


def keep(
    connection: Connection,
    case_id: UUID,
    source: TruthSource,
    reference: str,
    *,
    is_real: bool,
    order_id: UUID | None,
    actor_id: str,
    note: str = "",
) -> None:
    """Keep a finding, once by its reference; whoever calls holds the asset and brings the case up to date."""
    _keep(connection, {case_id: order_id}, By(source, reference, actor_id), Found(is_real, note))


def settling(org_id: UUID, case_id: UUID, trace_id: str | None) -> Emit:
    """Return the job that brings a case up to date with what became of it."""
    return Emit(STAGE, str(case_id), org_id, None, Lane.LIVE, 0, trace_id or secrets.token_hex(16))


def of_order(connection: Connection, order: Order, by: By, found: Found | None) -> Told:
    """Tell what was found when an order's work ended; an order that no case asked for has nothing to tell."""
    if order.case_id is None:
        return Told()
    if found is None:
        return Told([settling(order.org_id, order.case_id, order.trace_id)])
    _keep(connection, {order.case_id: order.order_id}, by, found)
    jobs = _settling_all(connection, [order.case_id], order.trace_id)
    return Told(jobs, said(by.source, is_real=found.is_real))


def of_ticket(connection: Connection, ticket: FieldTicket, by: By, found: Found | None) -> Told:
    """Tell what was found at the field work of a locked ticket, of each case whose order follows it."""
    if found is None:
        return Told()
    orders = {row.case_id: row.id for row in connection.execute(_OF_TICKET, {"ticket": ticket.ticket_id})}
    if not orders:
        return Told()
    _keep(connection, orders, by, found)
    return Told(_settling_all(connection, list(orders), ticket.trace_id), said(by.source, is_real=found.is_real))


def told_by(connection: Connection, ticket_id: UUID, reference: str) -> Found | None:
    """Return what a completion of a ticket told; None: nothing."""
    row = connection.execute(_TOLD_BY, {"ticket": ticket_id, "reference": reference}).one_or_none()
    return None if row is None else Found(row.is_real, row.note)


def after_work(orders: Sequence[Order]) -> list[Emit]:
    """Return the jobs that close the cases of those orders that are done."""
    done = [one for one in orders if one.state is WorkOrderState.DONE]
    return [settling(one.org_id, one.case_id, one.trace_id) for one in done if one.case_id is not None]


def said(source: TruthSource, *, is_real: bool) -> dict[str, Any]:
    """Return a finding as the audit trail keeps it and `fieldpost_case_truths` counts it."""
    return {"truth": {"kind": source.value, "is_real": is_real}}


def _keep(connection: Connection, orders: Mapping[UUID, UUID | None], by: By, found: Found) -> None:
    """Keep one finding of cases, each with the order that it was made at."""
    values = {
        "cases": list(orders),
        "orders": list(orders.values()),
        "source": by.source.value,
        "reference": by.reference,
        "is_real": found.is_real,
        "actor": by.actor_id,
        "note": found.note,
    }
    connection.execute(_TELL, values)


def _settling_all(connection: Connection, case_ids: Sequence[UUID], trace_id: str | None) -> list[Emit]:
    rows = connection.execute(_ORGANIZATIONS, {"cases": list(case_ids)})
    return [settling(row.org_id, row.id, trace_id) for row in rows]
