"""Work orders of a ticket follow its field work: begun with it, done when it is verified, cancelled with it."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import DispatchState

_S = DispatchState
_OVER = frozenset({_S.VERIFIED, _S.INVOICED, _S.CLOSED})
_BEGUN = frozenset({_S.ON_SITE, _S.IN_PROGRESS})
_END = text("""
    UPDATE work_orders SET state = :state, version = version + 1
     WHERE ticket_id = :ticket AND state IN ('created', 'in_progress')
""")
_BEGIN = text("""
    UPDATE work_orders SET state = 'in_progress', version = version + 1 WHERE ticket_id = :ticket AND state = 'created'
""")
#: The newest order of each case, unless its trouble has another one by now.
_AGAIN = text("""
    UPDATE work_orders w SET state = :state, version = version + 1
     WHERE w.ticket_id = :ticket AND w.state = :before
       AND NOT EXISTS (SELECT FROM work_orders o WHERE o.case_id = w.case_id AND o.number > w.number)
       AND EXISTS (SELECT FROM cases c WHERE c.id = w.case_id AND c.state = 'open')
""")


def follow(connection: Connection, ticket_id: UUID, state: DispatchState, before: DispatchState | None = None) -> None:
    """Let the work orders of a locked ticket follow its state; `before` is the one that it left.

    Work that was done or cancelled and is taken up again takes its orders up again.
    """
    values = {"ticket": ticket_id}
    if state in _OVER:
        connection.execute(_END, values | {"state": "done"})
    elif state is _S.CANCELLED:
        connection.execute(_END, values | {"state": "cancelled"})
    elif before is _S.CANCELLED:
        connection.execute(_AGAIN, values | {"state": "created", "before": "cancelled"})
    elif state in _BEGUN:
        connection.execute(_BEGIN, values)
        if before is _S.VERIFIED:
            connection.execute(_AGAIN, values | {"state": "in_progress", "before": "done"})
