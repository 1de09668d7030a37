"""Contract 003's lists and details over HTTP: modes, filters, pages, history, and who may see what."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from models.enums import Reach
from tests.conformance.case_service import Cases, charger, data, refused, signals
from tests.ops_api import people

pytestmark = pytest.mark.xdist_group("cases")


def _all(cases: Cases, path: str, name: str, **query: Any) -> list[dict[str, Any]]:
    """Return what all pages of a list hold; no page is larger than asked for."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = data(cases.get(path, **query, limit=3, **({} if cursor is None else {"cursor": cursor})))
        assert len(page[name]) <= 3
        found += page[name]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


@pytest.mark.parametrize("mode", ["baseline", "certainty"])
def test_a_list_holds_the_open_cases_of_its_mode_most_urgent_first_ties_by_id(cases: Cases, mode: str) -> None:
    wanted = {cases.case(signals(one))["id"] for one in ("down", "degraded", "degraded", "unknown", "unknown")}
    found = _all(cases, "/api/cases", "cases", mode=mode)
    assert wanted <= {case["id"] for case in found}
    assert {(case["mode"], case["state"]) for case in found} == {(mode, "open")}
    order = [(-case["priority_score"], case["id"]) for case in found]
    assert order == sorted(set(order))
    assert data(cases.get("/api/cases", mode=mode))["mode"] == mode


def test_a_list_can_be_narrowed_to_what_waits_for_an_answer(cases: Cases) -> None:
    certain, doubtful = cases.case(signals("down"))["id"], cases.case(signals("degraded"))["id"]
    found = {case["id"] for case in _all(cases, "/api/cases", "cases", mode="certainty", needs="verification")}
    assert (certain in found, doubtful in found) == (False, True)
    assert _all(cases, "/api/cases", "cases", mode="baseline", needs="verification") == []


def test_closed_cases_are_listed_when_they_are_asked_for(cases: Cases) -> None:
    case = cases.case(signals("degraded"))
    cases.verify(case["id"], "false_alarm")
    closed = {one["uuid"]: one for one in _all(cases, "/api/cases", "cases", mode="certainty", state="closed")}
    assert closed[case["uuid"]]["closed_because"] == "false_alarm"
    assert case["uuid"] not in {one["uuid"] for one in _all(cases, "/api/cases", "cases", mode="certainty")}


@pytest.mark.parametrize(
    "query",
    [{}, {"mode": "other"}, {"mode": "certainty", "state": "lost"}, {"mode": "certainty", "limit": 101}],
    ids=str,
)
def test_a_missing_or_bad_mode_is_400_in_the_envelope(cases: Cases, query: dict[str, Any]) -> None:
    refused(cases.get("/api/cases", **query), 400)


def test_a_cursor_is_good_for_its_list_alone(cases: Cases) -> None:
    cases.triage([one for _ in range(2) for one in signals("down")])
    cursor = data(cases.get("/api/cases", mode="baseline", limit=1))["next_cursor"]
    refused(cases.get("/api/cases", mode="certainty", limit=1, cursor=cursor), 400)
    refused(cases.get("/api/verification-tasks", cursor=cursor), 400)
    refused(cases.get("/api/cases", mode="baseline", cursor="x"), 400)


def test_open_questions_are_listed_oldest_first(cases: Cases) -> None:
    first, second = cases.case(signals("degraded")), cases.case(signals("unknown"))
    found = [one["case_id"] for one in _all(cases, "/api/verification-tasks", "verification_tasks")]
    assert found.index(first["id"]) < found.index(second["id"])
    cases.verify(first["id"], "confirmed_issue")
    left = _all(cases, "/api/verification-tasks", "verification_tasks")
    assert first["id"] not in {one["case_id"] for one in left}
    assert {one["status"] for one in left} == {"open"}


def test_a_case_is_shown_with_its_whole_history_by_its_id_and_by_its_uuid(cases: Cases) -> None:
    case = cases.case(signals("degraded"))
    cases.verify(case["id"], "confirmed_issue", notes="the plug is bent")
    order = cases.dispatch(case["id"])
    found = cases.detail(case["id"])
    assert found == cases.detail(case["uuid"]) == cases.detail(case["id"].upper())
    assert found["case"]["uuid"] == case["uuid"]
    assert [one["because"] for one in found["assessments"]] == ["verification", "signals"]
    assert [(one["id"], one["result"]) for one in found["verification_tasks"]] == [
        (case["id"].replace("case_", "ver_"), "confirmed_issue")
    ]
    assert [(one["result"], one["notes"]) for one in found["outcomes"]] == [("confirmed_issue", "the plug is bent")]
    assert [(one["source"], one["is_real"]) for one in found["truths"]] == [("verification", True)]
    assert found["work_orders"] == [order]
    assert cases.get(f"/api/cases/{case['id']}").headers["etag"] == f'"{found["case"]["version"]}"'


