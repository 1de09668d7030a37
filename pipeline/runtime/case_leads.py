"""Which of an asset's two open cases leads, after the policy's mode changed: signals and open work follow it."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import Connection, text

from models.work_lifecycle import OPEN
from pipeline.runtime import case_questions

_SIGNALS = text("""
    UPDATE signals SET case_id = t.after
      FROM unnest(CAST(:before AS uuid[]), CAST(:after AS uuid[])) AS t(before, after)
     WHERE signals.case_id = t.before
""")
#: Else the case that leads now would have somebody sent a second time.
_ORDERS = text(f"""
    UPDATE work_orders SET case_id = t.after
      FROM unnest(CAST(:before AS uuid[]), CAST(:after AS uuid[])) AS t(before, after)
     WHERE work_orders.case_id = t.before AND {OPEN}
       AND NOT EXISTS (SELECT FROM work_orders o WHERE o.case_id = t.after AND o.{OPEN})
""")  # noqa: S608 - a constant


def pass_on(connection: Connection, leads: Mapping[UUID, UUID]) -> None:
    """Give what cases have that led before to those that lead now, both of locked assets; their questions end."""
    if not leads:
        return
    values = {"before": list(leads), "after": list(leads.values())}
    connection.execute(_SIGNALS, values)
    connection.execute(_ORDERS, values)
    case_questions.take_back(connection, list(leads))
