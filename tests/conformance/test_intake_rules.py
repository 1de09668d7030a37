"""Triage and intake of contract 000: where each leads, and what is refused in which words."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.commands.field_desk import INCIDENT
from tests.conformance.bodies import Body
from tests.conformance.service import Service, error

_WISH = {"priority": "urgent", "incident_type": INCIDENT}
_SURE = {"identity_confidence": 90, "classification_confidence": 90, "sop_handoff_acknowledged": True}


def intake(service: Service, **said: Any) -> Body:
    """Return an intake that nobody has told before."""
    return {
        "account_id": str(service.desk.account_id),
        "site_id": str(service.desk.site_id),
        "summary": f"The door {uuid4()} does not latch",
        "incident_type": INCIDENT,
        "customer_name": "Ann Lee",
        "priority": "URGENT",
        "contact_phone": "+1 (555) 123-4567",
        **_SURE,
        **said,
    }


@pytest.mark.parametrize(
    ("said", "state", "steps"),
    [
        ({}, "TRIAGED", 1),
        ({"priority": " Emergency "}, "TRIAGED", 1),
        ({"workflow_outcome": "READY_TO_SCHEDULE"}, "READY_TO_SCHEDULE", 2),
        ({"ready_to_schedule": True}, "READY_TO_SCHEDULE", 2),
        ({"requires_approval": True}, "APPROVAL_REQUIRED", 2),
        ({"requires_approval": True, "ready_to_schedule": True}, "APPROVAL_REQUIRED", 2),
        ({"requires_approval": True, "workflow_outcome": "TRIAGED"}, "TRIAGED", 1),
    ],
    ids=str,
)
def test_triage_leads_where_it_says_by_one_audit_row_and_through_triaged(
    service: Service, said: Body, state: str, steps: int
) -> None:
    ticket_id = service.desk.make()
    answer = service.post(f"/tickets/{ticket_id}/triage", _WISH | said, "agent")
    assert (answer.status_code, answer.json()["state"], answer.json()["version"]) == (200, state, 1), answer.text
    assert service.desk.moves(ticket_id)[1:] == [("NEW", "TRIAGED"), ("TRIAGED", state)][:steps]
    assert len(service.done(ticket_id)) == 2
    assert answer.json()["priority"] in {"URGENT", "EMERGENCY"}


def test_triage_that_needs_approval_asks_for_one_in_the_contracts_words(service: Service) -> None:
    ticket_id = service.desk.make()
    wish = _WISH | {"workflow_outcome": "APPROVAL_REQUIRED", "approval_amount_delta_cents": 99.9}
    approval = service.post(f"/tickets/{ticket_id}/triage", wish, "agent").json()["approval"]
    assert (approval["status"], approval["approval_type"]) == ("PENDING", "NTE_INCREASE")
    assert (approval["reason"], approval["amount_delta_cents"]) == ("TRIAGE_REQUIRES_APPROVAL", 99)
    assert approval["return_state"] == "READY_TO_SCHEDULE"


def test_triaged_again_to_triaged_is_409_and_on_from_there_one_row(service: Service) -> None:
    ticket_id = service.at("TRIAGED")
    found = error(service.post(f"/tickets/{ticket_id}/triage", _WISH), 409, "INVALID_STATE_TRANSITION")
    assert (found["from_state"], found["to_state"]) == ("TRIAGED", "TRIAGED")
    service.post(f"/tickets/{ticket_id}/triage", _WISH | {"ready_to_schedule": True})
    assert service.desk.moves(ticket_id)[2:] == [("TRIAGED", "READY_TO_SCHEDULE")]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (
            {"identity_confidence": 84, "classification_confidence": 84, "sop_handoff_acknowledged": False},
            "LOW_IDENTITY_CONFIDENCE",
        ),
        ({"classification_confidence": 84, "sop_handoff_acknowledged": False}, "LOW_CLASSIFICATION_CONFIDENCE"),
        ({"sop_handoff_acknowledged": False}, "SOP_HANDOFF_REQUIRED"),
    ],
)
def test_what_is_not_sure_is_taken_in_and_not_planned_in_the_contracts_order(
    service: Service, said: Body, code: str
) -> None:
    made = service.post("/tickets/intake", intake(service, **said), "agent")
    assert (made.status_code, made.json()["state"]) == (201, "TRIAGED")
    path = f"/tickets/{made.json()['id']}/triage"
    for outcome in ("READY_TO_SCHEDULE", "APPROVAL_REQUIRED"):
        error(service.post(path, _WISH | {"workflow_outcome": outcome}), 409, code)
    verified = {"identity_confidence": 99, "classification_confidence": 99, "confidence_reason": "called back"}
    wish = _WISH | verified | {"ready_to_schedule": True, "sop_handoff_acknowledged": True}
    # Whether a person says so is the token's word: its default is AGENT.
    error(service.post(path, wish), 403, "FORBIDDEN")
    assert service.post(path, wish, actor_type="HUMAN").json()["state"] == "READY_TO_SCHEDULE"


def test_a_sure_intake_is_ready_at_the_thresholds(service: Service) -> None:
    sure = intake(service, identity_confidence=85, classification_confidence=85.9)
    made = service.post("/tickets/intake", sure, "agent", headers={"x-tool-name": "ticket.blind_intake"})
    assert (made.status_code, made.json()["state"]) == (201, "READY_TO_SCHEDULE")
    assert service.desk.moves(UUID(made.json()["id"])) == [(None, "READY_TO_SCHEDULE")]


def test_the_same_matter_is_409_with_the_first_ticket_through_format_and_letter_case(service: Service) -> None:
    told = intake(service)
    first = service.post("/tickets/intake", told, "agent").json()
    again = {"contact_phone": "1-555-123-4567", "summary": f" {told['summary'].upper()} ", "customer_name": "ANN LEE"}
    found = error(service.post("/tickets/intake", told | again, "agent"), 409, "DUPLICATE_INTAKE")
    assert found["duplicate_ticket_id"] == first["id"]
    assert found["duplicate_ticket_state"] == "READY_TO_SCHEDULE"
    assert {"duplicate_created_at", "identity_signature"} <= set(found)
    assert found["duplicate_within_minutes"] == 120
    other = service.post("/tickets/intake", told | {"contact_phone": "555 000 0000"}, "agent")
    assert other.status_code == 201


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"contact_phone": None}, "BLIND_INTAKE_VALIDATION_FAILED"),
        ({"contact_phone": "123456"}, "INVALID_REQUEST"),
        ({"contact_phone": None, "contact_email": "ann lee@x"}, "INVALID_REQUEST"),
        ({"identity_confidence": 101}, "INVALID_REQUEST"),
        ({"classification_confidence": -1}, "INVALID_REQUEST"),
        ({"customer_name": " "}, "INVALID_REQUEST"),
        ({"incident_type": " "}, "INVALID_REQUEST"),
        ({"priority": None}, "INVALID_REQUEST"),
    ],
    ids=str,
)
def test_an_intake_that_makes_no_sense_is_400(service: Service, said: Body, code: str) -> None:
    before = service.tickets()
    error(service.post("/tickets/intake", intake(service, **said), "agent"), 400, code)
    assert service.tickets() == before


def test_a_place_out_of_scope_is_403_with_the_field_and_the_target(service: Service) -> None:
    for path, body in (("/tickets", {"summary": "door"}), ("/tickets/intake", intake(service))):
        places = {"account_id": str(service.desk.account_id), "site_id": str(service.desk.site_id)}
        for name in ("account_id", "site_id"):
            nowhere: dict[str, Any] = {f"{name}s": []}
            found = error(service.post(path, body | places, "agent", **nowhere), 403, "FORBIDDEN_SCOPE")
            assert (found["scope_field"], found["target_id"]) == (name, places[name])


def test_the_site_must_be_of_the_account(service: Service) -> None:
    """A defect of the first implementation: a pair that does not belong together passed."""
    other = service.desk.rows("INSERT INTO accounts (org_id, name) VALUES (:org, 'Other') RETURNING id")[0][0]
    body = {"account_id": str(other), "site_id": str(service.desk.site_id), "summary": "door"}
    error(service.post("/tickets", body, account_ids=[str(other)]), 400, "INVALID_REQUEST")