def test_the_other_mode_of_a_case_is_shown_when_it_is_asked_for(cases: Cases) -> None:
    case = cases.case(signals("degraded"))
    other = cases.detail(case["id"], mode="baseline")["case"]
    assert (other["id"], other["mode"], other["recommended_action"]) == (case["id"], "baseline", "remote_reset")
    assert other["evidence_ids"] == case["evidence_ids"]


def test_an_id_without_a_number_is_the_newest_trouble_of_its_charger(cases: Cases) -> None:
    asset = charger()
    first = cases.case(signals("degraded", asset=asset))
    cases.verify(first["id"], "false_alarm")
    second = cases.case(signals("down", asset=asset))
    assert (second["id"], second["number"]) == (f"{first['id']}__2", 2)
    shown = [cases.detail(name)["case"]["uuid"] for name in (first["id"], second["id"], f"{first['id']}__1")]
    assert shown == [second["uuid"], second["uuid"], first["uuid"]]


def test_what_is_not_there_or_not_reached_is_404_in_the_envelope(cases: Cases) -> None:
    case = cases.case(signals("down"))
    for name in ("case_nothing", "case_nothing__2", f"{case['id']}__7", "0190b7c4-0000-7000-8000-000000000001"):
        refused(cases.get(f"/api/cases/{name}"), 404)
    refused(cases.get(f"/api/cases/{case['id']}", by="elsewhere"), 404)
    refused(cases.post(f"/api/cases/{case['id']}/verify", {"result": "false_alarm"}, by="elsewhere"), 404)
    refused(cases.post(f"/api/cases/{case['id']}/dispatch", {"assigned_team": "FieldOps"}, by="elsewhere"), 404)
    assert data(cases.get("/api/cases", by="elsewhere", mode="certainty"))["cases"] == []
    assert data(cases.get("/api/verification-tasks", by="elsewhere"))["verification_tasks"] == []


def test_who_is_at_a_site_sees_the_chargers_of_it(cases: Cases) -> None:
    asset = charger()
    case = cases.case(signals("degraded", asset=asset))
    cases.rows(
        """
        UPDATE assets SET site_id = (
            SELECT s.site_id FROM membership_scopes s JOIN memberships m ON m.id = s.membership_id
             WHERE m.org_id = :org AND s.site_id IS NOT NULL LIMIT 1)
         WHERE org_id = :org AND tag = :tag RETURNING id
        """,
        tag=asset,
    )
    assert [one["id"] for one in data(cases.get("/api/cases", by="elsewhere", mode="certainty"))["cases"]] == [
        case["id"]
    ]
    assert data(cases.get(f"/api/cases/{case['id']}", by="elsewhere"))["case"]["uuid"] == case["uuid"]


@pytest.mark.parametrize("reach", [Reach.TEAM, Reach.OWN])
def test_a_team_and_a_person_see_the_cases_of_their_orders(cases: Cases, reach: Reach) -> None:
    ours, others = cases.case(signals("down")), cases.case(signals("down"))
    cases.dispatch(ours["id"])
    cases.dispatch(others["id"], assigned_team="Night shift")
    who = f"{reach}@ours.example"
    with cases.api.db.begin() as connection:
        person_id = people.member(connection, cases.org_id, "dispatcher", who)
        order = "SELECT id, team_id FROM work_orders WHERE case_id = :case"
        found = connection.execute(text(order), {"case": ours["uuid"]}).one()
        team_id = found.team_id if reach is Reach.TEAM else None
        people.narrow(connection, cases.org_id, person_id, reach, team_id=team_id)
        if reach is Reach.OWN:
            give = "UPDATE work_orders SET state = 'assigned', assigned_to_id = :person WHERE id = :id"
            connection.execute(text(give), {"person": person_id, "id": found.id})
    cases.by[who] = cases.api.signed_in(cases.org_id, person_id)
    for mode in ("certainty", "baseline"):
        seen = {one["id"] for one in _all(cases, "/api/cases", "cases", by=who, mode=mode)}
        assert (ours["id"] in seen, others["id"] in seen) == (True, False)
    refused(cases.get(f"/api/cases/{others['id']}", by=who), 404)


@pytest.mark.parametrize("path", ["/api/cases?mode=certainty", "/api/cases/case_x", "/api/verification-tasks"])
def test_reading_needs_a_role_that_may(cases: Cases, path: str) -> None:
    refused(cases.get(path, by="viewer"), 403)
    refused(cases.api.client().get(path), 401)


def test_every_refusal_of_the_place_has_the_envelope(cases: Cases) -> None:
    refused(cases.get("/api/nothing"), 404)
    refused(cases.by["dispatcher"].ask("DELETE", "/api/cases"), 405)
    person = cases.by["dispatcher"]
    refused(person.post("/api/cases/case_x/verify", content=b"x" * 1_048_577), 413)
    refused(person.post("/api/cases/case_x/verify", content=b"x", headers={"content-encoding": "gzip"}), 415)
