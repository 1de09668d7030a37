"""What a person found when they verified a case: kept, and what the case asks for follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Row, text

from models.enums import AssessedBecause, CaseEnd, TaskResult, TruthSource
from pipeline.runtime import case_orders, case_questions, case_rows, case_truths
from pipeline.runtime.case_orders import Called
from pipeline.runtime.case_targets import CaseTarget
from pipeline.runtime.jobs import Emit

_OUTCOME = text("""
    INSERT INTO verification_outcomes (org_id, case_id, task_id, result, notes, actor_id)
    VALUES (:org, :case, :task, :result, :notes, :actor) RETURNING id
""")
#: Of both modes: they are about one trouble.
_VERDICT = text(f"""
    UPDATE cases c SET verified_result = :result, verified_at = now(), version = c.version + 1,
                       is_real = {case_truths.IS_REAL}
     WHERE c.asset_id = :asset AND c.state = 'open'
""")  # noqa: S608 - a constant
#: What is told of the truth by each answer; who needs more data has found nothing out.
_IS_REAL = MappingProxyType({TaskResult.CONFIRMED_ISSUE: True, TaskResult.FALSE_ALARM: False})
_VERSION = text("SELECT version FROM cases WHERE id = :case")


@dataclass(frozen=True, slots=True)
class Finding:
    """What somebody found, and who says so."""

    result: TaskResult
    notes: str
    actor_id: str
    #: For the history of tickets.
    actor: str
    trace_id: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of it: the question that is answered, the case as it is now, and what follows."""

    task: Row[Any]
    version: int
    #: For the audit trail, and what counts findings.
    truth: Mapping[str, Any]
    called: Called
    jobs: Sequence[Emit]


def keep(connection: Connection, case: CaseTarget, found: Finding) -> Verified:
    """Answer the question of a case whose asset is locked, assess the case anew, and close it after a false alarm.

    Without an open question one is made that is ended: somebody told what nobody had asked.
    """
    task = case_questions.end(connection, case.case_id, case.tag, case.policy, found.result)
    outcome_id = int(connection.execute(_OUTCOME, _outcome(case, found, task)).scalar_one())
    truth: Mapping[str, Any] = {}
    if found.result in _IS_REAL:
        truth = case_truths.said(TruthSource.VERIFICATION, is_real=_IS_REAL[found.result])
        case_truths.keep(
            connection,
            case.case_id,
            TruthSource.VERIFICATION,
            f"task:{task.id}:{outcome_id}",
            is_real=_IS_REAL[found.result],
            order_id=None,
            actor_id=found.actor_id,
            note=found.notes,
        )
    verdict = {"asset": case.asset_id, "result": found.result.value, "sources": list(case_truths.RELIABLE)}
    connection.execute(_VERDICT, verdict)
    assessed = case_rows.assess(connection, [case.asset_id], AssessedBecause.VERIFICATION)
    called, jobs = Called(), case_rows.dispatch_steps(assessed, found.trace_id)
    if found.result is TaskResult.FALSE_ALARM:
        # Whatever a clock that goes ahead has reported: nobody goes.
        jobs = []
        case_rows.close(connection, [case.asset_id], CaseEnd.FALSE_ALARM)
        called = case_orders.call_off(
            connection, case.asset_id, case.number, actor=found.actor, code=case.code, trace_id=found.trace_id
        )
    version = int(connection.execute(_VERSION, {"case": case.case_id}).scalar_one())
    return Verified(task, version, truth, called, [*jobs, *called.jobs])


def _outcome(case: CaseTarget, found: Finding, task: Row[Any]) -> dict[str, Any]:
    return {
        "org": case.org_id,
        "case": case.case_id,
        "task": task.id,
        "result": found.result.value,
        "notes": found.notes,
        "actor": found.actor_id,
    }
