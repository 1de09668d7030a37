"""Completing and checking: the gates, four eyes, rework, and what follows."""

from __future__ import annotations

import threading
from uuid import UUID

import pytest
from pydantic import ValidationError

from models.enums import QaResult
from pipeline.command import Refused
from pipeline.commands import closing, evidence
from pipeline.commands.evidence_arguments import Waiver, WithdrawEvidence
from pipeline.runtime import closeout_reading, completion_rows, field_rows
from pipeline.runtime.db import Database
from tests.commands.field_desk import FieldDesk
from tests.commands.site_steps import CHECKLIST, add, check, complete, now, prove, report
from tests.commands.site_work import completed, on_site, verified

DOOR = ("photo_before_door_edge_and_strike", "photo_after_latched_alignment", "note_adjustments_and_test_cycles")


@pytest.fixture
def desk(db: Database) -> FieldDesk:
    return FieldDesk.of(db)


def state_of(desk: FieldDesk, table: str, ticket_id: UUID) -> list[tuple[object, ...]]:
    return desk.rows(f"SELECT state FROM {table} WHERE ticket_id = :t ORDER BY id", t=ticket_id)


def test_work_with_its_proof_is_completed_once_and_its_time_ends(desk: FieldDesk) -> None:
    ticket_id = on_site(desk)
    prove(desk, ticket_id)
    answer = complete(desk, ticket_id)
    assert (answer.status, answer.body["state"]) == (200, "COMPLETED_PENDING_VERIFICATION")
    row = desk.one("SELECT command, checklist_status, completed_by FROM completions WHERE ticket_id = :t", t=ticket_id)
    assert (row.command, row.checklist_status) == ("tech.complete", CHECKLIST)
    assert row.completed_by == desk.people["tech"].actor_id
    assert desk.rows("SELECT count(*) FROM time_entries WHERE ticket_id = :t AND ended_at IS NULL", t=ticket_id) == [
        (0,)
    ]
    assert desk.moves(ticket_id)[-1] == ("IN_PROGRESS", "COMPLETED_PENDING_VERIFICATION")


def test_a_refused_completion_says_all_that_is_missing_and_changes_nothing(desk: FieldDesk) -> None:
    ticket_id = on_site(desk)
    prove(desk, ticket_id, *DOOR[:2])
    refusal = desk.refused(closing.COMPLETE, report(no_signature_reason="not there"), ticket_id, by="tech")
    assert refusal.code == "CLOSEOUT_REQUIREMENTS_INCOMPLETE"
    assert refusal.details == {
        "requirement_code": "MISSING_EVIDENCE",
        "incident_type": "DOOR_WONT_LATCH",
        "template_version": 1,
        "missing_evidence_keys": [DOOR[2]],
        "missing_checklist_keys": [],
        "invalid_evidence_refs": [],
    }
    assert desk.state(ticket_id) == "IN_PROGRESS"
    assert desk.trail(ticket_id)[-1] == ("tech.complete", "refused", "CLOSEOUT_REQUIREMENTS_INCOMPLETE")
    add(desk, ticket_id, DOOR[2])
    assert complete(desk, ticket_id, no_signature_reason="not there").body["state"] == "COMPLETED_PENDING_VERIFICATION"


@pytest.mark.parametrize("incident", ["DOOR_WONT_LATCH_V1", "SOMETHING_ELSE"])
def test_a_type_without_a_template_cannot_be_completed(desk: FieldDesk, incident: str) -> None:
    ticket_id = on_site(desk, incident)
    refusal = desk.refused(closing.COMPLETE, report(no_signature_reason="x"), ticket_id, by="tech")
    assert (refusal.details["requirement_code"], refusal.details["incident_type"]) == ("TEMPLATE_NOT_FOUND", incident)
    assert refusal.details["template_version"] is None


def test_a_withdrawn_piece_counts_for_nothing_and_a_good_one_heals(desk: FieldDesk) -> None:
    ticket_id = on_site(desk)
    pieces = prove(desk, ticket_id)
    desk.change("UPDATE evidence_items SET uri = 'file:///x' WHERE id = :id", id=pieces[0]["id"])
    refusal = desk.refused(closing.COMPLETE, report(), ticket_id, by="tech")
    assert refusal.details["requirement_code"] == "INVALID_EVIDENCE_REFERENCE"
    assert refusal.details["invalid_evidence_refs"] == ["file:///x"]
    add(desk, ticket_id, DOOR[0])
    assert desk.refused(closing.COMPLETE, report(evidence_refs=[str(UUID(int=5))]), ticket_id, by="tech").details[
        "invalid_evidence_refs"
    ] == [str(UUID(int=5))]
    withdrawal = WithdrawEvidence(evidence_id=pieces[1]["id"], reason="another door")
    desk.run(evidence.WITHDRAW, withdrawal, ticket_id, by="tech")
    refusal = desk.refused(closing.COMPLETE, report(), ticket_id, by="tech")
    assert refusal.details["missing_evidence_keys"] == [DOOR[1]]


