"""New tickets by request: what they are from the start, and intakes that are taken in once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from models.enums import Reach
from pipeline.command import Refused
from pipeline.commands.intake import BLIND_INTAKE, CREATE, NewTicket
from pipeline.core.principals import Scope
from pipeline.runtime import field_endings, field_rows
from pipeline.runtime.db import Database
from tests.commands.field_desk import INCIDENT, FieldDesk, take_in, told


@pytest.fixture
def ours(db: Database) -> FieldDesk:
    return FieldDesk.of(db)


def new(ours: FieldDesk, **said: Any) -> NewTicket:
    return NewTicket(**{"account_id": ours.account_id, "site_id": ours.site_id, "summary": "door", **said})


def test_a_new_ticket_is_whole_from_the_start(ours: FieldDesk) -> None:
    asked = new(
        ours, summary="  Re: The Door ", asset_id=ours.asset_id, nte_cents=500, priority="urgent", description="x"
    )
    answer = ours.run(CREATE, asked, by="agent", trace_id="abc")
    body, made = answer.body, UUID(answer.body["id"])
    assert (answer.status, answer.version, body["state"], body["version"]) == (201, 0, "NEW", 0)
    assert (body["summary"], body["nte_cents"], body["priority"], body["asset_id"]) == (
        "Re: The Door", 500, "URGENT", str(ours.asset_id),
    )  # fmt: skip
    row, work = ours.row(made), ours.work(made)
    assert (row.status, row.priority, row.subject_norm, row.code) == ("new", "high", "the door", body["code"])
    assert row.routed_at is not None
    assert row.decided_at is not None
    assert (row.sla_due_at - row.created_at).total_seconds() == 240 * 60
    assert (work.queue_due_at, work.trace_id) == (work.due_at, "abc")
    assert ours.rows("SELECT haystack FROM ticket_words WHERE ticket_id = :id", id=made) == [("re: the door",)]
    assert ours.rows("SELECT kind, state FROM ticket_clocks WHERE ticket_id = :id ORDER BY kind", id=made) == [
        ("resolution", "running"), ("response", "running"),
    ]  # fmt: skip
    assert ours.moves(made) == [(None, "NEW")]
    assert ours.rows("SELECT action, target_id, trace_id FROM audit_events") == [("ticket.create", str(made), "abc")]


def test_what_a_body_must_not_say_is_refused(ours: FieldDesk) -> None:
    for wrong in (
        {"summary": "  "},
        {"summary": "a\nb"},
        {"summary": "x" * 501},
        {"nte_cents": "100"},
        {"nte_cents": 1.5},
        {"nte_cents": 1.0},
        {"nte_cents": True},
        {"nte_cents": None},
        {"nte_cents": -1},
        {"nte_cents": 10**13},
        {"currency": "usd"},
        {"site_id": None},
        {"description": "\x00"},
        {"colour": "red"},
    ):
        with pytest.raises(ValidationError):
            new(ours, **wrong)


def test_places_and_assets_are_the_organizations_own_and_belong_together(ours: FieldDesk, db: Database) -> None:
    theirs = FieldDesk.of(db)
    other = ours.one("INSERT INTO accounts (org_id, name) VALUES (:org, 'Other') RETURNING id", org=ours.org_id).id
    for field, wrong in (
        ("account_id", {"account_id": theirs.account_id}),
        ("site_id", {"site_id": theirs.site_id}),
        ("site_id", {"account_id": other}),
        ("asset_id", {"asset_id": theirs.asset_id}),
    ):
        refusal = ours.refused(CREATE, new(ours, **wrong), by="agent")
        assert (refusal.code, list(refusal.details["fields"])) == ("INVALID_REQUEST", [field])
    assert ours.rows("SELECT count(*) FROM tickets WHERE org_id = :org") == [(0,)]


def test_a_place_out_of_reach_is_refused_whether_there_is_such_or_not(ours: FieldDesk) -> None:
    narrow = replace(ours.people["agent"], scope=Scope(account_ids=frozenset({ours.account_id}), site_ids=frozenset()))
    refusal = ours.refused(CREATE, new(ours), by=narrow)
    assert (refusal.code, refusal.details) == (
        "FORBIDDEN_SCOPE", {"scope_field": "site_id", "target_id": str(ours.site_id)},
    )  # fmt: skip
    unknown = uuid4()
    assert ours.refused(CREATE, new(ours, account_id=unknown), by=narrow).details["target_id"] == str(unknown)
    assert ours.trail() == [("ticket.create", "refused", "FORBIDDEN_SCOPE")] * 2


def test_a_sure_intake_is_ready_and_an_unsure_one_triaged(ours: FieldDesk) -> None:
    sure = take_in(ours, sop_handoff_acknowledged=True, identity_confidence=85.9, contact_email="Ann@X.Example").body
    assert (sure["state"], sure["identity_confidence"], sure["incident_type"]) == ("READY_TO_SCHEDULE", 85, INCIDENT)
    assert (sure["customer_phone"], sure["customer_email"]) == ("15551234567", "ann@x.example")
    assert ours.moves(UUID(sure["id"])) == [(None, "READY_TO_SCHEDULE")]
    assert ours.row(UUID(sure["id"])).requester_email == "ann@x.example"
    for unsure in ({"identity_confidence": 84}, {"classification_confidence": 84}, {"sop_handoff_acknowledged": False}):
        body = take_in(ours, **{"sop_handoff_acknowledged": True, "summary": str(unsure), **unsure}).body
        assert (body["state"], body["sop_handoff_required"]) == ("TRIAGED", True)


def test_an_intake_must_be_reachable(ours: FieldDesk) -> None:
    refusal = ours.refused(BLIND_INTAKE, told(ours, contact_phone=None), by="agent")
    assert (refusal.code, refusal.because.value) == ("BLIND_INTAKE_VALIDATION_FAILED", "malformed")
    for wrong in ({"contact_phone": "12"}, {"contact_email": "ann"}, {"identity_confidence": "90"}, {"priority": None}):
        with pytest.raises(ValidationError):
            told(ours, **wrong)


def test_the_same_again_is_answered_with_the_first_ticket_and_recorded(ours: FieldDesk) -> None:
    first = take_in(ours).body
    again = told(ours, summary=" the door DOES not latch", contact_phone="1.555.123.4567", customer_name="ANN LEE ")
    refusal = ours.refused(BLIND_INTAKE, again, by="other_dispatcher")
    found = dict(refusal.details)
    assert found.pop("ticket") == first
    assert found.pop("identity_signature") == ours.work(UUID(first["id"])).identity_signature
    assert (refusal.code, found) == (
        "DUPLICATE_INTAKE",
        {
            "duplicate_ticket_id": first["id"],
            "duplicate_ticket_state": "TRIAGED",
            "duplicate_created_at": first["created_at"],
            "duplicate_within_minutes": 120,
        },
    )
    assert ours.trail() == [
        ("ticket.blind_intake", "done", None), ("ticket.blind_intake", "refused", "DUPLICATE_INTAKE"),
    ]  # fmt: skip
    assert ours.rows("SELECT count(*) FROM tickets") == [(1,)]


def test_a_merged_first_ticket_is_found_where_it_is_now(ours: FieldDesk) -> None:
    first, into = UUID(take_in(ours).body["id"]), ours.make()
    ours.change(
        "UPDATE tickets SET status = 'merged', merged_into = :into, closed_at = now() WHERE id = :id",
        id=first, into=into,
    )  # fmt: skip
    assert ours.refused(BLIND_INTAKE, told(ours), by="agent").details["duplicate_ticket_id"] == str(into)


def test_after_its_window_or_its_end_the_same_is_a_new_matter(ours: FieldDesk) -> None:
    first = UUID(take_in(ours).body["id"])
    minutes = "UPDATE intakes SET during = tstzrange(now() - interval '{} min', now() + interval '{} min')"
    ours.change(minutes.format(119, 1))
    assert ours.refused(BLIND_INTAKE, told(ours), by="agent").code == "DUPLICATE_INTAKE"
    ours.change(minutes.format(121, -1))
    second = UUID(take_in(ours).body["id"])
    assert second != first
    with ours.db.begin() as connection:
        field_endings.end(connection, field_rows.read(connection, second), by="test", because="over")
    assert UUID(take_in(ours).body["id"]) != second


def test_who_does_not_reach_the_first_ticket_is_told_of_it_and_not_shown_it(ours: FieldDesk) -> None:
    take_in(ours)
    own = replace(ours.people["agent"], scope=Scope(Reach.OWN))
    assert "ticket" not in ours.refused(BLIND_INTAKE, told(ours), by=own).details


def test_two_organizations_have_the_same_matter_each(ours: FieldDesk, db: Database) -> None:
    theirs = FieldDesk.of(db)
    assert {take_in(ours).status, take_in(theirs).status} == {201}


def test_fifty_equal_intakes_at_once_are_one_ticket(ours: FieldDesk) -> None:
    def ask(_: int) -> str:
        try:
            return str(ours.run(BLIND_INTAKE, told(ours), by="agent").body["id"])
        except Refused as refused:
            return f"{refused.refusal.code} {refused.refusal.details['duplicate_ticket_id']}"

    with ThreadPoolExecutor(10) as pool:
        found = Counter(pool.map(ask, range(50)))
    ((made,),) = ours.rows("SELECT CAST(id AS text) FROM tickets WHERE org_id = :org")
    assert found == {made: 1, f"DUPLICATE_INTAKE {made}": 49}
    assert Counter(ours.trail()) == {
        ("ticket.blind_intake", "done", None): 1, ("ticket.blind_intake", "refused", "DUPLICATE_INTAKE"): 49,
    }  # fmt: skip


def test_an_intake_continues_no_trace_but_begins_one(ours: FieldDesk) -> None:
    made = UUID(take_in(ours).body["id"])
    trace = ours.work(made).trace_id
    assert len(trace) == 32
    assert ours.rows("SELECT trace_id FROM audit_events") == [(trace,)]
    assert ours.rows("SELECT trace_id FROM events WHERE ticket_id = :id", id=made) == [(trace,)]
