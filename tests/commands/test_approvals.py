"""Approvals: asked for from the field and by triage, decided by somebody else, and what a decision leads to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from models.enums import ApprovalKind, DispatchState
from pipeline.command import Refused
from pipeline.commands.approvals import DECIDE, REQUEST_CHANGE, ChangeRequest, Decision
from pipeline.commands.triaging import TRIAGE, Triage
from pipeline.commands.visits import START_REWORK, Nothing
from pipeline.executor import Answer
from pipeline.runtime import approval_rows, field_rows
from pipeline.runtime.approval_rows import Wish
from pipeline.runtime.db import Database
from tests.commands.field_desk import INCIDENT, FieldDesk
from tests.commands.site_work import on_site


@pytest.fixture
def ours(db: Database) -> FieldDesk:
    return FieldDesk.of(db)


def ask_more(ours: FieldDesk, made: UUID, **said: Any) -> dict[str, Any]:
    """Ask from the field for 50 more; return the approval."""
    values = {"approval_type": "nte_increase", "reason": "a new closer", "amount_delta_cents": 5_000, **said}
    return dict(ours.run(REQUEST_CHANGE, ChangeRequest(**values), made, by="tech").body["approval"])


def decide(ours: FieldDesk, made: UUID, approval: dict[str, Any], decision: str, **said: Any) -> Answer:
    by = said.pop("by", "approver")
    return ours.run(DECIDE, Decision(approval_id=approval["id"], decision=decision, **said), made, by=by)  # type: ignore[arg-type]


def why_not(ours: FieldDesk, made: UUID, approval_id: object, decision: str = "APPROVED", **said: Any) -> str:
    by = said.pop("by", "approver")
    asked = Decision(approval_id=approval_id, decision=decision, **said)  # type: ignore[arg-type]
    return ours.refused(DECIDE, asked, made, by=by).code


def waiting(ours: FieldDesk, nte_cents: int = 10_000) -> tuple[UUID, dict[str, Any]]:
    """Make a ticket that triage put up for approval."""
    made = ours.make()
    asked = Triage(
        priority="URGENT",  # type: ignore[arg-type]
        incident_type=INCIDENT,
        nte_cents=nte_cents,
        workflow_outcome="APPROVAL_REQUIRED",
        approval_amount_delta_cents=5_000,
    )
    return made, dict(ours.run(TRIAGE, asked, made, by="agent").body["approval"])


def test_more_is_asked_for_from_the_field_and_answered_with_ticket_and_approval(ours: FieldDesk) -> None:
    made = on_site(ours)
    asked = ChangeRequest(
        approval_type="PROPOSAL",
        reason="see photo",
        amount_delta_cents=10.7,
        evidence_refs=["s3://b/1"],  # type: ignore[arg-type]
    )
    body = ours.run(REQUEST_CHANGE, asked, made, by="tech").body
    assert (body["ticket"]["state"], body["ticket"]["id"]) == ("APPROVAL_REQUIRED", str(made))
    approval = body["approval"]
    assert {name: approval[name] for name in ("status", "approval_type", "amount_delta_cents", "reason")} == {
        "status": "PENDING", "approval_type": "PROPOSAL", "amount_delta_cents": 10, "reason": "see photo",
    }  # fmt: skip
    assert (approval["return_state"], approval["evidence_refs"]) == ("IN_PROGRESS", ["s3://b/1"])
    assert ours.moves(made)[-1] == ("IN_PROGRESS", "APPROVAL_REQUIRED")


def test_nobody_is_paid_for_waiting_until_it_is_decided(ours: FieldDesk) -> None:
    made = on_site(ours)
    going = "SELECT ended_at IS NULL FROM time_entries WHERE ticket_id = :id ORDER BY id"
    assert ours.rows(going, id=made) == [(True,)]
    decide(ours, made, ask_more(ours, made), "APPROVED")
    assert ours.rows(going, id=made) == [(False,)]
    ours.run(START_REWORK, Nothing(), made, by="tech")
    assert ours.rows(going, id=made) == [(False,), (True,)]


def test_only_the_technician_who_was_sent_asks_for_more(ours: FieldDesk) -> None:
    made = on_site(ours)
    asked = ChangeRequest(approval_type="PROPOSAL", reason="x")  # type: ignore[arg-type]
    assert ours.refused(REQUEST_CHANGE, asked, made, by="other_tech").code == "NOT_ASSIGNED"
    assert ours.refused(REQUEST_CHANGE, asked, made, by="agent").code == "FORBIDDEN"


@pytest.mark.parametrize(
    ("kind", "limit", "after"), [("NTE_INCREASE", 10_000, 15_000), ("PROPOSAL", 10_000, 10_000), ("NTE_INCREASE", 0, 0)]
)
def test_what_is_approved_raises_the_limit_and_leads_back(ours: FieldDesk, kind: str, limit: int, after: int) -> None:
    made = on_site(ours)
    ours.change("UPDATE dispatches SET nte_cents = :limit WHERE ticket_id = :id", limit=limit, id=made)
    approval = ask_more(ours, made, approval_type=kind)
    body = decide(ours, made, approval, "approved", notes="fine").body
    assert (body["state"], body["nte_cents"], body["approval"]["status"]) == ("IN_PROGRESS", after, "APPROVED")
    assert (body["approval"]["decided_by"], body["approval"]["notes"]) == (ours.people["approver"].actor_id, "fine")
    assert body["assigned_tech_id"] == str(ours.people["tech"].person_id)


def test_what_triage_asked_for_leads_to_the_schedule(ours: FieldDesk) -> None:
    made, approval = waiting(ours)
    body = decide(ours, made, approval, "APPROVED").body
    assert (body["state"], body["nte_cents"]) == ("READY_TO_SCHEDULE", 15_000)


def test_a_denial_in_the_field_calls_the_technician_back(ours: FieldDesk) -> None:
    made = on_site(ours)
    body = decide(ours, made, ask_more(ours, made), "DENIED").body
    assert (body["state"], body["assigned_tech_id"], body["scheduled_start"]) == ("TRIAGED", None, None)
    assert ours.rows("SELECT count(*) FROM assignments WHERE ended_at IS NULL") == [(0,)]
    assert ours.rows("SELECT DISTINCT state FROM visits") == [("done",)]
    assert ours.rows("SELECT count(*) FROM time_entries WHERE ended_at IS NULL") == [(0,)]


def test_a_denial_may_let_the_technician_go_on_within_the_old_limit(ours: FieldDesk) -> None:
    made = on_site(ours)
    ours.change("UPDATE dispatches SET nte_cents = 10000 WHERE ticket_id = :id", id=made)
    body = decide(ours, made, ask_more(ours, made), "DENIED", denied_to="in_progress").body
    assert (body["state"], body["nte_cents"]) == ("IN_PROGRESS", 10_000)
    assert ours.rows("SELECT count(*) FROM time_entries WHERE ended_at IS NULL") == [(0,)]


def test_denied_to_goes_with_a_denial_from_the_field_alone(ours: FieldDesk) -> None:
    made, approval = waiting(ours)
    assert why_not(ours, made, approval["id"], "DENIED", denied_to="IN_PROGRESS") == "INVALID_REQUEST"
    assert decide(ours, made, approval, "DENIED").body["state"] == "TRIAGED"
    with pytest.raises(ValidationError):
        Decision(approval_id=uuid4(), decision="DENIED", denied_to="TRIAGED")  # type: ignore[arg-type]


@pytest.mark.parametrize("decision", ["APPROVED", "DENIED"])
def test_a_higher_price_for_finished_work_leads_back_to_verified(ours: FieldDesk, decision: str) -> None:
    made = ours.make()
    ours.change("UPDATE tickets SET dispatch_state = 'APPROVAL_REQUIRED' WHERE id = :id", id=made)
    wish = Wish(ApprovalKind.NTE_INCREASE, "billing.request_increase", DispatchState.VERIFIED, "parts", 100)
    with ours.db.begin() as connection:
        ticket = field_rows.read(connection, made)
        found = approval_rows.ask_for(connection, ticket, wish, ours.people["finance"])
    assert decide(ours, made, {"id": found.approval_id}, decision).body["state"] == "VERIFIED"


def test_nobody_decides_what_they_asked_for(ours: FieldDesk) -> None:
    made = ours.make()
    asked = Triage(priority="URGENT", incident_type=INCIDENT, workflow_outcome="APPROVAL_REQUIRED")  # type: ignore[arg-type]
    approval = ours.run(TRIAGE, asked, made, by="dispatcher").body["approval"]
    assert why_not(ours, made, approval["id"], by="dispatcher") == "SELF_APPROVAL"
    token = replace(ours.people["dispatcher"], actor_id="api_token:1")
    assert why_not(ours, made, approval["id"], by=token) == "SELF_APPROVAL"
    assert decide(ours, made, approval, "APPROVED", by="other_dispatcher").status == 200


def test_an_approval_is_the_tickets_own_and_pending(ours: FieldDesk) -> None:
    made, approval = waiting(ours)
    other, others = waiting(ours)
    assert why_not(ours, made, uuid4()) == "APPROVAL_NOT_FOUND"
    assert why_not(ours, made, others["id"]) == "APPROVAL_NOT_FOUND"
    decide(ours, made, approval, "DENIED")
    assert why_not(ours, made, approval["id"]) == "INVALID_STATE_TRANSITION"
    again = ours.run(
        TRIAGE,
        Triage(priority="URGENT", incident_type=INCIDENT, workflow_outcome="APPROVAL_REQUIRED"),  # type: ignore[arg-type]
        made,
        by="agent",
    ).body["approval"]
    assert why_not(ours, made, approval["id"]) == "APPROVAL_NOT_PENDING"
    ours.change("UPDATE approvals SET return_state = 'CLOSED' WHERE id = :id", id=again["id"])
    assert why_not(ours, made, again["id"]) == "INVALID_APPROVAL_TARGET_STATE"
    assert ours.state(other) == "APPROVAL_REQUIRED"


def test_of_two_decisions_at_once_one_holds(ours: FieldDesk) -> None:
    made, approval = waiting(ours)

    def ask(said: tuple[str, str]) -> str:
        try:
            return str(decide(ours, made, approval, said[0], by=said[1]).body["state"])
        except Refused as refused:
            return refused.refusal.code

    with ThreadPoolExecutor(2) as pool:
        found = set(pool.map(ask, [("APPROVED", "approver"), ("DENIED", "dispatcher")]))
    assert found == {ours.state(made), "INVALID_STATE_TRANSITION"}
    limit = 15_000 if ours.state(made) == "READY_TO_SCHEDULE" else 10_000
    assert ours.work(made).nte_cents == limit