def test_only_who_was_sent_or_a_dispatcher_completes(desk: FieldDesk) -> None:
    ticket_id = on_site(desk)
    prove(desk, ticket_id)
    assert desk.refused(closing.COMPLETE, report(), ticket_id, by="other_tech").code == "NOT_ASSIGNED"
    assert complete(desk, ticket_id, by="dispatcher").status == 200


def test_a_candidate_of_low_risk_completes_and_can_be_checked(desk: FieldDesk) -> None:
    ticket_id = on_site(desk)
    prove(desk, ticket_id)
    desk.run(closing.CANDIDATE, report(), ticket_id, by="agent")
    assert desk.run(closing.VERIFY, check(), ticket_id, by="qa").body["state"] == "VERIFIED"
    row = desk.one("SELECT command FROM completions WHERE ticket_id = :t", t=ticket_id)
    assert row.command == "closeout.candidate"


def test_a_candidate_of_high_risk_is_left_to_a_person(desk: FieldDesk) -> None:
    ticket_id = on_site(desk, "CANNOT_SECURE_ENTRY")
    refusal = desk.refused(closing.CANDIDATE, report(), ticket_id, by="agent")
    assert refusal.code == "CLOSEOUT_REQUIREMENTS_INCOMPLETE"
    keys = [
        "photo_before_security_risk",
        "photo_after_temporary_or_permanent_securement",
        "note_risk_mitigation_and_customer_handoff",
    ]
    prove(desk, ticket_id, *keys)
    said = report(no_signature_reason="locked out")
    refusal = desk.refused(closing.CANDIDATE, said, ticket_id, by="agent")
    assert (refusal.code, refusal.details["requirement_code"]) == ("MANUAL_REVIEW_REQUIRED", "AUTOMATION_RISK_BLOCK")
    assert refusal.details["risk_profile"]["incident_type"] == "CANNOT_SECURE_ENTRY"
    assert desk.run(closing.COMPLETE, said, ticket_id, by="tech").status == 200


def test_photos_on_the_way_let_the_work_be_done_and_keep_it_from_being_checked(desk: FieldDesk) -> None:
    ticket_id = on_site(desk)
    prove(desk, ticket_id, *DOOR[1:])
    manifest = [{"sha256": "ab" * 32, "evidence_key": DOOR[0], "captured_at": now().isoformat()}]
    complete(desk, ticket_id, no_signature_reason="none", manifest=manifest)
    refusal = desk.refused(closing.VERIFY, check(), ticket_id, by="qa")
    assert refusal.code == "EVIDENCE_OUTSTANDING"
    assert refusal.details["outstanding"] == [{"sha256": "ab" * 32, "evidence_key": DOOR[0]}]
    with desk.db.begin() as connection:
        ticket = field_rows.read(connection, ticket_id)
        problem = completion_rows.closeout_problem(connection, ticket)
        told = closeout_reading.standing(connection, ticket_id, None)
    assert problem is not None
    assert problem.code == "EVIDENCE_OUTSTANDING"
    assert (told["evidence_outstanding"], told["evidence"][0]["status"]) == (1, "promised")
    desk.run(evidence.WAIVE, Waiver(sha256="ab" * 32, reason="the telephone is lost"), ticket_id)
    assert desk.run(closing.VERIFY, check(), ticket_id, by="qa").body["state"] == "VERIFIED"
    with desk.db.begin() as connection:
        assert completion_rows.closeout_problem(connection, field_rows.read(connection, ticket_id)) is None


@pytest.mark.parametrize("checksum", ["cd" * 32, "SHA256:" + "CD" * 32])
@pytest.mark.parametrize("is_early", [False, True])
def test_a_piece_sent_with_the_promised_hash_keeps_the_promise(desk: FieldDesk, checksum: str, is_early: bool) -> None:
    ticket_id = on_site(desk)
    prove(desk, ticket_id, *DOOR[1:])
    if is_early:
        add(desk, ticket_id, None, uri="s3://bucket/early.jpg", checksum=checksum)
    manifest = [{"sha256": "cd" * 32, "evidence_key": DOOR[0]}]
    body = complete(desk, ticket_id, no_signature_reason="n", manifest=manifest).body
    assert body["evidence_outstanding"] == int(not is_early)
    if not is_early:
        add(desk, ticket_id, None, uri="s3://bucket/late.jpg", checksum=checksum)
    assert desk.run(closing.VERIFY, check(), ticket_id, by="qa").body["evidence_outstanding"] == 0


def test_a_failed_check_sends_the_work_back_with_the_reason(desk: FieldDesk) -> None:
    ticket_id = completed(desk)
    body = desk.run(closing.VERIFY, check(QaResult.FAIL, notes=" the strike is loose "), ticket_id, by="qa").body
    assert (body["state"], body["rework_reason"]) == ("IN_PROGRESS", "the strike is loose")
    assert desk.moves(ticket_id)[-1] == ("COMPLETED_PENDING_VERIFICATION", "IN_PROGRESS")
    assert state_of(desk, "visits", ticket_id) == [("under_way",)]
    complete(desk, ticket_id)
    body = desk.run(closing.VERIFY, check(), ticket_id, by="qa").body
    assert (body["state"], body["rework_reason"]) == ("VERIFIED", None)
    checks = desk.rows("SELECT result, notes FROM qa_checks WHERE ticket_id = :t ORDER BY id", t=ticket_id)
    assert checks == [("FAIL", "the strike is loose"), ("PASS", None)]


