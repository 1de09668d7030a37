"""Reads of what happened in a repair's work sessions, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.queries.workshop_people import most

#: Each with what was done to its session before; the page is cut before anything is looked up.
_PAGE = text("""
    SELECT e.id, e.session_id, e.order_id, e.technician_id, e.action, e.event_at, e.actor_id, e.data,
           p.full_name AS actor_name, before.action AS action_before
      FROM (SELECT * FROM work_session_events
             WHERE order_id = :order ORDER BY id DESC LIMIT :limit OFFSET :offset) e
      LEFT JOIN people p
        ON p.id = CASE WHEN pg_input_is_valid(e.actor_id, 'uuid') THEN CAST(e.actor_id AS uuid) END
      LEFT JOIN LATERAL (
           SELECT b.action FROM work_session_events b
            WHERE b.session_id = e.session_id AND b.id < e.id ORDER BY b.id DESC LIMIT 1) before ON true
     ORDER BY e.id DESC
""")
_COUNT = text("""
    SELECT count(*) FROM (SELECT FROM work_session_events WHERE order_id = :order LIMIT :most) found
""")


def history(connection: Connection, order_id: UUID, *, limit: int, offset: int) -> Sequence[Row[Any]]:
    """Return a page of the events of an order's sessions, newest first."""
    return connection.execute(_PAGE, {"order": order_id, "limit": limit, "offset": offset}).all()


def count(connection: Connection, order_id: UUID, *, limit: int, offset: int) -> int:
    """Return how many events there are; above 10,000, at least as many as the page and one after it prove."""
    return int(connection.execute(_COUNT, {"order": order_id, "most": most(limit, offset)}).scalar_one())
