"""Tells people of work: one notification per person and thing that happened, pushed by a stage after the commit."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Lane, NotificationKind
from models.permissions import Permission
from pipeline.core import order_words
from pipeline.core.orders import Order
from pipeline.runtime.jobs import Emit

#: So many are told of an order that nobody gave to anybody; those who are there for its place alone go first.
MOST_LEADS = 20

#: In one order for all, so that two who tell the same people do not wait for each other in a circle.
_TELL = text("""
    INSERT INTO notifications (org_id, person_id, kind, order_id, title, body, reference)
    SELECT s.org_id, s.person_id, s.kind, s.order_id, s.title, s.body, s.reference
      FROM unnest(CAST(:orgs AS uuid[]), CAST(:people AS uuid[]), CAST(:kinds AS text[]), CAST(:orders AS uuid[]),
                  CAST(:titles AS text[]), CAST(:bodies AS text[]), CAST(:references AS text[]))
        AS s(org_id, person_id, kind, order_id, title, body, reference)
     ORDER BY s.org_id, s.person_id, s.reference
        ON CONFLICT (org_id, person_id, reference) DO NOTHING
    RETURNING id, org_id, order_id
""")
#: As `pipeline.runtime.identity` and `models.queries.order_scoping` say how far somebody reaches.
_LEADS = text("""
    SELECT w.id AS order_id, l.person_id, l.gave_it
      FROM work_orders w CROSS JOIN LATERAL (
           SELECT m.person_id, m.person_id = w.assigned_by_id AS gave_it
             FROM role_permissions h
             JOIN roles r ON r.id = h.role_id AND (r.org_id IS NULL OR r.org_id = w.org_id)
             JOIN memberships m ON m.role_id = r.id AND m.org_id = w.org_id AND m.is_active
             JOIN people p ON p.id = m.person_id AND p.is_active AND p.erased_at IS NULL
            WHERE h.permission = :permission
              AND CASE m.reach
                  WHEN 'organization' THEN true
                  WHEN 'site' THEN EXISTS (
                      SELECT FROM membership_scopes c WHERE c.membership_id = m.id AND c.site_id = w.site_id)
                  WHEN 'account' THEN EXISTS (
                      SELECT FROM membership_scopes c JOIN sites s ON s.account_id = c.account_id
                       WHERE c.membership_id = m.id AND s.id = w.site_id)
                  WHEN 'team' THEN w.team_id = m.team_id OR EXISTS (
                      SELECT FROM memberships o
                       WHERE o.org_id = m.org_id AND o.person_id = w.assigned_to_id AND o.team_id = m.team_id)
                  ELSE false END
            ORDER BY gave_it DESC NULLS LAST, m.reach = 'organization', m.person_id LIMIT :most) l
     WHERE w.id = ANY(CAST(:orders AS uuid[]))
""")


@dataclass(frozen=True, slots=True)
class Saying:
    """What happened to an order, and who is to know."""

    order: Order
    kind: NotificationKind
    people: Collection[UUID]
    #: Names what happened, as `assigned:{order}:{attempt}`: each of the people is told once for it.
    reference: str
    reason: str | None = None


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
    return tell_all(connection, [Saying(order, kind, people, reference, reason)])


def tell_of_giving(connection: Connection, order: Order, person_id: UUID) -> list[Emit]:
    """Tell who is given an order now, and who had it before; `order` is as it was. Return the pushes to emit."""
    place = f"{order.order_id}:{order.attempt + 1}"
    sayings = [Saying(order, NotificationKind.ASSIGNED, [person_id], f"assigned:{place}")]
    if order.assigned_to_id not in {None, person_id}:
        sayings.append(Saying(order, NotificationKind.REASSIGNED, holder(order), f"reassigned:{place}"))
    return tell_all(connection, sayings)


def holder(order: Order) -> list[UUID]:
    """Return who has an order: one person, or nobody."""
    return [] if order.assigned_to_id is None else [order.assigned_to_id]


def tell_all(connection: Connection, sayings: Sequence[Saying]) -> list[Emit]:
    """Tell people of many things; return the pushes to emit."""
    told = [(one, person_id) for one in sayings for person_id in sorted(set(one.people))]
    if not told:
        return []
    values = {
        "orgs": [one.order.org_id for one, _ in told],
        "people": [person_id for _, person_id in told],
        "kinds": [one.kind.value for one, _ in told],
        "orders": [one.order.order_id for one, _ in told],
        "titles": [order_words.title(one.kind) for one, _ in told],
        "bodies": [order_words.body(one.order, one.reason) for one, _ in told],
        "references": [one.reference for one, _ in told],
    }
    traces = {one.order.order_id: one.order.trace_id or "" for one in sayings}
    return [
        Emit("push", str(row.id), row.org_id, None, Lane.LIVE, 0, traces[row.order_id])
        for row in connection.execute(_TELL, values)
    ]


def leads_of(
    connection: Connection, order: Order, permission: Permission = Permission.WORK_ORDERS_ASSIGN
) -> list[UUID]:
    """Return who is told what becomes of an order: who gave it to somebody, else those who may give it.

    Only active members who may do so now and reach its place; at most `MOST_LEADS`.
    """
    return leads_of_all(connection, [order.order_id], permission).get(order.order_id, [])


def leads_of_all(
    connection: Connection, order_ids: Sequence[UUID], permission: Permission = Permission.WORK_ORDERS_ASSIGN
) -> dict[UUID, list[UUID]]:
    """Return the leads of many orders; an order that nobody leads is left out."""
    values = {"orders": sorted(order_ids), "permission": permission.value, "most": MOST_LEADS}
    found: dict[UUID, list[UUID]] = {}
    whole: set[UUID] = set()
    for row in connection.execute(_LEADS, values):
        if row.order_id in whole:
            continue
        found.setdefault(row.order_id, []).append(row.person_id)
        if row.gave_it:
            whole.add(row.order_id)
    return found
