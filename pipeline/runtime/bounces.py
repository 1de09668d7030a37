"""Reports that a mail of ours did not arrive: noted on that mail, told in its ticket, and seen by its people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, text

from models.enums import Direction, MachineKind, OutboundKind
from pipeline.core.bounces import Bounce, judge
from pipeline.runtime import regrouping
from pipeline.runtime.db import copy_rows
from pipeline.runtime.message_rows import Sighting

_SENT = text("""
    SELECT n.report_id, b.id, b.org_id, b.message_id, b.kind, b.bounced_at, l.ticket_id,
           ARRAY(SELECT a.address FROM message_addresses a
                  WHERE a.message_id = m.id AND a.role IN ('to', 'cc')) AS recipients
      FROM unnest(CAST(:reports AS bigint[]), CAST(:orgs AS uuid[]), CAST(:references AS text[]))
        AS n(report_id, org_id, reference)
      JOIN messages m ON m.org_id = n.org_id AND m.rfc_message_id IS NOT NULL
       AND hashtextextended(m.rfc_message_id, 0) = hashtextextended(n.reference, 0) AND m.rfc_message_id = n.reference
      JOIN outbound b ON b.message_id = m.id
      LEFT JOIN ticket_messages l ON l.message_id = m.id
     ORDER BY b.id, n.report_id
""")
#: The first report stays: later ones repeat it, or tell of further recipients in their events.
_BOUNCED = text("""
    UPDATE outbound b SET bounced_at = now(), bounce_message_id = t.report_id, bounce_reason = t.reason
      FROM (SELECT DISTINCT ON (u.id) u.* FROM unnest(CAST(:ids AS uuid[]), CAST(:reports AS bigint[]),
                                                      CAST(:reasons AS text[])) AS u(id, report_id, reason)
              JOIN outbound x ON x.id = u.id ORDER BY u.id, u.report_id) AS t
     WHERE b.id = t.id AND b.bounced_at IS NULL
""")
#: What somebody reports about did leave, which nobody could tell before.
_LEFT = text("""
    UPDATE outbound SET state = 'sent', sent_at = now(), last_error = NULL
     WHERE id = ANY(CAST(:ids AS uuid[])) AND state = 'unknown'
    RETURNING id
""")
#: Whoever waits for the customer, or thinks the matter is done, waits in vain: the customer never got that mail.
_REOPEN = text("""
    WITH locked AS (
        SELECT id FROM tickets WHERE id = ANY(CAST(:ids AS uuid[])) AND status IN ('pending', 'resolved', 'closed')
         ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE tickets SET status = 'open', closed_at = NULL, last_activity_at = greatest(last_activity_at, now()),
                       version = version + 1
      FROM locked WHERE tickets.id = locked.id
""")


@dataclass(frozen=True, slots=True)
class _Found:
    """A mail of ours that a report speaks of, and what it says."""

    row: Any
    bounce: Bounce


def note(connection: Connection, fresh: Mapping[int, Sighting]) -> None:
    """Mark our mails that new bounces (by message id) report as undelivered, tell their tickets, and reopen those.

    Of a mail whose fate was unknown a report shows that it was sent.
    A report that names no mail of ours, or nobody we wrote to, changes nothing; one about a delay is only told.
    """
    reports = {message_id: one for message_id, one in fresh.items() if _is_report(one)}
    if not reports:
        return
    found = _found(connection, reports)
    failed = [one for one in found if one.bounce.has_failed]
    if failed:
        values = {
            "ids": [one.row.id for one in failed],
            "reports": [one.row.report_id for one in failed],
            "reasons": [one.bounce.reason for one in failed],
        }
        connection.execute(_BOUNCED, values)
    replies = {one.row.message_id for one in failed if one.row.kind == OutboundKind.REPLY and not one.row.bounced_at}
    if replies:
        places = regrouping.lock_tickets_of(connection, sorted(replies))
        connection.execute(_REOPEN, {"ids": sorted(set(places.values()))})
    told = [*_left(connection, found), *(_event(one) for one in found)]
    copy_rows(connection, "events", ("org_id", "ticket_id", "kind", "data"), told)


def _is_report(one: Sighting) -> bool:
    result = one.result
    is_bounce = result.machine == MachineKind.BOUNCE and result.direction is Direction.INBOUND
    return is_bounce and bool(result.parsed.reported)


def _found(connection: Connection, reports: Mapping[int, Sighting]) -> Sequence[_Found]:
    named = [
        (report_id, one.org_id, value) for report_id, one in reports.items() for value in one.result.parsed.reported
    ]
    report_ids, orgs, references = (list(column) for column in zip(*named, strict=True))
    rows = connection.execute(_SENT, {"reports": report_ids, "orgs": orgs, "references": references})
    judged = ((row, judge(reports[row.report_id].result.parsed.delivery, row.recipients)) for row in rows)
    return [_Found(row, bounce) for row, bounce in judged if bounce is not None]


def _left(connection: Connection, found: Sequence[_Found]) -> list[tuple[Any, ...]]:
    """Settle what was unknown; return what their tickets are told of that."""
    rows = {one.row.id: one.row for one in found}
    if not rows:
        return []
    left = connection.execute(_LEFT, {"ids": list(rows)}).scalars().all()
    return [_sent_event(rows[outbound_id]) for outbound_id in left]


def _sent_event(row: Any) -> tuple[Any, ...]:
    said = {"outbound_id": str(row.id), "message_id": row.message_id, "shown_by": row.report_id}
    return row.org_id, row.ticket_id, "outbound.sent", orjson.dumps(said).decode()


def _event(one: _Found) -> tuple[Any, ...]:
    row, bounce = one.row, one.bounce
    said = {
        "outbound_id": str(row.id),
        "message_id": row.report_id,
        "recipients": bounce.recipients,
        "reason": bounce.reason,
    }
    kind = "outbound.bounced" if bounce.has_failed else "outbound.delayed"
    return row.org_id, row.ticket_id, kind, orjson.dumps(said).decode()
