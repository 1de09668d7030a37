"""Schedule, assignment and approvals of contract 000: the codes of each, and what each leads to."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.commands import schedules
from tests.commands.field_desk import INCIDENT
from tests.commands.site_work import on_site
from tests.conformance.bodies import Body, moment, now
from tests.conformance.service import Service, error

_WISH = {"priority": "urgent", "incident_type": INCIDENT}


def test_only_a_window_that_was_proposed_is_confirmed(service: Service) -> None:
    ticket_id = service.at("READY_TO_SCHEDULE")
    windows = [{"start": moment(hours), "end": moment(hours + 2)} for hours in (48, 72)]
    proposed = service.post(f"/tickets/{ticket_id}/schedule/propose", {"options": windows}, "agent").json()
    assert len(proposed["proposed_windows"]) == 2
    path = f"/tickets/{ticket_id}/schedule/confirm"
    other = {"start": moment(48), "end": moment(49)}
    error(service.post(path, other, "customer"), 409, "WINDOW_NOT_PROPOSED")
    said = service.post(path, windows[1], "customer").json()
    assert (said["state"], said["scheduled_start"][:16]) == ("SCHEDULED", windows[1]["start"][:16])


def held(service: Service, path: str) -> Body:
    """Hold a schedule until the customer confirms; sent twice, it is one hold."""
    wish = {"hold_reason": "CUSTOMER_PENDING", "confirmation_window": {"start": moment(0), "end": moment(24)}}
    key = str(uuid4())
    first, again = (service.post(f"{path}/hold", wish, key=key) for _ in range(2))
    assert (first.status_code, first.json()["state"]) == (201, "PENDING_CUSTOMER_CONFIRMATION")
    assert again.json()["hold_id"] == first.json()["hold_id"]
    return {"customer_confirmation_log": first.json()["hold_id"]}


def test_a_hold_is_released_by_its_proof_alone(service: Service) -> None:
    ticket_id = service.at("SCHEDULED")
    before, path = service.desk.work(ticket_id).scheduled_start, f"/tickets/{ticket_id}/schedule"
    proof = held(service, path)
    wrong = {"customer_confirmation_log": str(uuid4())}
    error(service.post(f"{path}/release", wrong), 409, "HOLD_CONFIRMATION_MISSING")
    released = service.post(f"{path}/release", proof).json()
    assert (released["state"], service.desk.work(ticket_id).scheduled_start) == ("SCHEDULED", before)


def test_a_hold_that_nobody_answered_is_rolled_back(service: Service) -> None:
    """A defect of the first implementation: it was stuck for ever."""
    ticket_id = service.at("SCHEDULED")
    path = f"/tickets/{ticket_id}/schedule"
    proof = held(service, path)
    service.desk.change(
        "UPDATE schedule_holds SET starts_at = now() - interval '2 h', ends_at = now() - interval '1 h' "
        "WHERE ticket_id = :id",
        id=ticket_id,
    )
    error(service.post(f"{path}/release", proof), 409, "CUSTOMER_CONFIRMATION_STALE")
    back = {"reason": "nobody called", "confirmation_id": str(uuid4())}
    error(service.post(f"{path}/rollback", back), 409, "SCHEDULE_HOLD_STATE_CONFLICT")
    back["confirmation_id"] = proof["customer_confirmation_log"]
    assert service.post(f"{path}/rollback", back).json()["state"] == "SCHEDULED"


def test_the_schedule_is_bypassed_for_a_reasoned_emergency_alone(service: Service) -> None:
    tech = {"tech_id": str(service.desk.people["tech"].person_id)}
    path = f"/tickets/{service.standing('TRIAGED')}/assignment/dispatch"
    found = error(service.post(path, tech), 409, "INVALID_STATE_TRANSITION")
    assert (found["from_state"], found["to_state"]) == ("TRIAGED", "DISPATCHED")
    bypass = tech | {"dispatch_mode": "EMERGENCY_BYPASS", "rationale": "the door stands open"}
    error(service.post(path, bypass), 409, "ASSIGNMENT_BYPASS_DENIED")
    ticket_id = service.desk.make()
    service.post(f"/tickets/{ticket_id}/triage", _WISH | {"priority": "EMERGENCY"})
    path = f"/tickets/{ticket_id}/assignment/dispatch"
    error(service.post(path, tech | {"dispatch_mode": "EMERGENCY_BYPASS"}), 409, "ASSIGNMENT_BYPASS_DENIED")
    sent = service.post(path, bypass)
    assert (sent.status_code, sent.json()["state"]) == (200, "DISPATCHED"), sent.text


def test_who_is_no_technician_and_another_tickets_recommendation_are_409(service: Service) -> None:
    ticket_id, other = service.standing("SCHEDULED"), service.at("SCHEDULED")
    path = f"/tickets/{ticket_id}/assignment"
    for stranger in (uuid4(), service.desk.people["customer"].person_id):
        error(service.post(f"{path}/dispatch", {"tech_id": str(stranger)}), 409, "ASSIGNMENT_NOT_FOUND")
    found = service.post(f"/tickets/{other}/assignment/recommend", {"limit": 1}, "agent")
    assert found.status_code == 201, found.text
    wish = {
        "tech_id": str(service.desk.people["tech"].person_id),
        "recommendation_snapshot_id": found.json()["recommendation_snapshot_id"],
        "override_reason": "whatever else speaks against it",
    }
    error(service.post(f"{path}/dispatch", wish), 409, "ASSIGNMENT_RECOMMENDATION_MISMATCH")
    for limit in (0, 21):
        error(service.post(f"{path}/recommend", {"limit": limit}, "agent"), 400, "INVALID_REQUEST")


def test_only_the_technician_who_was_sent_arrives(service: Service) -> None:
    ticket_id = service.at("DISPATCHED")
    path, body = f"/tickets/{ticket_id}/tech/check-in", {"timestamp": now()}
    error(service.post(path, body, "other_tech"), 403, "NOT_ASSIGNED")
    ahead = {"timestamp": schedules.ahead(1).starts_at.isoformat()}
    error(service.post(path, ahead, "tech"), 400, "INVALID_REQUEST")
    assert service.post(path, body, "tech").json()["state"] == "IN_PROGRESS"


def requested(service: Service, **said: Any) -> tuple[str, Body]:
    """Ask for more on site; return the ticket's address and the approval."""
    ticket_id = on_site(service.desk)
    service.desk.change("UPDATE dispatches SET nte_cents = 10000 WHERE ticket_id = :id", id=ticket_id)
    wish = {"approval_type": "nte_increase", "reason": "closer", "amount_delta_cents": 5000.7, **said}
    answer = service.post(f"/tickets/{ticket_id}/tech/request-change", wish, "tech")
    assert set(answer.json()) == {"ticket", "approval"}
    return f"/tickets/{ticket_id}", answer.json()["approval"]


