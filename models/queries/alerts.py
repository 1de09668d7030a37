"""What dispatch is alerted of, counted in a stretch of time: refusals from the audit trail, and work nobody plans.

The trail has no index by time, and needs none: its numbers are given in the order of time and without a gap, so that
where a stretch begins is found by halving.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

#: Examples that an alert comes with.
EXAMPLES = 5
#: Tickets that are looked at in each organization, those with the earliest deadlines.
WALK = 10_000

_ORGANIZATIONS = text("""
    SELECT id, policy FROM organizations WHERE CAST(:org AS uuid) IS NULL OR id = :org ORDER BY id
""")
#: What the recorder had to leave out is counted with the next that it wrote (`left_out`).
_REFUSALS = text("""
    WITH RECURSIVE wanted AS (
        SELECT w.org_id, now() - make_interval(secs => w.seconds) AS since, h.number
          FROM unnest(CAST(:orgs AS uuid[]), CAST(:seconds AS float8[])) AS w(org_id, seconds)
          JOIN audit_heads h ON h.org_id = w.org_id
    ), halved AS (
        SELECT org_id, since, CAST(0 AS bigint) AS low, number + 1 AS high FROM wanted
        UNION ALL
        SELECT h.org_id, h.since, CASE WHEN m.is_before THEN m.middle ELSE h.low END,
               CASE WHEN m.is_before THEN h.high ELSE m.middle END
          FROM halved h, LATERAL (
                SELECT (h.low + h.high) / 2 AS middle,
                       (SELECT e.at < h.since FROM audit_events e
                         WHERE e.org_id = h.org_id AND e.number = (h.low + h.high) / 2) AS is_before OFFSET 0) m
         WHERE h.high - h.low > 1
    ), counted AS (
        SELECT b.org_id, k.kind, e.number, e.at, e.target_id, e.target_kind, e.request_id,
               1 + coalesce(CAST(d.data ->> 'left_out' AS bigint), 0) AS times
          FROM halved b
          JOIN LATERAL (SELECT * FROM audit_events e
                         WHERE e.org_id = b.org_id AND e.number > b.low AND e.outcome = 'refused' OFFSET 0) e ON true
          JOIN unnest(CAST(:codes AS text[]), CAST(:kinds AS text[])) AS k(code, kind) ON k.code = e.code
          LEFT JOIN audit_details d ON d.org_id = e.org_id AND d.number = e.number
         WHERE b.high - b.low = 1
    )
    SELECT org_id, kind, CAST(sum(times) AS bigint) AS many, min(at) AS since,
           (array_agg(target_id ORDER BY number DESC)
              FILTER (WHERE target_kind = 'ticket' AND target_id IS NOT NULL))[1 : CAST(:examples AS int)]
           AS ticket_ids,
           (array_agg(request_id ORDER BY number DESC)
              FILTER (WHERE request_id IS NOT NULL))[1 : CAST(:examples AS int)] AS request_ids
      FROM counted GROUP BY org_id, kind
""")
#: A visit that is to come is no standstill: what is scheduled waits from the beginning of its window on.
_STUCK = text(f"""
    WITH stuck AS (
        SELECT w.org_id, q.ticket_id, q.waits_since
          FROM unnest(CAST(:orgs AS uuid[]), CAST(:seconds AS float8[])) AS w(org_id, seconds),
               LATERAL (
                SELECT d.ticket_id,
                       greatest(coalesce(m.at, d.created_at),
                                CASE WHEN t.dispatch_state = 'SCHEDULED' THEN d.scheduled_start END) AS waits_since
                  FROM (SELECT * FROM dispatches d WHERE d.org_id = w.org_id AND d.queue_due_at IS NOT NULL
                         ORDER BY d.queue_due_at, d.ticket_id LIMIT {WALK}) d
                  JOIN tickets t ON t.id = d.ticket_id
                  LEFT JOIN LATERAL (
                        SELECT m.at FROM transitions m
                         WHERE m.ticket_id = d.ticket_id AND m.kind = 'dispatch' ORDER BY m.id DESC LIMIT 1) m ON true
                 WHERE t.dispatch_state IN ('READY_TO_SCHEDULE', 'SCHEDULE_PROPOSED', 'SCHEDULED',
                                            'PENDING_CUSTOMER_CONFIRMATION')
               ) q
         WHERE q.waits_since < now() - make_interval(secs => w.seconds)
    )
    SELECT org_id, count(*) AS many, min(waits_since) AS since,
           (array_agg(CAST(ticket_id AS text) ORDER BY waits_since, ticket_id))[1 : CAST(:examples AS int)]
           AS ticket_ids
      FROM stuck GROUP BY org_id
""")  # noqa: S608 - a number of this module


@dataclass(frozen=True, slots=True)
class Stretch:
    """How far back one organization is looked at."""

    org_id: UUID
    window: timedelta


def policies(connection: Connection, org_id: UUID | None = None) -> dict[UUID, Mapping[str, Any]]:
    """Return the stored policies of one organization, or of all."""
    return {row.id: row.policy for row in connection.execute(_ORGANIZATIONS, {"org": org_id})}


def refusals(connection: Connection, stretches: Collection[Stretch], kinds: Mapping[str, str]) -> Sequence[Row[Any]]:
    """Count what was refused, by organization and the kind that `kinds` gives to its code, with a few examples."""
    values = {"codes": list(kinds), "kinds": list(kinds.values()), "examples": EXAMPLES}
    return connection.execute(_REFUSALS, _of(stretches) | values).all()


def stuck(connection: Connection, stretches: Collection[Stretch]) -> Sequence[Row[Any]]:
    """Count by organization the tickets that have waited so long to be planned; of its most urgent ones alone."""
    return connection.execute(_STUCK, _of(stretches) | {"examples": EXAMPLES}).all()


def _of(stretches: Collection[Stretch]) -> dict[str, Any]:
    return {
        "orgs": [one.org_id for one in stretches],
        "seconds": [one.window.total_seconds() for one in stretches],
    }