@pytest.mark.parametrize("notes", [None, "", "  "])
def test_a_failed_check_without_a_reason_is_refused_by_its_field(notes: str | None) -> None:
    said = {"timestamp": "2026-03-01T12:00:00Z", "result": "FAIL", "notes": notes}
    with pytest.raises(ValidationError) as caught:
        closing.Check.model_validate(said)
    assert [one["loc"] for one in caught.value.errors()] == [("notes",)]
    assert closing.Check.model_validate(said | {"result": "pass"}).result is QaResult.PASS


def test_who_completed_does_not_check_unless_the_organization_says_so(desk: FieldDesk, db: Database) -> None:
    ticket_id = on_site(desk)
    prove(desk, ticket_id)
    complete(desk, ticket_id, by="dispatcher")
    for result in QaResult:
        refusal = desk.refused(closing.VERIFY, check(result, notes="n"), ticket_id, by="dispatcher")
        assert (refusal.code, refusal.because) == ("FOUR_EYES", "forbidden")
    assert desk.run(closing.VERIFY, check(), ticket_id, by="other_dispatcher").body["state"] == "VERIFIED"
    alone = FieldDesk.of(db, policy={"four_eyes_qa": False})
    ticket_id = on_site(alone)
    prove(alone, ticket_id)
    complete(alone, ticket_id, by="dispatcher")
    assert alone.run(closing.VERIFY, check(), ticket_id, by="dispatcher").body["state"] == "VERIFIED"


def test_a_pass_looks_at_the_proof_again_and_a_fail_does_not(desk: FieldDesk) -> None:
    ticket_id = completed(desk)
    desk.change("UPDATE evidence_items SET uri = 'https://a/b' WHERE evidence_key = :key", key=DOOR[2])
    refusal = desk.refused(closing.VERIFY, check(), ticket_id, by="qa")
    assert refusal.details["invalid_evidence_refs"] == ["https://a/b"]
    assert desk.run(closing.VERIFY, check(QaResult.FAIL, notes="no note"), ticket_id, by="qa").status == 200


@pytest.mark.parametrize("result", list(QaResult))
def test_work_that_nobody_completed_is_not_checked(desk: FieldDesk, result: QaResult) -> None:
    ticket_id = on_site(desk)
    desk.change("UPDATE tickets SET dispatch_state = 'COMPLETED_PENDING_VERIFICATION' WHERE id = :t", t=ticket_id)
    refusal = desk.refused(closing.VERIFY, check(result, notes="n"), ticket_id, by="qa")
    assert refusal.details["requirement_code"] == "MISSING_COMPLETION_CONTEXT"


def test_a_pass_ends_the_visit_and_notes_whose_work_it_was(desk: FieldDesk) -> None:
    ticket_id = verified(desk)
    assert state_of(desk, "visits", ticket_id) == [("done",)]
    assert desk.rows("SELECT ended_because FROM assignments WHERE ticket_id = :t", t=ticket_id) == [
        ("the work passed its check",)
    ]
    assert desk.work(ticket_id).assigned_tech_id == desk.people["tech"].person_id
    row = desk.one("SELECT technician_id, completion_id FROM qa_checks WHERE ticket_id = :t", t=ticket_id)
    assert row.technician_id == desk.people["tech"].person_id
    refusal = desk.refused(closing.VERIFY, check(), ticket_id, by="qa")
    assert refusal.details == {"from_state": "VERIFIED", "to_state": "VERIFIED"}


def test_the_same_completion_at_once_is_one_and_a_second_one_loses(desk: FieldDesk) -> None:
    """Six say that the work is done, two of them the same request: one effect, the rest are told where it stands."""
    ticket_id = on_site(desk)
    prove(desk, ticket_id)
    same = desk.ask(report(), by="tech").key
    told: list[str] = []
    lock, gate = threading.Lock(), threading.Barrier(6)

    def finish(number: int) -> None:
        gate.wait()
        try:
            more = {"key": same} if number < 2 else {}
            answer = desk.run(closing.COMPLETE, report(), ticket_id, by="tech", **more)
            found = "replayed" if answer.is_replayed else "done"
        except Refused as refused:
            found = f"{refused.refusal.code} {refused.refusal.details.get('from_state')}"
        with lock:
            told.append(found)

    threads = [threading.Thread(target=finish, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told.count("done") == 1
    assert set(told) <= {"done", "replayed", "INVALID_STATE_TRANSITION COMPLETED_PENDING_VERIFICATION"}
    assert desk.rows("SELECT count(*) FROM completions WHERE ticket_id = :t", t=ticket_id) == [(1,)]
    names = [name for name, outcome, _ in desk.trail(ticket_id) if outcome == "done"]
    assert names.count("tech.complete") == 1