def test_an_approval_raises_the_limit_and_leads_back(service: Service) -> None:
    path, approval = requested(service)
    assert (approval["status"], approval["amount_delta_cents"], approval["reason"]) == ("PENDING", 5000, "closer")
    decide = {"approval_id": approval["id"], "decision": "approved", "notes": "fine"}
    said = service.post(f"{path}/approval/decide", decide, "approver").json()
    assert (said["state"], said["nte_cents"], said["approval"]["status"]) == ("IN_PROGRESS", 15000, "APPROVED")


def test_a_denial_calls_the_technician_back_or_lets_them_go_on(service: Service) -> None:
    path, approval = requested(service)
    deny = {"approval_id": approval["id"], "decision": "DENIED"}
    said = service.post(f"{path}/approval/decide", deny, "approver").json()
    assert (said["state"], said["nte_cents"], said["assigned_tech_id"]) == ("TRIAGED", 10000, None)
    path, approval = requested(service)
    deny = {"approval_id": approval["id"], "decision": "DENIED", "denied_to": "IN_PROGRESS"}
    said = service.post(f"{path}/approval/decide", deny, "approver").json()
    assert (said["state"], said["assigned_tech_id"]) == ("IN_PROGRESS", str(service.desk.people["tech"].person_id))


def test_an_approval_is_this_tickets_pending_and_not_ones_own(service: Service) -> None:
    path, first = requested(service)
    _, other = requested(service)
    for unknown in (str(uuid4()), other["id"]):
        wish = {"approval_id": unknown, "decision": "APPROVED"}
        error(service.post(f"{path}/approval/decide", wish, "approver"), 404, "APPROVAL_NOT_FOUND")
    decide = {"approval_id": first["id"], "decision": "APPROVED"}
    service.post(f"{path}/approval/decide", decide, "approver")
    again = service.post(f"{path}/tech/request-change", {"approval_type": "PROPOSAL", "reason": "a strike"}, "tech")
    assert again.json()["ticket"]["state"] == "APPROVAL_REQUIRED"
    error(service.post(f"{path}/approval/decide", decide, "approver"), 409, "APPROVAL_NOT_PENDING")
    ticket_id = service.desk.make()
    own = service.post(f"/tickets/{ticket_id}/triage", _WISH | {"requires_approval": True}, "dispatcher").json()
    decide = {"approval_id": own["approval"]["id"], "decision": "APPROVED"}
    error(service.post(f"/tickets/{ticket_id}/approval/decide", decide, "dispatcher"), 403, "SELF_APPROVAL")
    answer = service.post(f"/tickets/{ticket_id}/approval/decide", decide, "other_dispatcher")
    assert answer.json()["state"] == "READY_TO_SCHEDULE"
