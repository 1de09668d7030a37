"""Contract 003's triage over HTTP: the known vectors, ties, the defects that are not repeated, and bad requests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.case_service import Cases, charger, data, refused, signals
from tests.core.test_scoring import VECTORS

pytestmark = pytest.mark.xdist_group("cases")

#: Contract 003, Case: these names, and additive ones beside them.
CASE = {
    *("id", "charger_id", "priority_score", "sla_hours", "root_cause_tag", "confidence", "recommended_action"),
    *("evidence_ids", "grid_stress_level", "explanation", "uncertainty_reasons", "verification_required"),
}
TASK = {"id", "case_id", "question", "owner", "status", "result"}
_TRIAGE = "/api/triage/certainty"


@pytest.mark.parametrize("vector", VECTORS, ids=[f"{vector[0]} from {vector[1]}" for vector in VECTORS])
def test_every_known_vector_scores_exactly_over_http(cases: Cases, vector: tuple[Any, ...]) -> None:
    statuses, sources, score, hours, stress, confidence, action, reasons = vector
    told = signals(statuses, sources)
    # Good news alone opens no case: the first report is told again, as it was meant.
    cases.triage([told[0] | {"status": "down"}])
    found = cases.triage(told)
    (case,) = found["cases"]
    assert set(case) >= CASE
    assert (case["priority_score"], case["sla_hours"], case["grid_stress_level"]) == (score, hours, stress)
    assert (case["confidence"], case["recommended_action"], case["uncertainty_reasons"]) == (
        confidence,
        action,
        reasons,
    )
    assert case["evidence_ids"] == [one["id"] for one in reversed(told)]
    assert case["verification_required"] is (action == "needs_verification")
    assert [one["case_id"] for one in found["verification_tasks"]] == [case["id"]] * case["verification_required"]
    (severe,) = cases.triage(told, "baseline")["cases"]
    assert (severe["priority_score"], severe["uncertainty_reasons"]) == (score, [])
    assert severe["confidence"] == round(min(0.99, 0.55 + score / 200), 2)
    assert severe["recommended_action"] == ("dispatch_field_tech" if score >= 65 else "remote_reset")


def test_the_contracts_own_example_is_taken(cases: Cases) -> None:
    told = {
        "id": "sig_001",
        "source": "311",
        "timestamp": "2026-02-20T20:00:00Z",
        "charger_id": "AUS_0123",
        "lat": 30.2672,
        "lon": -97.7431,
        "status": "down",
        "text": "charger dead",
    }
    (case,) = cases.triage([told], "baseline")["cases"]
    # The formulas, and not the numbers of the contract's example, which contradict them (seed-behaviours, 4.6 no. 12).
    assert (case["id"], case["charger_id"], case["evidence_ids"]) == ("case_aus_0123", "AUS_0123", ["sig_001"])
    assert (case["priority_score"], case["sla_hours"], case["grid_stress_level"]) == (95, 2, "high")


def test_ids_are_made_of_the_charger_and_fields_have_the_contracts_types(cases: Cases) -> None:
    asset = charger()
    found = cases.triage(signals("degraded", asset=asset, lat=30.2672, lon=-97.7431))
    (case,), (task,) = found["cases"], found["verification_tasks"]
    slug = asset.lower()
    assert (case["id"], case["charger_id"], task["id"], task["case_id"]) == (
        f"case_{slug}", asset, f"ver_{slug}", f"case_{slug}",
    )  # fmt: skip
    assert set(task) == TASK
    assert (task["question"], task["owner"], task["status"], task["result"]) == (
        f"Is charger {asset} physically offline right now?", "FieldOps", "open", None,
    )  # fmt: skip
    assert case["first_signal_at"] == "2026-02-20T20:00:00Z"
    assert {name: type(case[name]) for name in ("priority_score", "sla_hours", "confidence")} == {
        "priority_score": int, "sla_hours": int, "confidence": float,
    }  # fmt: skip


@pytest.mark.parametrize("order", [1, -1])
def test_ties_come_by_charger_in_whatever_order_they_were_reported(cases: Cases, order: int) -> None:
    assets = [charger(), charger()]
    told = [one for asset in assets[::order] for one in signals("degraded", asset=asset)]
    found = cases.triage(told)
    assert [case["charger_id"] for case in found["cases"]] == assets
    assert [task["case_id"] for task in found["verification_tasks"]] == [f"case_{asset.lower()}" for asset in assets]


@pytest.mark.parametrize("order", [1, -1])
def test_signals_of_one_moment_and_causes_of_equal_hits_come_out_alike_in_both_orders(cases: Cases, order: int) -> None:
    told = signals("down online")
    for one, name, words in zip(told, "ab", ("the cable", "the card"), strict=True):
        one |= {"timestamp": "2026-02-20T20:00:00Z", "id": f"{name}_{one['charger_id']}", "text": words}
    case = cases.case(told[::order])
    assert [one[0] for one in case["evidence_ids"]] == ["b", "a"]
    assert case["root_cause_tag"] == "payment_terminal"
    assert "newest online" in case["explanation"]


def test_signals_of_later_calls_join_the_case_and_nothing_of_it_is_lost(cases: Cases) -> None:
    asset = charger()
    first, second = signals("down down", asset=asset)
    before = cases.case([first])
    other = cases.case(signals("degraded"))
    after = cases.case([second])
    assert (after["uuid"], after["evidence_ids"]) == (before["uuid"], [second["id"], first["id"]])
    assert after["version"] > before["version"]
    # A charger that was not in the call is as it was (seed-behaviours, 4.6 no. 1).
    assert cases.detail(other["id"])["case"]["evidence_ids"] == other["evidence_ids"]
    assert [one["version"] for one in cases.detail(after["id"])["assessments"]] == [1, 0]


def test_the_same_call_twice_changes_nothing(cases: Cases) -> None:
    told = signals("down online", 2)
    assert cases.triage(told) == cases.triage(told)
    assert len(cases.rows("SELECT id FROM signals WHERE external_id = :id", id=told[0]["id"])) == 1


def test_a_key_has_the_same_answer_and_no_second_effect(cases: Cases) -> None:
    told, key = signals("down"), {"headers": {"Idempotency-Key": "0190b7c4-0000-7000-8000-000000000001"}}
    first = cases.post(_TRIAGE, {"signals": told}, **key)
    again = cases.post(_TRIAGE, {"signals": told}, **key)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    refused(cases.post(_TRIAGE, {"signals": signals("down")}, **key), 409)


def test_a_duplicate_in_one_call_counts_once_and_its_newest_version_holds(cases: Cases) -> None:
    old, new = signals("online down")
    new["id"] = old["id"]
    case = cases.case([new, old, new])
    assert (case["evidence_ids"], case["recommended_action"]) == ([new["id"]], "dispatch_field_tech")
    # The older version comes late, in a call of its own.
    assert cases.case([old])["recommended_action"] == "dispatch_field_tech"


def test_naive_and_zoned_times_are_one_time(cases: Cases) -> None:
    first, second = signals("down online")
    first["timestamp"], second["timestamp"] = "2026-02-20T20:00:00", "2026-02-20T15:01:00-05:00"
    case = cases.case([second, first])
    assert (case["first_signal_at"], case["last_signal_at"]) == ("2026-02-20T20:00:00Z", "2026-02-20T20:01:00Z")


def test_spellings_of_one_charger_are_one_case(cases: Cases) -> None:
    asset = charger()
    told = [
        *signals("down", asset=asset),
        *signals("down", asset=asset.lower().replace("_", "-"), timestamp="2026-02-20T20:05:00Z"),
    ]
    case = cases.case(told)
    assert (case["charger_id"], len(case["evidence_ids"])) == (asset, 2)


def test_good_news_alone_opens_no_case(cases: Cases) -> None:
    told = signals("online online online online online")
    assert cases.triage(told) == {"cases": [], "verification_tasks": []}
    assert cases.rows("SELECT count(*) FROM signals WHERE external_id = :id", id=told[0]["id"]) == [(1,)]


def test_words_are_whole_words(cases: Cases) -> None:
    assert cases.case(signals("down", text="support stopping discard"))["root_cause_tag"] == "unknown"


def test_a_report_that_names_another_charger_moves_there(cases: Cases) -> None:
    (told,) = signals("down")
    before = cases.case([told])
    moved = cases.case([told | {"charger_id": charger()}])
    assert moved["evidence_ids"] == [told["id"]]
    assert cases.detail(before["id"])["case"]["evidence_ids"] == []


def test_no_signals_are_no_cases(cases: Cases) -> None:
    assert cases.triage([], "baseline") == {"cases": []}


def test_leading_cases_that_ask_for_it_are_dispatched_and_others_are_not(cases: Cases) -> None:
    certain, doubtful = cases.case(signals("down")), cases.case(signals("degraded"))
    assert (certain["uuid"] in cases.jobs("dispatch"), doubtful["uuid"] in cases.jobs("dispatch")) == (True, False)


def test_what_is_reported_again_brings_no_order_back_that_was_called_off(cases: Cases) -> None:
    told = signals("down")
    case = cases.case(told)
    cases.rows("DELETE FROM jobs WHERE stage = 'dispatch' AND key = :key RETURNING id", key=case["uuid"])
    cases.triage(told)
    assert case["uuid"] not in cases.jobs("dispatch")
    cases.triage(signals("down", asset=case["charger_id"]))
    assert case["uuid"] in cases.jobs("dispatch")


def test_a_run_is_in_the_audit_trail(cases: Cases) -> None:
    cases.triage(signals("down"))
    assert cases.rows(
        "SELECT outcome, target_kind FROM audit_events WHERE action = 'triage.run' ORDER BY number DESC LIMIT 1"
    ) == [("done", "organization")]


_GOOD = {"id": "s", "source": "311", "timestamp": "2026-02-20T20:00:00Z", "charger_id": "A", "status": "down"}


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"id": ""}, "id"),
        ({"id": "a\u0007b"}, "control character"),
        ({"id": "x" * 201}, "200"),
        ({"source": "mail"}, "source"),
        ({"status": "broken"}, "status"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": 1771617600}, "2026-02-20T20:00:00Z"),
        ({"timestamp": "2150-01-01T00:00:00Z"}, "ahead"),
        ({"charger_id": " "}, "charger_id"),
        ({"charger_id": "a\nb"}, "line end"),
        ({"lat": 91}, "lat"),
        ({"lon": "west"}, "lon"),
        ({"text": "a\u0001"}, "control character"),
        ({"text": "x" * 20_001}, "text"),
        ({"priority": 3}, "priority"),
    ],
    ids=lambda one: str(one)[:40],
)
def test_what_is_wrong_with_a_signal_is_400_and_said_in_words(cases: Cases, wrong: object, word: str) -> None:
    said = refused(cases.post(_TRIAGE, {"signals": [_GOOD, _GOOD | wrong]}), 400)  # type: ignore[operator]
    assert word in said


@pytest.mark.parametrize("wrong", [{"status": "broken"}, {"timestamp": "2190-01-01T00:00:00Z"}], ids=str)
def test_of_several_wrong_signals_the_first_is_told_by_its_place_and_none_is_kept(
    cases: Cases, wrong: dict[str, str]
) -> None:
    told = signals("down down down down")
    for place in (2, 3):
        told[place] |= wrong
    assert f"signals.2.{next(iter(wrong))}" in refused(cases.post(_TRIAGE, {"signals": told}), 400)
    assert cases.rows("SELECT id FROM signals WHERE external_id = :id", id=told[0]["id"]) == []


@pytest.mark.parametrize("body", [{}, [], {"signals": None}, {"signals": [1]}, {"signals": [], "mode": "x"}], ids=str)
def test_a_body_of_another_shape_is_400(cases: Cases, body: object) -> None:
    refused(cases.post(_TRIAGE, body), 400)


def test_no_json_and_too_much_of_it_are_refused_in_the_envelope(cases: Cases) -> None:
    person = cases.by["dispatcher"]
    refused(person.post(_TRIAGE, content=b"{", headers={"content-type": "application/json"}), 400)
    refused(cases.post(_TRIAGE, {"signals": [_GOOD] * 10_001}), 400)
    large = {"signals": [_GOOD | {"id": str(number), "text": "x" * 19_000} for number in range(290)]}
    refused(cases.post(_TRIAGE, large), 413)


@pytest.mark.parametrize("mode", ["baseline", "certainty"])
def test_who_may_not_and_who_reaches_a_part_only_are_refused(cases: Cases, mode: str) -> None:
    for who in ("viewer", "technician", "elsewhere"):
        refused(cases.post(f"/api/triage/{mode}", {"signals": [_GOOD]}, by=who), 403)
    refused(cases.api.client().post(f"/api/triage/{mode}", json={"signals": []}), 401)
    refused(cases.get(f"/api/triage/{mode}"), 405)
    refused(cases.post("/api/triage/other", {"signals": []}), 404)
    assert data(cases.post(f"/api/triage/{mode}", {"signals": []}, by="agent"))["cases"] == []
