"""Tells people of work: one notification per person and thing that happened, pushed by a stage after the commit."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Lane, NotificationKind
from pipeline.core import order_words
from pipeline.core.orders import Order
from pipeline.runtime.jobs import Emit

_TELL = text("""
    INSERT INTO notifications (org_id, person_id, kind, order_id, title, body, reference)
    SELECT :org, p, :kind, :order, :title, :body, :reference FROM unnest(CAST(:people AS uuid[])) AS p ORDER BY p
        ON CONFLICT (org_id, person_id, reference) DO NOTHING
    RETURNING id
""")


def tell(
    connection: Connection,
    order: Order,
    kind: NotificationKind,
    people: Collection[UUID],
    reference: str,
    *,
    reason: str | None = None,
) -> list[Emit]:
    """Tell people of an order, each once for `reference`, whoever else does the same; return the pushes to emit.

    `reference` names what happened, as `assigned:{order}:{attempt}`.
    """
    if not people:
        return []
    values = {
        "org": order.org_id,
        "people": sorted(people),
        "kind": kind.value,
        "order": order.order_id,
        "title": order_words.title(kind),
        "body": order_words.body(order, reason),
        "reference": reference,
    }
    trace = order.trace_id or ""
    found = connection.execute(_TELL, values).scalars()
    return [Emit("push", str(one), order.org_id, None, Lane.LIVE, 0, trace) for one in found]
