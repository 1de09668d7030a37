"""What the policy in the shadow says of open cases, beside the one in force: counted, and one by one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import TriageMode

#: What it said before it came into the shadow, if it was there once already, is of cases as they were then.
_FROM = """
      FROM case_shadows s JOIN cases c ON c.id = s.case_id
     WHERE s.policy_id = :policy AND s.at >= :since AND c.state = 'open' AND c.mode = :mode
"""
_COUNTS = text(f"""
    SELECT c.recommended_action AS action, s.recommended_action AS shadow_action, count(*) AS cases {_FROM}
     GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
""")
_WAITING = text("""
    SELECT count(*) FROM cases c
     WHERE c.org_id = :org AND c.mode = :mode AND c.state = 'open'
       AND NOT EXISTS (SELECT FROM case_shadows s
                        WHERE s.policy_id = :policy AND s.case_id = c.id AND s.at >= :since)
""")
_PAGE = text(f"""
    SELECT d.*, a.tag AS charger_id FROM (
        SELECT c.id, c.code, c.asset_id, c.priority_score, c.confidence, c.sla_hours, c.recommended_action,
               s.priority_score AS shadow_priority_score, s.confidence AS shadow_confidence,
               s.sla_hours AS shadow_sla_hours, s.recommended_action AS shadow_recommended_action, s.at {_FROM}
           AND s.recommended_action <> c.recommended_action
           AND (CAST(:at AS timestamptz) IS NULL OR (s.at, s.case_id) < (CAST(:at AS timestamptz), CAST(:case AS uuid)))
         ORDER BY s.at DESC, s.case_id DESC LIMIT :limit) AS d
      JOIN assets a ON a.id = d.asset_id
     ORDER BY d.at DESC, d.id DESC
""")  # noqa: S608 - parts from above


@dataclass(frozen=True, slots=True)
class Shadow:
    """The policy in the shadow, since when it is there, and the mode that leads."""

    org_id: UUID
    policy_id: UUID
    since: datetime
    mode: TriageMode

    @property
    def values(self) -> dict[str, Any]:
        """The parameters of every statement."""
        return {"org": self.org_id, "policy": self.policy_id, "since": self.since, "mode": self.mode.value}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page goes on."""

    at: datetime
    case_id: UUID


def counts(connection: Connection, shadow: Shadow) -> list[Row[Any]]:
    """Return how many open cases have which action by the policy in force and by the shadow."""
    return list(connection.execute(_COUNTS, shadow.values))


def waiting(connection: Connection, shadow: Shadow) -> int:
    """Return of how many open cases the shadow has said nothing yet."""
    return int(connection.execute(_WAITING, shadow.values).scalar_one())


def page(connection: Connection, shadow: Shadow, *, after: Place | None, limit: int) -> list[Row[Any]]:
    """Return cases that the shadow would treat otherwise, those that it spoke of last first."""
    at, case_id = (None, None) if after is None else (after.at, after.case_id)
    return list(connection.execute(_PAGE, {**shadow.values, "at": at, "case": case_id, "limit": limit}))
