"""Contract 003's dispatch over HTTP: one order per case, for a team, in time, forward only, not before an answer."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests import factories
from tests.conformance.case_service import TEAM, Cases, refused, signals

pytestmark = pytest.mark.xdist_group("cases")

_WHY = "the customer stands in front of it"


def _refused(cases: Cases, case: dict[str, Any], status: int, by: str = "dispatcher", **body: Any) -> str:
    return refused(cases.post(f"/api/cases/{case['id']}/dispatch", {"assigned_team": TEAM, **body}, by=by), status)


def _later(cases: Cases, hours: int = 5) -> str:
    ((now,),) = cases.rows("SELECT now()")
    found: datetime = now.astimezone(UTC) + timedelta(hours=hours)
    return found.replace(microsecond=0).isoformat().replace("+00:00", "Z")


def test_the_order_is_as_the_contract_tells_it(cases: Cases) -> None:
    case, due_at = cases.case(signals("down")), _later(cases)
    order = cases.dispatch(case["id"], due_at=due_at, state="created")
    assert set(order) >= {"id", "case_id", "assigned_team", "due_at", "state"}
    assert re.fullmatch(r"wo_\d{3,}", order["id"])
    assert (order["case_id"], order["assigned_team"], order["due_at"], order["state"]) == (
        case["id"], TEAM, due_at, "created",
    )  # fmt: skip


def test_without_a_time_it_is_due_by_the_cases_sla(cases: Cases) -> None:
    case = cases.case(signals("down"))
    order = cases.dispatch(case["id"])
    assert case["sla_hours"] == 2
    statement = "SELECT due_at - created_at FROM work_orders WHERE case_id = :case"
    assert cases.rows(statement, case=UUID(case["uuid"])) == [(timedelta(hours=2),)]
    assert order["due_at"].endswith("Z")


def test_dispatched_again_the_same_order_changes_team_time_and_state(cases: Cases) -> None:
    case, due_at = cases.case(signals("down")), _later(cases)
    first = cases.dispatch(case["id"])
    second = cases.dispatch(case["id"], assigned_team="night SHIFT", due_at=due_at, state="in_progress")
    assert (second["id"], second["assigned_team"], second["due_at"], second["state"]) == (
        first["id"], "Night shift", due_at, "in_progress",
    )  # fmt: skip
    kept = cases.dispatch(case["id"], assigned_team="Night shift")
    assert (kept["due_at"], kept["state"]) == (due_at, "in_progress")


def test_every_step_is_kept_under_its_audit_row(cases: Cases) -> None:
    case = cases.case(signals("down"))
    cases.dispatch(case["id"])
    cases.dispatch(case["id"], assigned_team="Night shift")
    cases.dispatch(case["id"], state="done")
    statement = """
        SELECT e.from_state, e.to_state, a.action FROM work_order_events e JOIN work_orders w ON w.id = e.order_id
          JOIN audit_events a ON a.org_id = e.org_id AND a.number = e.audit_number
         WHERE w.case_id = :case ORDER BY e.id
    """
    steps = [
        (None, "created"), ("created", "created"), ("created", "created"), ("created", "in_progress"),
        ("in_progress", "done"),
    ]  # fmt: skip
    assert cases.rows(statement, case=UUID(case["uuid"])) == [(*step, "case.dispatch") for step in steps]
    assert case["uuid"] in cases.jobs("settle")


def test_a_state_goes_forward_only(cases: Cases) -> None:
    case = cases.case(signals("down"))
    cases.dispatch(case["id"], state="in_progress")
    assert "does not go back" in _refused(cases, case, 409, state="created")
    cases.dispatch(case["id"], state="done")
    # Its order is over: who dispatches now makes another one.
    ids = [one["id"] for one in cases.detail(case["id"])["work_orders"]]
    assert cases.dispatch(case["id"])["id"] not in ids


def test_an_order_that_follows_a_ticket_keeps_its_state_and_may_change_its_team(cases: Cases) -> None:
    case = cases.case(signals("down"))
    with cases.api.db.begin() as connection:
        ticket_id = factories.ticket(connection, cases.org_id)
        factories.work_order(connection, cases.org_id, UUID(case["uuid"]), ticket_id)
    assert str(ticket_id) in _refused(cases, case, 409, state="done")
    order = cases.dispatch(case["id"], state="created")
    assert (order["assigned_team"], order["ticket_id"], order["state"]) == (TEAM, str(ticket_id), "created")


def test_an_order_that_a_technician_has_is_theirs_to_start(cases: Cases) -> None:
    case = cases.case(signals("down"))
    cases.dispatch(case["id"])
    cases.rows(
        "UPDATE work_orders SET state = 'assigned', assigned_to_id = :person WHERE case_id = :case RETURNING id",
        person=cases.by["technician"].person_id,
        case=UUID(case["uuid"]),
    )
    assert "proof" in _refused(cases, case, 409, state="done")
    assert (cases.dispatch(case["id"])["state"], cases.dispatch(case["id"])["order_state"]) == ("created", "assigned")


def test_an_open_verification_is_waited_for(cases: Cases) -> None:
    case = cases.case(signals("degraded"))
    assert "verification" in _refused(cases, case, 409)
    _refused(cases, case, 400, override_reason="too short")
    assert cases.detail(case["id"])["work_orders"] == []
    cases.verify(case["id"], "confirmed_issue")
    assert cases.dispatch(case["id"])["state"] == "created"


def test_who_may_can_override_an_open_verification_with_a_reason(cases: Cases) -> None:
    case = cases.case(signals("degraded"))
    order = cases.dispatch(case["id"], override_reason=_WHY)
    assert order["state"] == "created"
    statement = """
        SELECT d.data ->> 'reason'
          FROM audit_events a JOIN audit_details d ON d.org_id = a.org_id AND d.number = a.number
         WHERE a.target_id = :case AND a.action = 'case.dispatch' AND a.outcome = 'done'
    """
    assert cases.rows(statement, case=case["uuid"]) == [(_WHY,)]
    # The question is still open: an answer still tells whether it was right.
    assert cases.detail(case["id"])["verification_tasks"][0]["status"] == "open"


def test_who_may_not_override_is_403(cases: Cases) -> None:
    case = cases.case(signals("degraded"))
    role = cases.rows("INSERT INTO roles (org_id, code, name) VALUES (:org, 'sender', 'Sender') RETURNING id")[0][0]
    cases.rows(
        "INSERT INTO role_permissions (role_id, permission) VALUES (:role, 'cases.dispatch') RETURNING role_id",
        role=role,
    )
    cases.by["sender"] = cases.api.person(cases.org_id, "sender", "sender@ours.example")
    assert "cases.override" in _refused(cases, case, 403, by="sender", override_reason=_WHY)
    _refused(cases, case, 409, by="sender")


def test_an_unknown_team_is_400_with_the_known_ones(cases: Cases) -> None:
    said = _refused(cases, cases.case(signals("down")), 400, assigned_team="Nobody")
    assert "FieldOps, Night shift" in said


@pytest.mark.parametrize(
    "body",
    [
        {"due_at": "2026-02-21T04:00:00Z"},
        {"due_at": "soon"},
        {"state": "sent"},
        {"assigned_team": ""},
        {"assigned_team": None},
        {"team": "FieldOps"},
    ],
    ids=str,
)
def test_what_is_wrong_with_the_body_is_400(cases: Cases, body: dict[str, Any]) -> None:
    case = cases.case(signals("down"))
    _refused(cases, case, 400, **body)
    assert cases.detail(case["id"])["work_orders"] == []


def test_dispatching_needs_a_role_that_may(cases: Cases) -> None:
    _refused(cases, cases.case(signals("down")), 403, by="agent")


def test_an_unknown_case_is_404(cases: Cases) -> None:
    _refused(cases, {"id": "case_nothing"}, 404)


def test_a_naive_due_time_is_utc(cases: Cases) -> None:
    case, due_at = cases.case(signals("down")), _later(cases)
    assert cases.dispatch(case["id"], due_at=due_at.removesuffix("Z"))["due_at"] == due_at


def test_an_order_that_is_late_goes_on_with_the_time_that_it_had(cases: Cases) -> None:
    case = cases.case(signals("down"))
    order = cases.dispatch(case["id"], state="created")
    statement = """
        UPDATE work_orders SET due_at = '2026-02-21T04:00:00Z' WHERE case_id = :case RETURNING version
    """
    cases.rows(statement, case=UUID(case["uuid"]))
    late = "2026-02-21T04:00:00Z"
    went_on = cases.dispatch(case["id"], due_at=late, state="in_progress")
    assert (went_on["id"], went_on["due_at"], went_on["state"]) == (order["id"], late, "in_progress")
    assert "is over" in _refused(cases, case, 400, due_at="2026-02-21T04:00:01Z")
