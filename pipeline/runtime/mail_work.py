"""Field work of tickets that came by mail: asset and words from the case, the customer from who wrote, one trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import DispatchPriority
from pipeline.core.field_work import DUE_SOON, MINUTES, FieldTicket

#: What somebody said before stays. When it is due follows from the ticket's creation, as for every other.
_BEGIN = text("""
    INSERT INTO dispatches (ticket_id, org_id, asset_id, description, priority, due_at, due_soon_at, queue_due_at,
                            customer_name, customer_email, trace_id)
    SELECT t.id, t.org_id, c.asset_id, c.explanation, g.priority, t.created_at + g.minutes,
           t.created_at + g.minutes - CAST(:soon AS interval), t.created_at + g.minutes, nullif(t.requester_name, ''),
           t.requester_email, g.trace
      FROM unnest(CAST(:tickets AS uuid[]), CAST(:cases AS uuid[]), CAST(:priorities AS text[]),
                  CAST(:minutes AS interval[]), CAST(:traces AS text[]))
        AS g(ticket_id, case_id, priority, minutes, trace)
      JOIN tickets t ON t.id = g.ticket_id LEFT JOIN cases c ON c.id = g.case_id
     ORDER BY t.id
        ON CONFLICT (ticket_id) DO UPDATE SET asset_id = coalesce(dispatches.asset_id, excluded.asset_id),
                                              description = coalesce(dispatches.description, excluded.description),
                                              trace_id = coalesce(dispatches.trace_id, excluded.trace_id),
                                              updated_at = now()
""")
#: The case that the newest signal of the ticket's mail belongs to.
_CASE = text("""
    SELECT s.case_id FROM ticket_messages l JOIN signals s ON s.message_id = l.message_id
     WHERE l.ticket_id = :ticket AND s.case_id IS NOT NULL ORDER BY s.at DESC, s.id DESC LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class MailWork:
    """What becomes the field work of one ticket."""

    ticket_id: UUID
    case_id: UUID | None
    priority: DispatchPriority
    trace_id: str | None


def begin(connection: Connection, works: Sequence[MailWork]) -> None:
    """Give locked tickets their field work; set-wise, and for what has some already only what is missing there."""
    once = {work.ticket_id: work for work in reversed(works)}
    if not once:
        return
    chosen = list(once.values())
    values = {
        "tickets": [work.ticket_id for work in chosen],
        "cases": [work.case_id for work in chosen],
        "priorities": [work.priority.value for work in chosen],
        "minutes": [MINUTES[work.priority] for work in chosen],
        "traces": [work.trace_id for work in chosen],
        "soon": DUE_SOON,
    }
    connection.execute(_BEGIN, values)


def begin_by_hand(connection: Connection, ticket: FieldTicket) -> None:
    """Give a locked ticket its field work because somebody triages it."""
    case_id = connection.execute(_CASE, {"ticket": ticket.ticket_id}).scalar_one_or_none()
    begin(connection, [MailWork(ticket.ticket_id, case_id, ticket.priority, ticket.trace_id)])
