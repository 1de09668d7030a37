"""Who is sent to a ticket, in the database: the assignment, and the table behind the choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from models.enums import AssignmentMode
from pipeline.core.field_work import FieldTicket
from pipeline.core.matching import Candidate

_ASSIGN = text("""
    INSERT INTO assignments (org_id, ticket_id, technician_id, provider_id, mode, candidates, recommendation_id,
                             overruled_because, assigned_by)
    VALUES (:org, :ticket, :technician, :provider, :mode, CAST(:candidates AS jsonb), :recommendation,
            :overruled, :by) RETURNING id
""")
_END = text("""
    UPDATE assignments SET ended_at = now(), ended_because = :because
     WHERE ticket_id = :ticket AND ended_at IS NULL RETURNING id, technician_id
""")
_RECOMMEND = text("""
    INSERT INTO recommendations (org_id, ticket_id, asked, candidates, created_by)
    VALUES (:org, :ticket, CAST(:asked AS jsonb), CAST(:candidates AS jsonb), :by) RETURNING id
""")
_SNAPSHOT = text("""
    SELECT ticket_id = :ticket AS is_of_ticket,
           candidates @> jsonb_build_array(jsonb_build_object('tech_id', CAST(:technician AS text))) AS has_them
      FROM recommendations WHERE id = :id AND org_id = :org
""")
_PENDING = text("SELECT EXISTS (SELECT FROM approvals WHERE ticket_id = :ticket AND state = 'PENDING')")


def assign(
    connection: Connection,
    ticket: FieldTicket,
    technician_id: UUID,
    candidates: Sequence[Candidate],
    *,
    by: str,
    mode: AssignmentMode = AssignmentMode.STANDARD,
    provider_id: UUID | None = None,
    recommendation_id: UUID | None = None,
    overruled: str | None = None,
    because: str = "somebody else was sent",
) -> UUID:
    """Note who is sent, with the whole table of candidates; who was sent until now no longer is, `because` of that."""
    end(connection, ticket.ticket_id, because)
    values = {
        "org": ticket.org_id,
        "ticket": ticket.ticket_id,
        "technician": technician_id,
        "provider": provider_id,
        "mode": mode.value,
        "candidates": _stored(candidates),
        "recommendation": recommendation_id,
        "overruled": overruled,
        "by": by,
    }
    found: UUID = connection.execute(_ASSIGN, values).scalar_one()
    return found


def end(connection: Connection, ticket_id: UUID, because: str) -> UUID | None:
    """End who is sent to a ticket; return whom that was, None where nobody was."""
    row = connection.execute(_END, {"ticket": ticket_id, "because": because}).one_or_none()
    return None if row is None else row.technician_id


def recommend(
    connection: Connection, ticket: FieldTicket, asked: Mapping[str, Any], candidates: Sequence[Candidate], by: str
) -> UUID:
    """Keep the table of candidates as it stands; return its id."""
    values = {
        "org": ticket.org_id,
        "ticket": ticket.ticket_id,
        "asked": orjson.dumps(asked, default=str).decode(),
        "candidates": _stored(candidates),
        "by": by,
    }
    found: UUID = connection.execute(_RECOMMEND, values).scalar_one()
    return found


def fits(connection: Connection, ticket: FieldTicket, recommendation_id: UUID, technician_id: UUID) -> bool:
    """Say whether a recommendation is one of this ticket that has this technician in its table."""
    values = {
        "id": recommendation_id,
        "org": ticket.org_id,
        "ticket": ticket.ticket_id,
        "technician": str(technician_id),
    }
    row = connection.execute(_SNAPSHOT, values).one_or_none()
    return row is not None and row.is_of_ticket and row.has_them


def is_approval_pending(connection: Connection, ticket_id: UUID) -> bool:
    """Say whether somebody must still decide something of a ticket."""
    return bool(connection.execute(_PENDING, {"ticket": ticket_id}).scalar_one())


def _stored(candidates: Sequence[Candidate]) -> str:
    return orjson.dumps([one.as_stored() for one in candidates]).decode()
