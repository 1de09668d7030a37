"""What ends with field work: visits, assignments, running time, holds, links, approvals, and what an intake claimed.

A ticket that is let go (its technician is called back) and one that ends (cancelled or closed) take the same way, so
that nothing goes on behind a ticket that does not. Whoever adds a table of things that go on adds it here.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from pipeline.core.field_work import FieldTicket
from pipeline.runtime import approval_rows, visit_rows
from pipeline.runtime.jobs import Emit

#: The technician is there: it took place, and counts.
_VISITED = text("""
    UPDATE visits SET state = 'done', ended_at = now() WHERE ticket_id = :ticket AND state = 'under_way'
""")
_ASSIGNMENT = text("""
    UPDATE assignments SET ended_at = now(), ended_because = :because WHERE ticket_id = :ticket AND ended_at IS NULL
""")
_TIME = text("""
    UPDATE time_entries SET ended_at = greatest(began_at, now()) WHERE ticket_id = :ticket AND ended_at IS NULL
""")
_HOLD = text("""
    UPDATE schedule_holds SET state = 'cancelled', ended_at = now(), ended_because = :because
     WHERE ticket_id = :ticket AND state = 'open'
""")
_LINKS = text("UPDATE visit_links SET revoked_at = now() WHERE ticket_id = :ticket AND revoked_at IS NULL")
_WINDOWS = text("DELETE FROM proposed_windows WHERE ticket_id = :ticket")
_CLAIM = text("UPDATE intakes SET is_open = false WHERE ticket_id = :ticket AND is_open")
_RECLAIM = text("UPDATE intakes SET is_open = true WHERE ticket_id = :ticket")
#: A ticket that nobody wrote a mail in is over on the desk, too: there is nobody to answer.
_DESK = text("""
    UPDATE tickets t SET status = 'closed', closed_at = now()
     WHERE t.id = :ticket AND t.status IN ('new', 'open', 'pending', 'resolved')
       AND NOT EXISTS (SELECT FROM ticket_messages l WHERE l.ticket_id = t.id)
""")
_DESK_AGAIN = text("""
    UPDATE tickets t SET status = 'open', closed_at = NULL
     WHERE t.id = :ticket AND t.status = 'closed'
       AND NOT EXISTS (SELECT FROM ticket_messages l WHERE l.ticket_id = t.id)
""")
_SENT_AGAIN = text("""
    INSERT INTO assignments (org_id, ticket_id, technician_id, provider_id, mode, candidates, recommendation_id,
                             overruled_because, assigned_by)
    SELECT a.org_id, a.ticket_id, a.technician_id, a.provider_id, a.mode, a.candidates, a.recommendation_id,
           a.overruled_because, :by
      FROM assignments a
     WHERE a.ticket_id = :ticket
       AND NOT EXISTS (SELECT FROM assignments g WHERE g.ticket_id = :ticket AND g.ended_at IS NULL)
     ORDER BY a.id DESC LIMIT 1
""")
#: The columns of field work that are empty once nobody is sent.
UNASSIGNED = ("assigned_tech_id", "assigned_provider_id", "scheduled_start", "scheduled_end")


@dataclass(frozen=True, slots=True)
class Ended:
    """What follows from an end: customers to be told, and whether the ticket left the desk, too."""

    jobs: list[Emit]
    left_desk: bool


def call_back(connection: Connection, ticket: FieldTicket, *, because: str) -> list[Emit]:
    """End what a technician has to do with a locked ticket: visit, assignment, running time. Its rows stay.

    Returns the steps that tell the customer that nobody comes.
    """
    values = {"ticket": ticket.ticket_id, "because": because}
    for statement in (_VISITED, _ASSIGNMENT, _TIME):
        connection.execute(statement, values)
    return [visit_rows.invitation(one, ticket.trace_id) for one in visit_rows.call_off(connection, ticket.ticket_id)]


def end(connection: Connection, ticket: FieldTicket, *, by: str, because: str) -> Ended:
    """End everything that goes on for a locked ticket that is cancelled or closed.

    Call `clocks.note_status` afterwards where it left the desk.
    """
    jobs = call_back(connection, ticket, because=because)
    approval_rows.cancel_pending(connection, ticket.ticket_id, by, because)
    values = {"ticket": ticket.ticket_id, "because": because}
    for statement in (_HOLD, _LINKS, _WINDOWS, _CLAIM):
        connection.execute(statement, values)
    return Ended(jobs, left_desk=connection.execute(_DESK, values).rowcount > 0)


def begin_again(connection: Connection, ticket: FieldTicket) -> bool:
    """Take up a cancelled ticket again; say whether it is back on the desk.

    What its intake claimed is claimed again, unless another one has that by now.
    """
    with suppress(IntegrityError), connection.begin_nested():
        connection.execute(_RECLAIM, {"ticket": ticket.ticket_id})
    return connection.execute(_DESK_AGAIN, {"ticket": ticket.ticket_id}).rowcount > 0


def send_again(connection: Connection, ticket: FieldTicket, *, by: str) -> None:
    """Give a ticket back to the technician who had it last, unless somebody has it."""
    connection.execute(_SENT_AGAIN, {"ticket": ticket.ticket_id, "by": by})
