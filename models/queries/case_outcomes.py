"""What became of cases, as figures are made of it: what each mode asked for and when, and what turned out to be true.

One row per case; an asset's cases of both modes share asset and number, and what is known of one is known of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import TruthSource

#: Troubles that one answer is made of, the newest.
MOST = 20_000

_SINCE = text("SELECT now() - CAST(:reach AS interval)")
#: Assessments that a verification caused say what a person knew, and not triage. Good news from before is evidence of a
#: trouble, and no report of it. What ages has a lower priority in the end: how urgent it ever was tells what is
#: critical. A trouble is its policy's that decided: by the last assessment of the mode that led before somebody was
#: sent or had verified, else by the first that needed nobody to verify; a later policy had nothing to decide.
_ROWS = text("""
    WITH troubles AS (
        SELECT c.asset_id, c.number, max(c.created_at) AS created_at FROM cases c
         WHERE c.org_id = :org AND c.created_at >= :since
         GROUP BY c.asset_id, c.number ORDER BY max(c.created_at) DESC, c.asset_id, c.number LIMIT :most
    ), known AS MATERIALIZED (
        SELECT u.asset_id, u.number, u.created_at,
               (SELECT min(t.at) FROM cases k JOIN case_truths t ON t.case_id = k.id
                 WHERE k.asset_id = u.asset_id AND k.number = u.number) AS told_at,
               (SELECT starts_with(t.note, CAST(:assumed AS text)) FROM cases k JOIN case_truths t ON t.case_id = k.id
                 WHERE k.asset_id = u.asset_id AND k.number = u.number
                 ORDER BY array_position(CAST(:sources AS text[]), t.source) DESC, t.id DESC LIMIT 1) AS is_assumed,
               (SELECT min(w.created_at) FROM cases k JOIN work_orders w ON w.case_id = k.id
                 WHERE k.asset_id = u.asset_id AND k.number = u.number) AS ordered_at,
               (SELECT min(o.at) FROM cases k JOIN verification_outcomes o ON o.case_id = k.id
                 WHERE k.asset_id = u.asset_id AND k.number = u.number AND o.result <> 'needs_more_data')
                   AS verified_at,
               (SELECT min(coalesce(m.created_at, s.created_at)) FROM cases k JOIN signals s ON s.case_id = k.id
                  LEFT JOIN messages m ON m.id = s.message_id
                 WHERE k.asset_id = u.asset_id AND k.number = u.number AND s.status <> 'online') AS arrived_at
          FROM troubles u
    ), decided AS MATERIALIZED (
        SELECT u.*, by.policy_version AS decided_by FROM known u
          LEFT JOIN LATERAL (
               SELECT h.policy_version
                 FROM cases k JOIN case_assessments h ON h.case_id = k.id
                 LEFT JOIN triage_policies v ON v.org_id = k.org_id AND v.version = h.policy_version
                CROSS JOIN LATERAL (
                      SELECT CASE WHEN h.at <= least(u.ordered_at, u.verified_at) THEN 0
                                  WHEN h.recommended_action <> 'needs_verification' THEN 1 ELSE 2 END AS place) AS r
                WHERE k.asset_id = u.asset_id AND k.number = u.number AND h.because <> 'verification'
                  AND k.mode = coalesce(v.policy ->> 'mode', :mode)
                ORDER BY r.place, CASE WHEN r.place = 1 THEN h.id ELSE -h.id END LIMIT 1) AS by ON true
    )
    SELECT c.asset_id, c.number, c.mode, c.is_real, c.sla_hours, coalesce(urgent.priority_score, c.priority_score)
               AS priority_score, urgent.policy_version AS urgent_version,
           CASE WHEN c.closed_because = 'quiet' AND c.decided_at >= c.closed_at THEN NULL ELSE c.decided_at END
               AS decided_at,
           least(u.arrived_at, c.created_at) AS arrived_at, u.ordered_at, u.decided_by,
           coalesce(u.is_assumed, false) AS is_assumed,
           coalesce(p.policy ->> 'mode', :mode) AS lead,
           -- What an older version left has no history.
           CASE WHEN a.number > 0 THEN a.asked_at
                WHEN c.recommended_action = 'dispatch_field_tech' THEN c.created_at END AS asked_at,
           coalesce(a.is_doubtful, c.verification_required) AS is_doubtful,
           said.policy_version, said.formula_hundredths, CAST(round(100 * said.confidence) AS int) AS told_hundredths,
           said.priority_score >= coalesce(CAST(q.policy -> 'dispatch' ->> 'from_priority' AS int), :from_priority)
               AS says_go
      FROM decided u
      JOIN cases c ON c.asset_id = u.asset_id AND c.number = u.number
      LEFT JOIN triage_policies p ON p.org_id = c.org_id AND p.version = coalesce(u.decided_by, c.policy_version)
      LEFT JOIN LATERAL (
           SELECT count(*) AS number, min(h.at) FILTER (WHERE h.recommended_action = 'dispatch_field_tech') AS asked_at,
                  bool_or(h.recommended_action = 'needs_verification') AS is_doubtful
             FROM case_assessments h WHERE h.case_id = c.id) AS a ON true
      LEFT JOIN LATERAL (
           SELECT h.policy_version, h.formula_hundredths, h.confidence, h.priority_score
             FROM case_assessments h
            WHERE h.case_id = c.id AND h.because <> 'verification' AND (u.told_at IS NULL OR h.at < u.told_at)
            ORDER BY h.policy_version IS NOT DISTINCT FROM u.decided_by DESC, h.version DESC LIMIT 1) AS said ON true
      LEFT JOIN LATERAL (
           SELECT h.priority_score, h.policy_version FROM case_assessments h
            WHERE h.case_id = c.id ORDER BY h.priority_score DESC, h.version LIMIT 1) AS urgent ON true
      LEFT JOIN triage_policies q ON q.org_id = c.org_id AND q.version = said.policy_version
     ORDER BY u.created_at DESC, c.asset_id, c.number, c.mode
""")


def ago(connection: Connection, reach: timedelta) -> datetime:
    """Return the time that lies so long before the database's now."""
    found: datetime = connection.execute(_SINCE, {"reach": reach}).scalar_one()
    return found


def outcomes(
    connection: Connection,
    org_id: UUID,
    since: datetime,
    *,
    mode: str,
    from_priority: int,
    assumed: str,
) -> Sequence[Row[Any]]:
    """Return the cases of the newest troubles that began since; `mode` and `from_priority` of the built-in policy.

    `assumed` is how a finding's note begins that nobody said.
    """
    values = {
        "org": org_id,
        "since": since,
        "mode": mode,
        "from_priority": from_priority,
        "assumed": assumed,
        "sources": [source.value for source in TruthSource],
        "most": MOST,
    }
    return connection.execute(_ROWS, values).all()
