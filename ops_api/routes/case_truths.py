"""What was true of cases: said by a person, and what triage was worth by it (contract 003, metrics)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from ops_api.case_answers import CaseEnvelope, CaseName, whole
from ops_api.case_metric_answers import CaseCorrected, CompareMetrics, TruthMetrics
from ops_api.commands import Calling
from ops_api.dependencies import SignedIn, Transaction
from ops_api.guard import GuardedRoute
from pipeline.commands.case_arguments import At
from pipeline.commands.case_truths import TELL, Correction
from pipeline.core import case_metrics
from pipeline.runtime import case_outcomes

router = APIRouter(route_class=GuardedRoute, prefix="/api", tags=["cases"])

Since = Annotated[At | None, Query(description="Cases that began since then; without it, the last 90 days.")]


@router.post("/cases/{case_id}/truth", response_model=CaseEnvelope[CaseCorrected])
def tell_truth(case_id: CaseName, call: Calling, asked: Correction) -> Response:
    """Say whether something was wrong, whatever was found before; also of a case that is closed."""
    return call.run(TELL, case_id, asked)


@router.get("/metrics/compare")
def compare(session: SignedIn, connection: Transaction, since: Since = None) -> CaseEnvelope[CompareMetrics]:
    """Return what certainty changes against baseline, by what turned out to be true (decision 50)."""
    begun_at = case_outcomes.since(connection, since)
    found = case_outcomes.troubles(connection, session.org_id, begun_at)
    answer = {**case_metrics.compare(found), "since": begun_at, "is_whole": case_outcomes.is_whole(found)}
    return CaseEnvelope[CompareMetrics].model_validate(whole(answer))


@router.get("/metrics/truth")
def truth(session: SignedIn, connection: Transaction, since: Since = None) -> CaseEnvelope[TruthMetrics]:
    """Return false dispatches, missed criticals, minutes and how true certainties were, by version of the policy."""
    begun_at = case_outcomes.since(connection, since)
    found = case_outcomes.troubles(connection, session.org_id, begun_at)
    known = {"since": begun_at, "is_whole": case_outcomes.is_whole(found)}
    answer = {**case_metrics.counts(found), **known, "policies": case_metrics.by_policy(found)}
    return CaseEnvelope[TruthMetrics].model_validate(whole(answer))
