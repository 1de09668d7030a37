"""Triage of field work: what it leads to, what it sets, and what is not sure enough to be planned."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from models.enums import ActorKind, DispatchPriority
from pipeline.command import Refused
from pipeline.commands.triaging import CLASSIFY, REQUEST_INFO, TRIAGE, Classification, Question, Triage
from pipeline.executor import Answer
from pipeline.runtime.db import Database
from tests.commands.field_desk import INCIDENT, FieldDesk, take_in, triage
from tests.commands.site_work import completed, on_site
from tests.factories import asset, case, ticket


@pytest.fixture
def ours(db: Database) -> FieldDesk:
    return FieldDesk.of(db)


def wish(**said: Any) -> Triage:
    return Triage(**{"priority": "URGENT", "incident_type": INCIDENT, **said})


def test_triage_says_what_it_is_how_soon_and_up_to_which_price(ours: FieldDesk) -> None:
    made = ours.make()
    body = triage(ours, made, priority=" emergency", incident_type=" door_wont_latch ", nte_cents=12_300).body
    assert (body["state"], body["priority"], body["incident_type"]) == ("TRIAGED", "EMERGENCY", INCIDENT)
    assert (body["nte_cents"], body["version"], "warning" in body) == (12_300, 1, False)
    row, work = ours.row(made), ours.work(made)
    assert (row.priority, (work.due_at - row.created_at).total_seconds()) == ("urgent", 3600)
    assert (row.response_due_at - row.first_message_at).total_seconds() == 3600
    assert work.template_id == ours.one(
        "SELECT id FROM incident_templates WHERE org_id IS NULL AND incident_type = :type", type=INCIDENT
    ).id  # fmt: skip


def test_an_outcome_beyond_triaged_is_one_audit_row_and_two_transitions(ours: FieldDesk) -> None:
    made = ours.make()
    assert triage(ours, made, "READY_TO_SCHEDULE").body["version"] == 1
    assert ours.moves(made) == [(None, "NEW"), ("NEW", "TRIAGED"), ("TRIAGED", "READY_TO_SCHEDULE")]
    assert ours.trail(made)[1:] == [("ticket.triage", "done", None)]
    assert ours.row(made).version == 1


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({}, "TRIAGED"),
        ({"ready_to_schedule": True}, "READY_TO_SCHEDULE"),
        ({"requires_approval": True, "ready_to_schedule": True}, "APPROVAL_REQUIRED"),
        ({"requires_approval": True, "workflow_outcome": "triaged"}, "TRIAGED"),
    ],
    ids=str,
)
def test_the_outcome_is_named_or_follows_from_the_flags(ours: FieldDesk, said: dict[str, Any], state: str) -> None:
    assert triage(ours, ours.make(), **{"outcome": None, **said}).body["state"] == state


def test_needing_approval_asks_for_one_with_its_amount_floored(ours: FieldDesk) -> None:
    body = triage(ours, ours.make(), "APPROVAL_REQUIRED", approval_amount_delta_cents=99.9).body
    approval = body["approval"]
    assert (approval["status"], approval["approval_type"], approval["return_state"]) == (
        "PENDING", "NTE_INCREASE", "READY_TO_SCHEDULE",
    )  # fmt: skip
    assert (approval["amount_delta_cents"], approval["reason"]) == (99, "TRIAGE_REQUIRES_APPROVAL")
    assert approval["requested_by"] == ours.people["agent"].actor_id


def test_triaged_again_is_no_change(ours: FieldDesk) -> None:
    made = ours.at("TRIAGED")
    refusal = ours.refused(TRIAGE, wish(), made)
    assert (refusal.code, refusal.details) == (
        "INVALID_STATE_TRANSITION", {"from_state": "TRIAGED", "to_state": "TRIAGED"},
    )  # fmt: skip
    assert ours.trail(made)[-1] == ("ticket.triage", "refused", "INVALID_STATE_TRANSITION")
    triage(ours, made, "READY_TO_SCHEDULE")
    assert ours.refused(TRIAGE, wish(workflow_outcome="READY_TO_SCHEDULE"), made).details == {
        "from_state": "READY_TO_SCHEDULE", "to_state": "READY_TO_SCHEDULE",
    }  # fmt: skip


def test_what_makes_no_sense_is_refused_before_anything_is_looked_at() -> None:
    for wrong in (
        {"incident_type": "  "},
        {"priority": "SOON"},
        {"nte_cents": "100"},
        {"nte_cents": 1.5},
        {"nte_cents": True},
        {"nte_cents": -1},
        {"workflow_outcome": "DONE"},
        {"approval_amount_delta_cents": -1},
        {"approval_amount_delta_cents": float("nan")},
        {"identity_confidence": 101},
        {"identity_confidence": 90},
        {"colour": "red"},
    ):
        with pytest.raises(ValidationError):
            wish(**wrong)


def test_an_unknown_kind_of_trouble_is_warned_of_and_an_own_template_goes_before_the_built_in(ours: FieldDesk) -> None:
    made = ours.make()
    assert "no template" in triage(ours, made, incident_type="LOST_KEY_V1").body["warning"]
    ours.change(
        "INSERT INTO incident_templates (org_id, incident_type, name, evidence_keys, checklist_keys) "
        "VALUES (:org, :type, 'ours', '{a}', '{b}')",
        type=INCIDENT,
    )
    triage(ours, made, "READY_TO_SCHEDULE")
    template = ours.one("SELECT org_id FROM incident_templates WHERE id = :id", id=ours.work(made).template_id)
    assert template.org_id == ours.org_id


def test_the_kind_is_corrected_until_the_work_is_completed(ours: FieldDesk) -> None:
    made = on_site(ours)
    asked = Classification(incident_type="frame_or_glass_damage", reason="the glass is cracked, too")
    body = ours.run(CLASSIFY, asked, made, by="agent").body
    assert (body["state"], body["incident_type"], "warning" in body) == ("IN_PROGRESS", "FRAME_OR_GLASS_DAMAGE", False)
    assert ours.one("SELECT incident_type FROM incident_templates WHERE id = :id", id=ours.work(made).template_id) == (
        "FRAME_OR_GLASS_DAMAGE",
    )
    assert ours.moves(made)[-1][1] == "IN_PROGRESS"
    for state in ("NEW", "NEEDS_INFO"):
        assert ours.refused(CLASSIFY, asked, ours.at(state)).code == "INVALID_STATE_TRANSITION"
    assert ours.refused(CLASSIFY, asked, completed(ours)).code == "INVALID_STATE_TRANSITION"


def test_asking_back_waits_until_triage_leads_on(ours: FieldDesk) -> None:
    made = ours.make()
    body = ours.run(REQUEST_INFO, Question(question="  which door? "), made, by="agent").body
    assert body["state"] == "NEEDS_INFO"
    assert ours.events(made)[-1] == (
        "ticket.request_info", {"from": "NEW", "to": "NEEDS_INFO", "question": "which door?"},
    )  # fmt: skip
    details = ours.rows("SELECT data FROM audit_details ORDER BY number DESC LIMIT 1")[0][0]
    assert "which door" not in str(details)
    assert triage(ours, made, "READY_TO_SCHEDULE").body["state"] == "READY_TO_SCHEDULE"
    assert ours.refused(REQUEST_INFO, Question(question="x"), made).code == "INVALID_STATE_TRANSITION"


@pytest.mark.parametrize("outcome", ["READY_TO_SCHEDULE", "APPROVAL_REQUIRED"])
def test_an_unsure_intake_is_neither_planned_nor_put_up_for_approval(ours: FieldDesk, outcome: str) -> None:
    made = UUID(take_in(ours, identity_confidence=50, classification_confidence=50).body["id"])
    asked = {"workflow_outcome": outcome}
    assert ours.refused(TRIAGE, wish(**asked), made).code == "LOW_IDENTITY_CONFIDENCE"
    asked |= {"identity_confidence": 90, "confidence_reason": "called back"}
    assert ours.refused(TRIAGE, wish(**asked), made).code == "LOW_CLASSIFICATION_CONFIDENCE"
    asked |= {"classification_confidence": 85}
    assert ours.refused(TRIAGE, wish(**asked), made).code == "SOP_HANDOFF_REQUIRED"
    asked |= {"sop_handoff_acknowledged": True}
    body = ours.run(TRIAGE, wish(**asked), made, by="agent").body
    assert (body["state"], body["identity_confidence"], body["sop_handoff_acknowledged"]) == (outcome, 90, True)
    data = ours.rows("SELECT data FROM audit_details ORDER BY number DESC LIMIT 1")[0][0]
    assert data["reason"] == "called back"


def test_a_machine_does_not_say_what_a_person_verified(ours: FieldDesk) -> None:
    made = UUID(take_in(ours, identity_confidence=50).body["id"])
    bot = replace(ours.people["agent"], actor_kind=ActorKind.AGENT)
    asked = wish(workflow_outcome="READY_TO_SCHEDULE", identity_confidence=99, confidence_reason="model says so")
    refusal = ours.refused(TRIAGE, asked, made, by=bot)
    assert (refusal.code, refusal.because.value) == ("FORBIDDEN", "forbidden")


def test_a_mails_ticket_gets_its_field_work_from_its_case_and_who_wrote(ours: FieldDesk) -> None:
    with ours.db.begin() as connection:
        made = ticket(connection, ours.org_id)
        found = case(connection, ours.org_id, asset(connection, ours.org_id, "PUMP-1"))
    ours.change("UPDATE tickets SET requester_email = 'ann@x.example', requester_name = 'Ann' WHERE id = :id", id=made)
    ours.change("INSERT INTO events (org_id, ticket_id, kind, trace_id) VALUES (:org, :id, 'x', 'abc')", id=made)
    _signal(ours, made, found)
    body = triage(ours, made).body
    work = ours.work(made)
    assert (work.customer_email, work.customer_name, work.description, work.trace_id) == (
        "ann@x.example", "Ann", "a test", "abc",
    )  # fmt: skip
    assert (body["asset_id"] is not None, body["priority"], work.queue_due_at == work.due_at) == (True, "URGENT", True)
    assert ours.rows("SELECT trace_id FROM audit_events WHERE action = 'ticket.triage'") == [("abc",)]


def _signal(ours: FieldDesk, ticket_id: UUID, case_id: UUID) -> None:
    ours.change(
        """
        WITH m AS (
            INSERT INTO messages (org_id, rfc_message_id, fingerprint, signature, subject, subject_norm, received_at,
                                  snippet, raw_sha256, parser_version)
            VALUES (:org, '<1@x>', sha256('1'), sha256('1'), '', '', now(), '', sha256('1'), 1) RETURNING id
        ), l AS (
            INSERT INTO ticket_messages (message_id, org_id, ticket_id, reason, confidence)
            SELECT id, :org, :ticket, 'new_ticket', 'high' FROM m
        )
        INSERT INTO signals (org_id, asset_id, source, reporter, message_id, at, status, text, rules_version, case_id)
        SELECT :org, c.asset_id, 'mail', '', m.id, now(), 'down', '', 1, c.id FROM m, cases c WHERE c.id = :case
        """,
        ticket=ticket_id,
        case=case_id,
    )


def test_work_that_a_mail_began_is_triaged_where_it_stands_once(ours: FieldDesk) -> None:
    with ours.db.begin() as connection:
        made = ticket(connection, ours.org_id)
    ours.change("UPDATE tickets SET dispatch_state = 'READY_TO_SCHEDULE' WHERE id = :id", id=made)
    body = triage(ours, made, "READY_TO_SCHEDULE").body
    assert (body["state"], body["incident_type"], body["version"]) == ("READY_TO_SCHEDULE", INCIDENT, 1)
    assert ours.moves(made) == []
    assert ours.refused(TRIAGE, wish(workflow_outcome="READY_TO_SCHEDULE"), made).code == "INVALID_STATE_TRANSITION"


def test_of_two_different_triages_at_once_one_wins_and_the_other_is_told_from_where_to_where(ours: FieldDesk) -> None:
    made = ours.make()
    wishes = [wish(workflow_outcome="READY_TO_SCHEDULE"), wish(workflow_outcome="APPROVAL_REQUIRED")]

    def ask(asked: Triage) -> Answer | Refused:
        try:
            return ours.run(TRIAGE, asked, made, by="agent")
        except Refused as refused:
            return refused

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(ask, wishes))
    (lost,) = [one for one in found if isinstance(one, Refused)]
    won = ours.state(made)
    other = ({"READY_TO_SCHEDULE", "APPROVAL_REQUIRED"} - {won}).pop()
    assert (lost.refusal.code, lost.refusal.details) == (
        "INVALID_STATE_TRANSITION", {"from_state": won, "to_state": other},
    )  # fmt: skip
    assert ours.moves(made) == [(None, "NEW"), ("NEW", "TRIAGED"), ("TRIAGED", won)]
    assert ours.row(made).version == 1


def test_a_persons_priority_is_a_decision(ours: FieldDesk) -> None:
    made = ours.make(priority=DispatchPriority.ROUTINE)
    triage(ours, made, priority="URGENT")
    assert (ours.row(made).priority, ours.row(made).decided_at is not None) == ("high", True)
