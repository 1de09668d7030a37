"""What a technician's day is made of: how many orders stand how (contract 004, dashboard)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import WorkOrderState
from models.queries.scoping import Reached
from models.work_lifecycle import OPEN

#: How far back what is done is counted.
DONE_WITHIN = timedelta(days=30)

#: The open states in which an order may be somebody's.
MINE = (WorkOrderState.ASSIGNED, WorkOrderState.IN_PROGRESS, WorkOrderState.RETURNED)
_COUNTED = ", ".join(f"count(*) FILTER (WHERE w.state = '{state.value}') AS {state.value}" for state in MINE)
_IS_MINE = "w.state IN (" + ", ".join(f"'{state.value}'" for state in MINE) + ")"
#: Two parts of one index each: what is open, and what was closed of late.
_COUNTS = """
    SELECT {counted},
           count(*) FILTER (WHERE w.due_at < now()) AS overdue,
           count(*) FILTER (WHERE w.due_at >= now() AND w.due_at < now() + CAST(:soon AS interval)) AS due_soon,
           (SELECT count(*) FROM work_orders w
             WHERE w.org_id = :org AND w.assigned_to_id = :person AND w.policy = 'field' AND w.state = 'done'
               AND w.closed_at > now() - CAST(:within AS interval) AND ({reached})) AS done
      FROM work_orders w
     WHERE w.org_id = :org AND w.assigned_to_id = :person AND w.policy = 'field' AND w.{is_open} AND {is_mine}
       AND ({reached})
"""


def counts(connection: Connection, org_id: UUID, person_id: UUID, reached: Reached, *, soon: timedelta) -> Row[Any]:
    """Count an organization's orders of a person by how they stand; those done, of the last `DONE_WITHIN`.

    What is late or due within `soon` counts by its state, too.
    """
    condition, values = reached
    statement = text(_COUNTS.format(counted=_COUNTED, reached=condition, is_open=OPEN, is_mine=_IS_MINE))
    return connection.execute(
        statement, {**values, "org": org_id, "person": person_id, "soon": soon, "within": DONE_WITHIN}
    ).one()
