"""Questions to be answered before a case is dispatched: asked when it is uncertain, taken back when it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import TaskResult
from pipeline.core import scoring
from pipeline.core.triage_policy import ASSET, TriagePolicy

if TYPE_CHECKING:
    from pipeline.runtime.case_rows import Assessed

#: Of all questions about this trouble, whichever mode led when they were asked: so no two share their code.
_NUMBER = """(SELECT 1 + count(*) AS number FROM verification_tasks v JOIN cases k ON k.id = v.case_id
              WHERE k.asset_id = c.asset_id AND k.number = c.number)"""
_CODE = "'ver_' || substr(c.code, 6) || CASE WHEN n.number = 1 THEN '' ELSE '__' || n.number END"
_ASK = text(f"""
    INSERT INTO verification_tasks (org_id, case_id, question, owner, number, code)
    SELECT c.org_id, c.id, a.question, a.owner, n.number, {_CODE}
      FROM unnest(CAST(:cases AS uuid[]), CAST(:questions AS text[]), CAST(:owners AS text[]))
        AS a(case_id, question, owner)
      JOIN cases c ON c.id = a.case_id
     CROSS JOIN LATERAL {_NUMBER} AS n
     ORDER BY c.id
        ON CONFLICT (case_id) WHERE status = 'open' DO NOTHING
""")  # noqa: S608 - parts from above
_END = text("""
    UPDATE verification_tasks SET status = 'done', result = :result, ended_at = now()
     WHERE case_id = :case AND status = 'open' RETURNING id, code, question, owner, status, result
""")
#: Somebody told what nobody had asked.
_ENDED = text(f"""
    INSERT INTO verification_tasks (org_id, case_id, question, owner, status, result, ended_at, number, code)
    SELECT c.org_id, c.id, :question, :owner, 'done', :result, now(), n.number, {_CODE}
      FROM cases c CROSS JOIN LATERAL {_NUMBER} AS n WHERE c.id = :case
    RETURNING id, code, question, owner, status, result
""")  # noqa: S608 - parts from above
_TAKE_BACK = text("""
    UPDATE verification_tasks SET status = 'superseded', ended_at = now()
     WHERE case_id = ANY(CAST(:cases AS uuid[])) AND status = 'open'
""")


def follow(connection: Connection, cases: Sequence[Assessed], policies: Mapping[UUID, TriagePolicy]) -> None:
    """Ask what uncertain cases need to know, each once, and take back what the others do not need any more."""
    asking = [one for one in cases if one.case.verification_required and not one.is_asked]
    if asking:
        tasks = [scoring.verification_tasks([one.case], policies[one.asset_id])[0] for one in asking]
        values = {
            "cases": [one.case_id for one in asking],
            "questions": [task.question for task in tasks],
            "owners": [task.owner for task in tasks],
        }
        connection.execute(_ASK, values)
    take_back(connection, [one.case_id for one in cases if one.is_asked and not one.case.verification_required])


def end(connection: Connection, case_id: UUID, asset: str, policy: TriagePolicy, result: TaskResult) -> Row[Any]:
    """End the open question of a case whose asset is locked; without one, make one that is ended. Return it."""
    values = {"case": case_id, "result": result.value}
    ended = connection.execute(_END, values).one_or_none()
    if ended is not None:
        return ended
    asks = policy.verification
    words = {"question": asks.question.replace(ASSET, asset), "owner": asks.owner}
    return connection.execute(_ENDED, {**values, **words}).one()


def take_back(connection: Connection, case_ids: Sequence[UUID]) -> None:
    """Ask nothing of these cases any more; the questions stay for the record."""
    if case_ids:
        connection.execute(_TAKE_BACK, {"cases": list(case_ids)})
