"""Questions to be answered before a case is dispatched: asked when it is uncertain, taken back when it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.core import scoring
from pipeline.core.triage_policy import TriagePolicy

if TYPE_CHECKING:
    from pipeline.runtime.case_rows import Assessed

_ASK = text("""
    INSERT INTO verification_tasks (org_id, case_id, question, owner, number, code)
    SELECT c.org_id, c.id, a.question, a.owner, n.number,
           'ver_' || substr(c.code, 6) || CASE WHEN n.number = 1 THEN '' ELSE '__' || n.number END
      FROM unnest(CAST(:cases AS uuid[]), CAST(:questions AS text[]), CAST(:owners AS text[]))
        AS a(case_id, question, owner)
      JOIN cases c ON c.id = a.case_id
     CROSS JOIN LATERAL (
           SELECT 1 + count(*) AS number FROM verification_tasks v WHERE v.case_id = c.id) AS n
     ORDER BY c.id
        ON CONFLICT (case_id) WHERE status = 'open' DO NOTHING
""")
_TAKE_BACK = text("""
    UPDATE verification_tasks SET status = 'superseded', ended_at = now()
     WHERE case_id = ANY(CAST(:cases AS uuid[])) AND status = 'open'
""")


def follow(connection: Connection, cases: Sequence[Assessed], policies: Mapping[UUID, TriagePolicy]) -> None:
    """Ask what uncertain cases need to know, each once, and take back what the others do not need any more."""
    asking = [one for one in cases if one.case.verification_required]
    if asking:
        tasks = [scoring.verification_tasks([one.case], policies[one.asset_id])[0] for one in asking]
        values = {
            "cases": [one.case_id for one in asking],
            "questions": [task.question for task in tasks],
            "owners": [task.owner for task in tasks],
        }
        connection.execute(_ASK, values)
    take_back(connection, [one.case_id for one in cases if not one.case.verification_required and one.is_changed])


def take_back(connection: Connection, case_ids: Sequence[UUID]) -> None:
    """Ask nothing of these cases any more; the questions stay for the record."""
    if case_ids:
        connection.execute(_TAKE_BACK, {"cases": list(case_ids)})
