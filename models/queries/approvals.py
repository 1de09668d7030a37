"""A ticket's approvals, newest first."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

_PAGE = text("""
    SELECT id, state AS status, kind AS approval_type, amount_delta_cents, reason, evidence_refs, source, return_state,
           requested_by, requested_at, decided_by, decided_at, notes
      FROM approvals
     WHERE ticket_id = :ticket AND (CAST(:before AS uuid) IS NULL OR id < :before)
     ORDER BY id DESC LIMIT :limit
""")


def of_ticket(connection: Connection, ticket_id: UUID, *, before: UUID | None, limit: int) -> list[Row[Any]]:
    """Return up to `limit` approvals of a ticket that are older than the one named."""
    values = {"ticket": ticket_id, "before": before, "limit": limit}
    return list(connection.execute(_PAGE, values))
