"""Contract 003's metrics over HTTP: three finite numbers by recorded truth, and a person who corrects it."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Any

import pytest

from deploy.local.lock import Endpoints
from tests.conformance.case_service import Cases, case_service, data, refused, signals
from tests.conftest import fresh_database

pytestmark = pytest.mark.xdist_group("cases")

NUMBERS = ("false_dispatch_reduction_pct", "triage_time_reduction_pct", "critical_catch_rate_delta_pct")


@pytest.fixture(scope="module")
def alone(servers: Endpoints) -> Iterator[Cases]:
    """Serve to this module alone: figures are over all cases of an organization."""
    with fresh_database(servers) as url, case_service(url) as running:
        yield running


def correct(cases: Cases, case_id: str, *, is_real: bool, **more: Any) -> Any:
    body = {"is_real": is_real, "note": "I was there", **more}
    return data(cases.post(f"/api/cases/{case_id}/truth", body))


def numbers(found: dict[str, Any]) -> list[float]:
    return [found[name] for name in NUMBERS]


def test_without_cases_the_three_numbers_are_zero_and_then_they_are_counted_by_truth(alone: Cases) -> None:
    cases = alone
    found = data(cases.get("/api/metrics/compare"))
    assert numbers(found) == [0.0, 0.0, 0.0]
    assert all(type(value) is float for value in numbers(found))
    # Both modes send somebody to a clear report; to a contradictory one baseline alone.
    doubtful = [cases.case(signals("down online", 2))["id"] for _ in range(2)]
    sure = [cases.case(signals("down down", 2))["id"] for _ in range(2)]
    for case_id, is_real in zip((*doubtful, *sure), (False, True, False, True), strict=True):
        correct(cases, case_id, is_real=is_real)
    cases.case(signals("degraded"))
    found = data(cases.get("/api/metrics/compare"))
    counts = found["counts"]
    assert (counts["cases"], counts["known"], counts["real"], counts["not_real"]) == (5, 4, 2, 2)
    assert counts["false_dispatches"] == {"baseline": 2, "certainty": 1}
    assert (counts["criticals"], counts["criticals_caught"]) == (2, {"baseline": 2, "certainty": 1})
    assert numbers(found)[0::2] == [50.0, -50.0]
    assert all(isfinite(value) and round(value, 2) == value for value in numbers(found))
    assert set(found["intervals"]["false_dispatch_rate_pct"]["baseline"]) == {"value", "low", "high"}
    later = data(cases.get("/api/metrics/compare", since="2100-01-01"))
    assert (numbers(later), later["since"]) == ([0.0, 0.0, 0.0], "2100-01-01T00:00:00Z")
    told = data(cases.get("/api/metrics/truth"))
    (policy,) = told["policies"]
    assert (policy["policy_version"], policy["false_dispatches"], policy["missed_criticals"]) == (0, 1, 1)
    assert (len(policy["reliability"]), sum(one["count"] for one in policy["reliability"])) == (10, 4)
    assert 0 <= policy["brier_score"] <= 1
    assert policy["triage_minutes_p95"] >= policy["triage_minutes_p50"] >= 0


def test_a_person_corrects_what_was_found_and_both_modes_learn_of_it(cases: Cases) -> None:
    case = cases.case(signals("down online", 2))
    cases.verify(case["id"], "confirmed_issue")
    assert cases.detail(case["id"])["case"]["is_real"] is True
    found = correct(cases, case["id"], is_real=False)
    assert (found["case"]["is_real"], found["case"]["state"]) == (False, "closed")
    assert cases.detail(case["id"], mode="baseline")["case"]["is_real"] is False
    truths = cases.detail(case["id"])["truths"]
    assert [(one["source"], one["is_real"]) for one in truths] == [("person", False), ("verification", True)]
    assert cases.rows(
        "SELECT outcome, target_kind FROM audit_events WHERE action = 'case.truth' AND target_id = :id", id=case["uuid"]
    ) == [("done", "case")]
    text = cases.api.client().get("/metrics").text
    assert 'fieldpost_case_truths_total{real="false",source="person"}' in text
    assert 'fieldpost_case_truths_total{real="true",source="qc"} 0.0' in text


def test_a_key_has_its_correction_once(cases: Cases) -> None:
    case = cases.case(signals("down"))
    key: dict[str, Any] = {"headers": {"Idempotency-Key": "0190b7c4-0000-7000-8000-00000000000f"}}
    body = {"is_real": True, "note": "seen"}
    first, again = (cases.post(f"/api/cases/{case['id']}/truth", body, **key) for _ in range(2))
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert len(cases.detail(case["id"])["truths"]) == 1


@pytest.mark.parametrize(
    "body", [{}, {"is_real": "yes", "note": "x"}, {"is_real": True, "note": " "}, {"is_real": True}]
)
def test_a_correction_says_what_and_why(cases: Cases, body: dict[str, Any]) -> None:
    case = cases.case(signals("down"))
    refused(cases.post(f"/api/cases/{case['id']}/truth", body), 400)


def test_who_may_not_is_refused_in_the_envelope(cases: Cases) -> None:
    case = cases.case(signals("down"))
    path = f"/api/cases/{case['id']}/truth"
    refused(cases.post(path, {"is_real": True, "note": "x"}, by="viewer"), 403)
    refused(cases.post("/api/cases/case_nowhere/truth", {"is_real": True, "note": "x"}), 404)
    refused(cases.post(path, {"is_real": True, "note": "x"}, by="elsewhere"), 404)
    for metric in ("compare", "truth"):
        refused(cases.get(f"/api/metrics/{metric}", by="technician"), 403)
        refused(cases.get(f"/api/metrics/{metric}", by="elsewhere"), 403)
        refused(cases.api.client().get(f"/api/metrics/{metric}"), 401)
        refused(cases.get(f"/api/metrics/{metric}", since="yesterday"), 400)
        refused(cases.post(f"/api/metrics/{metric}", {}), 405)
