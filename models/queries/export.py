"""A mailbox's data on its way out: rows streamed through a cursor in the database, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

#: A message without a Message-ID is named by its content.
_NAME = "coalesce(m.rfc_message_id, 'sha256:' || encode(m.raw_sha256, 'hex'))"
_MINE = "SELECT DISTINCT message_id FROM occurrences WHERE mailbox_id = :id AND message_id IS NOT NULL"

_TICKETS = text(f"""
    SELECT t.code AS ticket, t.status, t.subject, l.message_ids
      FROM (SELECT l.ticket_id, array_agg({_NAME} ORDER BY m.received_at, m.id) AS message_ids
              FROM ({_MINE}) AS mine JOIN ticket_messages l USING (message_id) JOIN messages m ON m.id = l.message_id
             GROUP BY l.ticket_id) AS l
      JOIN tickets t ON t.id = l.ticket_id
     WHERE t.status <> 'merged'
     ORDER BY t.first_message_at, t.id
""")  # noqa: S608 - made of the constants above
_MESSAGES = text(f"""
    SELECT {_NAME} AS message_id, mine.provider_ids, t.code AS ticket, m.direction, m.subject,
           m.from_address AS "from", m.dated_at AS date, m.received_at, m.machine, m.flags,
           encode(m.raw_sha256, 'hex') AS raw_sha256
      FROM (SELECT message_id, array_agg(provider_id ORDER BY id) AS provider_ids FROM occurrences
             WHERE mailbox_id = :id AND message_id IS NOT NULL GROUP BY message_id) AS mine
      JOIN messages m ON m.id = mine.message_id
      LEFT JOIN ticket_messages l ON l.message_id = m.id
      LEFT JOIN tickets t ON t.id = l.ticket_id
     ORDER BY m.received_at, m.id
""")  # noqa: S608 - made of the constants above
_WORK_ORDERS = text(f"""
    SELECT 'wo_' || lpad(CAST(w.number AS text), greatest(3, length(CAST(w.number AS text))), '0') AS work_order,
           w.state, t.code AS ticket, a.tag AS asset, team.name AS team, c.priority_score,
           c.root_cause_tag AS root_cause, w.due_at, w.created_at
      FROM work_orders w JOIN cases c ON c.id = w.case_id JOIN assets a ON a.id = c.asset_id
      LEFT JOIN tickets t ON t.id = w.ticket_id
      LEFT JOIN teams team ON team.id = w.team_id
     WHERE w.case_id IN (SELECT s.case_id FROM signals s WHERE s.message_id IN ({_MINE}))
     ORDER BY w.number
""")  # noqa: S608 - made of the constants above

_ROWS_AT_A_TIME = 500


def tickets(connection: Connection, mailbox_id: UUID) -> Iterator[dict[str, Any]]:
    """Yield `ticket, status, subject, message_ids` of each ticket with messages of the mailbox, oldest first.

    `message_ids` are the Message-IDs of those messages in order of arrival; one without is `sha256:<raw hash>`. What
    was merged away stands in the ticket it was merged into.
    """
    return _stream(connection, _TICKETS, mailbox_id)


def messages(connection: Connection, mailbox_id: UUID) -> Iterator[dict[str, Any]]:
    """Yield each message of the mailbox once, oldest first, with its provider ids there and the code of its ticket."""
    return _stream(connection, _MESSAGES, mailbox_id)


def work_orders(connection: Connection, mailbox_id: UUID) -> Iterator[dict[str, Any]]:
    """Yield the work orders of the cases that messages of the mailbox speak of, by number."""
    return _stream(connection, _WORK_ORDERS, mailbox_id)


def _stream(connection: Connection, query: TextClause, mailbox_id: UUID) -> Iterator[dict[str, Any]]:
    streamed = query.execution_options(stream_results=True, yield_per=_ROWS_AT_A_TIME)
    with connection.execute(streamed, {"id": mailbox_id}) as rows:
        for row in rows.mappings():
            yield dict(row)
