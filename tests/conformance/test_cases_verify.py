"""Contract 003's verification over HTTP: the question, the case, its action, its order and the truth follow."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import text

from tests import factories
from tests.conformance.case_service import TEAM, Cases, charger, refused, signals
from tests.ops_api import people

pytestmark = pytest.mark.xdist_group("cases")


def test_the_answer_is_the_question_as_the_contract_tells_it(cases: Cases) -> None:
    case = cases.case(signals("degraded"))
    task = cases.verify(case["id"], "confirmed_issue", notes="Connector bent, needs replacement")["verification_task"]
    assert task == {
        "id": case["id"].replace("case_", "ver_"),
        "case_id": case["id"],
        "question": f"Is charger {case['charger_id']} physically offline right now?",
        "owner": "FieldOps",
        "status": "done",
        "result": "confirmed_issue",
    }


def test_a_confirmed_issue_asks_for_a_technician_and_is_dispatched(cases: Cases) -> None:
    case = cases.case(signals("degraded"))
    assert case["uuid"] not in cases.jobs("dispatch")
    after = cases.verify(case["id"], "confirmed_issue")["case"]
    assert (after["recommended_action"], after["verification_required"], after["confidence"], after["is_real"]) == (
        "dispatch_field_tech", False, 0.97, True,
    )  # fmt: skip
    assert after["decided_at"] >= case["created_at"]
    assert after["version"] > case["version"]
    assert case["uuid"] in cases.jobs("dispatch")


def test_a_confirmed_issue_holds_until_something_reports_the_contrary(cases: Cases) -> None:
    asset = charger()
    case = cases.case(signals("degraded", asset=asset))
    cases.verify(case["id"], "confirmed_issue")
    assert cases.case(signals("unknown", asset=asset))["recommended_action"] == "dispatch_field_tech"
    ((now,),) = cases.rows("SELECT to_char(now() + interval '1 minute', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")
    assert cases.case(signals("online", asset=asset, timestamp=now))["recommended_action"] == "needs_verification"


def test_a_false_alarm_closes_the_case_of_both_modes_and_the_next_trouble_opens_another(cases: Cases) -> None:
    asset = charger()
    case = cases.case(signals("degraded", asset=asset))
    after = cases.verify(case["id"], "false_alarm", notes="a cat")["case"]
    assert (after["state"], after["closed_because"], after["is_real"]) == ("closed", "false_alarm", False)
    assert (after["recommended_action"], after["verification_required"]) == ("remote_reset", False)
    other = cases.detail(case["uuid"], mode="baseline")["case"]
    assert (other["state"], other["is_real"]) == ("closed", False)
    refused(cases.post(f"/api/cases/{case['id']}/verify", {"result": "confirmed_issue"}), 409)
    refused(cases.post(f"/api/cases/{case['id']}/dispatch", {"assigned_team": TEAM}), 409)
    second = cases.case(signals("down", asset=asset))
    assert (second["number"], len(second["evidence_ids"])) == (2, 1)


def test_more_data_ends_the_question_and_asks_the_next_one(cases: Cases) -> None:
    case = cases.case(signals("degraded"))
    said = cases.verify(case["id"], "needs_more_data")
    assert (said["verification_task"]["status"], said["verification_task"]["result"]) == ("done", "needs_more_data")
    assert (said["case"]["recommended_action"], said["case"]["is_real"]) == ("needs_verification", None)
    found = cases.detail(case["id"])
    first = case["id"].replace("case_", "ver_")
    assert [(one["id"], one["status"]) for one in found["verification_tasks"]] == [
        (f"{first}__2", "open"),
        (first, "done"),
    ]
    assert found["truths"] == []


def test_what_nobody_had_asked_can_be_told(cases: Cases) -> None:
    case = cases.case(signals("down down down"))
    task = cases.verify(case["id"], "confirmed_issue")["verification_task"]
    assert (task["status"], task["result"], task["case_id"]) == ("done", "confirmed_issue", case["id"])
    cases.verify(case["id"], "confirmed_issue")
    found = cases.detail(case["id"])
    assert len({one["id"] for one in found["verification_tasks"]}) == len(found["outcomes"]) == 2


def test_each_finding_is_a_truth_of_its_own_with_its_reference(cases: Cases) -> None:
    case = cases.case(signals("degraded"))
    cases.verify(case["id"], "confirmed_issue", notes="bent")
    statement = """
        SELECT h.reference = 'task:' || o.task_id || ':' || o.id, h.is_real, h.note, h.actor_id = o.actor_id
          FROM case_truths h JOIN verification_outcomes o ON o.case_id = h.case_id WHERE h.case_id = :case
    """
    assert cases.rows(statement, case=UUID(case["uuid"])) == [(True, True, "bent", True)]


def test_a_more_reliable_finding_is_not_overruled(cases: Cases) -> None:
    case = cases.case(signals("degraded"))
    cases.rows(
        """
        INSERT INTO case_truths (org_id, case_id, source, reference, is_real, actor_id)
        VALUES (:org, :case, 'person', 'by hand', false, 'ann') RETURNING id
        """,
        case=UUID(case["uuid"]),
    )
    assert cases.verify(case["id"], "confirmed_issue")["case"]["is_real"] is False


def test_a_false_alarm_cancels_an_order_that_is_not_begun_with_its_step(cases: Cases) -> None:
    case = cases.case(signals("down"))
    order = cases.dispatch(case["id"])
    said = cases.verify(case["id"], "false_alarm")
    assert said["cancelled_work_orders"] == [{"id": order["id"], "state": "cancelled"}]
    statement = """
        SELECT e.command, e.from_state, e.to_state, a.action
          FROM work_order_events e JOIN work_orders w ON w.id = e.order_id
          JOIN audit_events a ON a.org_id = e.org_id AND a.number = e.audit_number
         WHERE w.case_id = :case ORDER BY e.id
    """
    assert cases.rows(statement, case=UUID(case["uuid"])) == [
        ("case.dispatch", None, "created", "case.dispatch"),
        ("case.verify", "created", "cancelled", "case.verify"),
    ]


def test_a_false_alarm_leaves_an_order_alone_that_is_begun(cases: Cases) -> None:
    case = cases.case(signals("down"))
    cases.dispatch(case["id"], state="in_progress")
    assert cases.verify(case["id"], "false_alarm")["cancelled_work_orders"] == []
    assert cases.detail(case["id"])["work_orders"][0]["state"] == "in_progress"


def test_a_false_alarm_tells_the_dispatcher_of_a_ticket_whose_order_is_open(cases: Cases) -> None:
    case = cases.case(signals("down"))
    with cases.api.db.begin() as connection:
        ticket_id = factories.ticket(connection, cases.org_id)
        factories.work_order(connection, cases.org_id, UUID(case["uuid"]), ticket_id)
    assert cases.verify(case["id"], "false_alarm")["cancelled_work_orders"] == []
    assert cases.detail(case["id"])["work_orders"][0]["state"] == "created"
    statement = "SELECT kind, data ->> 'case', actor <> 'system' FROM events WHERE ticket_id = :ticket"
    assert cases.rows(statement, ticket=ticket_id) == [("case.false_alarm", case["id"], True)]


def test_the_technician_of_a_cancelled_order_is_told(cases: Cases) -> None:
    case = cases.case(signals("down"))
    order = cases.dispatch(case["id"])
    with cases.api.db.begin() as connection:
        person_id = people.member(connection, cases.org_id, "technician", "tess@ours.example")
        statement = "UPDATE work_orders SET state = 'assigned', assigned_to_id = :person WHERE number = :number"
        connection.execute(text(statement), {"person": person_id, "number": int(order["id"].removeprefix("wo_"))})
    cases.verify(case["id"], "false_alarm")
    assert cases.rows("SELECT kind FROM notifications WHERE person_id = :person", person=person_id) == [
        ("WO_CANCELLED",)
    ]


def test_verifying_is_audited_and_needs_a_role_that_may(cases: Cases) -> None:
    case = cases.case(signals("degraded"))
    refused(cases.post(f"/api/cases/{case['id']}/verify", {"result": "confirmed_issue"}, by="agent"), 403)
    cases.verify(case["id"], "confirmed_issue")
    statement = "SELECT action, outcome FROM audit_events WHERE target_id = :case ORDER BY number"
    assert cases.rows(statement, case=case["uuid"])[-1] == ("case.verify", "done")


def test_a_version_that_is_stale_is_409(cases: Cases) -> None:
    asset = charger()
    case = cases.case(signals("degraded", asset=asset))
    cases.case(signals("degraded", asset=asset))
    wish = {"result": "confirmed_issue"}
    stale = {"If-Match": f'"{case["version"]}"'}
    refused(cases.post(f"/api/cases/{case['id']}/verify", wish, headers=stale), 409)


@pytest.mark.parametrize(
    "body", [{}, {"result": "maybe"}, {"result": "false_alarm", "notes": "x\u0000"}, {"result": None}, []], ids=str
)
def test_a_bad_body_is_400(cases: Cases, body: object) -> None:
    case = cases.case(signals("degraded"))
    refused(cases.post(f"/api/cases/{case['id']}/verify", body), 400)
