"""Work orders of a ticket follow its field work: given to who is sent, begun, done and cancelled with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import NotificationKind, WorkOrderState, WorkPolicy
from models.work_lifecycle import FOLLOWED
from pipeline.core import order_following
from pipeline.core.field_work import FieldTicket
from pipeline.core.order_following import Followed
from pipeline.core.orders import Order
from pipeline.core.principals import Principal
from pipeline.runtime import notifying
from pipeline.runtime.jobs import Emit
from pipeline.runtime.notifying import Saying
from pipeline.runtime.order_rows import COLUMNS, Step, order_of

#: Whoever changes an order of a ticket holds the ticket: nothing of it changes between its lock and its reading. An
#: order that is over is taken up again where its trouble is open and has no newer one.
_OF_TICKET = text(f"""
    SELECT {COLUMNS},
           NOT EXISTS (SELECT FROM work_orders o WHERE o.case_id = w.case_id AND o.number > w.number)
           AND EXISTS (SELECT FROM cases c WHERE c.id = w.case_id AND c.state = 'open') AS may_again
      FROM work_orders w WHERE w.ticket_id = :ticket AND w.policy = 'field' ORDER BY w.id FOR NO KEY UPDATE OF w
""")  # noqa: S608 - columns from a constant
#: A giving of its own is told anew when it is due.
_SAVE = text("""
    UPDATE work_orders w
       SET state = g.state, assigned_to_id = g.person, assigned_at = g.assigned_at, attempt = g.attempt,
           assigned_by_id = CASE WHEN g.attempt <> w.attempt THEN CAST(:by AS uuid) ELSE w.assigned_by_id END,
           due_soon_told_at = CASE WHEN g.attempt = w.attempt THEN w.due_soon_told_at END,
           overdue_told_at = CASE WHEN g.attempt = w.attempt THEN w.overdue_told_at END,
           started_at = g.started_at, closed_at = g.closed_at, site_id = coalesce(w.site_id, g.site),
           version = w.version + 1
      FROM unnest(CAST(:orders AS uuid[]), CAST(:states AS text[]), CAST(:people AS uuid[]),
                  CAST(:assigned_ats AS timestamptz[]), CAST(:attempts AS smallint[]),
                  CAST(:started_ats AS timestamptz[]), CAST(:closed_ats AS timestamptz[]), CAST(:sites AS uuid[]))
        AS g(id, state, person, assigned_at, attempt, started_at, closed_at, site)
     WHERE w.id = g.id
""")


def follow(connection: Connection, before: FieldTicket, after: FieldTicket, by: UUID | None) -> list[Followed]:
    """Let the orders of a locked ticket follow what a command did to it; return those that changed.

    `by` is who sent the technician. Their steps are kept by `steps_of`, once the command has its audit number.
    """
    rows = connection.execute(_OF_TICKET, {"ticket": after.ticket_id}).all()
    orders = [(order_of(row), row.may_again) for row in rows]
    led = [
        Followed(order, order_following.follow(order, before, after, may_again=may_again))
        for order, may_again in orders
    ]
    found = [one for one in led if one.after != one.before]
    if found:
        _save(connection, [one.after for one in found], after.site_id, by)
    return found


def tell(connection: Connection, found: Sequence[Followed], by: UUID | None) -> list[Emit]:
    """Tell those who have an order now, or have it no more, but for who did it; return the pushes to emit."""
    sayings = [saying for one in found for saying in _sayings(one)]
    told = [replace(one, people=[person_id for person_id in one.people if person_id != by]) for one in sayings]
    return notifying.tell_all(connection, told)


def steps_of(found: Sequence[Followed], who: Principal, audit_number: int) -> list[Step]:
    """Return the steps of orders that followed a command, with the number of its row in the audit trail."""
    return [
        Step(
            order_id=one.after.order_id,
            policy=WorkPolicy.FIELD,
            command=FOLLOWED,
            attempt=one.after.attempt,
            before=one.before.state.value,
            after=one.after.state.value,
            actor_id=who.actor_id,
            actor_role=who.role,
            audit_number=audit_number,
            data={
                "ticket_id": one.after.ticket_id,
                "from": one.before.assigned_to_id,
                "to": one.after.assigned_to_id,
            },
        )
        for one in found
    ]


def _sayings(one: Followed) -> list[Saying]:
    order, place = one.after, f"{one.after.order_id}:{one.after.attempt}"
    now, had = order.assigned_to_id, one.before.assigned_to_id
    found = []
    if one.is_given and now is not None:
        found.append(Saying(order, NotificationKind.ASSIGNED, [now], f"assigned:{place}"))
    if order.state is WorkOrderState.CANCELLED and had is not None:
        found.append(Saying(order, NotificationKind.CANCELLED, [had], f"cancelled:{place}"))
    elif one.is_taken and had is not None:
        # Taken from them, and not cancelled under them.
        found.append(Saying(order, NotificationKind.REASSIGNED, [had], f"taken:{order.order_id}:{one.before.attempt}"))
    return found


def _save(connection: Connection, orders: Sequence[Order], site_id: UUID | None, by: UUID | None) -> None:
    connection.execute(
        _SAVE,
        {
            "by": by,
            "orders": [one.order_id for one in orders],
            "states": [one.state.value for one in orders],
            "people": [one.assigned_to_id for one in orders],
            "assigned_ats": [one.assigned_at for one in orders],
            "attempts": [one.attempt for one in orders],
            "started_ats": [one.started_at for one in orders],
            "closed_ats": [one.closed_at for one in orders],
            "sites": [site_id for _ in orders],
        },
    )
