"""The ends of field work: what ends with it, what is closed, and the ways back."""

from __future__ import annotations

from uuid import UUID

import pytest

from models.lifecycle import MOVES
from pipeline.commands.endings import CANCEL, CLOSE, REOPEN, Closing, Ending
from pipeline.commands.intake import BLIND_INTAKE
from pipeline.commands.triaging import TRIAGE, Triage
from pipeline.runtime.db import Database
from tests import factories
from tests.commands.field_desk import INCIDENT, FieldDesk, take_in, told
from tests.commands.site_work import on_site, verified

WHY = Ending(reason="the customer mended it")


@pytest.fixture
def ours(db: Database) -> FieldDesk:
    return FieldDesk.of(db)


def order(ours: FieldDesk, made: UUID) -> None:
    """Give a ticket a work order of its own case."""
    with ours.db.begin() as connection:
        found = factories.case(connection, ours.org_id, factories.asset(connection, ours.org_id, f"A-{made}"))
        factories.work_order(connection, ours.org_id, found, made)


def orders(ours: FieldDesk, made: UUID) -> list[str]:
    return [row[0] for row in ours.rows("SELECT state FROM work_orders WHERE ticket_id = :id", id=made)]


def going(ours: FieldDesk, made: UUID) -> dict[str, int]:
    """Return how much still goes on for a ticket."""
    wheres = {
        "approvals": "state = 'PENDING'",
        "visits": "state IN ('booked', 'under_way')",
        "assignments": "ended_at IS NULL",
        "time_entries": "ended_at IS NULL",
        "schedule_holds": "state = 'open'",
        "visit_links": "revoked_at IS NULL",
        "proposed_windows": "true",
        "intakes": "is_open",
    }
    return {
        table: ours.rows(f"SELECT count(*) FROM {table} WHERE ticket_id = :id AND {where}", id=made)[0][0]
        for table, where in wheres.items()
    }


@pytest.mark.parametrize(
    "state",
    [
        *("NEW", "NEEDS_INFO", "TRIAGED", "READY_TO_SCHEDULE", "APPROVAL_REQUIRED", "SCHEDULE_PROPOSED", "SCHEDULED"),
        *("PENDING_CUSTOMER_CONFIRMATION", "DISPATCHED"),
    ],
)
def test_nothing_goes_on_for_a_cancelled_ticket(ours: FieldDesk, state: str) -> None:
    made = ours.at(state)
    order(ours, made)
    ours.change(
        "INSERT INTO visit_links (org_id, ticket_id, token_hash, created_by, expires_at) "
        "VALUES (:org, :id, sha256('x'), 'x', now())",
        id=made,
    )
    body = ours.run(CANCEL, WHY, made).body
    assert (body["state"], body["assigned_tech_id"], body["scheduled_start"]) == ("CANCELLED", None, None)
    assert set(going(ours, made).values()) == {0}
    assert orders(ours, made) == ["cancelled"]
    assert (ours.work(made).queue_due_at, ours.moves(made)[-1]) == (None, (state, "CANCELLED"))
    assert ours.row(made).status == "closed"
    clock = "SELECT state FROM ticket_clocks WHERE ticket_id = :id AND kind = 'resolution'"
    assert ours.rows(clock, id=made) == [("met",)]


def test_who_was_on_site_was_there(ours: FieldDesk) -> None:
    made = on_site(ours)
    order(ours, made)
    ours.run(CANCEL, WHY, made)
    assert ours.rows("SELECT state FROM visits WHERE ticket_id = :id", id=made) == [("done",)]
    assert ours.rows("SELECT count(*) FROM time_entries WHERE ended_at IS NOT NULL AND ticket_id = :id", id=made) == [
        (1,)
    ]
    assert set(going(ours, made).values()) == {0}


def test_a_ticket_with_mail_stays_with_the_desk(ours: FieldDesk) -> None:
    made = ours.make()
    ours.change(
        """
        WITH m AS (
            INSERT INTO messages (org_id, rfc_message_id, fingerprint, signature, subject, subject_norm, received_at,
                                  snippet, raw_sha256, parser_version)
            VALUES (:org, '<1@x>', sha256('1'), sha256('1'), '', '', now(), '', sha256('1'), 1) RETURNING id
        )
        INSERT INTO ticket_messages (message_id, org_id, ticket_id, reason, confidence)
        SELECT id, :org, :id, 'new_ticket', 'high' FROM m
        """,
        id=made,
    )
    ours.run(CANCEL, WHY, made)
    assert ours.row(made).status == "new"


@pytest.mark.parametrize(("before", "after"), [("NEW", "NEW"), ("NEEDS_INFO", "NEW"), ("SCHEDULED", "TRIAGED")])
def test_what_was_cancelled_is_taken_up_where_it_makes_sense(ours: FieldDesk, before: str, after: str) -> None:
    made = ours.at(before)
    order(ours, made)
    ours.run(CANCEL, WHY, made)
    body = ours.run(REOPEN, Ending(reason="it broke again"), made).body
    assert (body["state"], ours.row(made).status, ours.row(made).closed_at) == (after, "open", None)
    assert orders(ours, made) == ["created"]
    assert ours.work(made).queue_due_at is not None
    asked = Triage(priority="ROUTINE", incident_type=INCIDENT, workflow_outcome="READY_TO_SCHEDULE")  # type: ignore[arg-type]
    assert ours.run(TRIAGE, asked, made).body["state"] == "READY_TO_SCHEDULE"


def test_an_order_whose_case_has_another_one_by_now_stays_cancelled(ours: FieldDesk) -> None:
    made = ours.make()
    order(ours, made)
    ours.run(CANCEL, WHY, made)
    ((case_id,),) = ours.rows("SELECT case_id FROM work_orders WHERE ticket_id = :id", id=made)
    with ours.db.begin() as connection:
        factories.work_order(connection, ours.org_id, case_id, ours_ticket := factories.ticket(connection, ours.org_id))
    ours.run(REOPEN, WHY, made)
    assert (orders(ours, made), orders(ours, ours_ticket)) == (["cancelled"], ["created"])


def test_verified_work_is_done_again_by_who_did_it(ours: FieldDesk) -> None:
    made = verified(ours)
    order(ours, made)
    ours.change("UPDATE work_orders SET state = 'done' WHERE ticket_id = :id", id=made)
    ours.change("UPDATE assignments SET ended_at = now(), ended_because = 'x' WHERE ticket_id = :id", id=made)
    body = ours.run(REOPEN, Ending(reason="it sticks again"), made, by="qa").body
    assert (body["state"], body["rework_reason"]) == ("IN_PROGRESS", "it sticks again")
    assert body["assigned_tech_id"] == str(ours.people["tech"].person_id)
    assert ours.rows("SELECT technician_id FROM assignments WHERE ticket_id = :id AND ended_at IS NULL", id=made) == [
        (ours.people["tech"].person_id,)
    ]  # fmt: skip
    assert (orders(ours, made), ours.work(made).queue_due_at is not None) == (["in_progress"], True)


def test_unbilled_work_is_closed_with_a_reason_and_for_good(ours: FieldDesk) -> None:
    made = verified(ours)
    refusal = ours.refused(CLOSE, Closing(), made, by="finance")
    assert (refusal.code, list(refusal.details["fields"])) == ("INVALID_REQUEST", ["reason"])
    body = ours.run(CLOSE, Closing(reason="goodwill"), made, by="approver").body
    assert (body["state"], ours.row(made).status) == ("CLOSED", "closed")
    assert set(going(ours, made).values()) == {0}
    for command, asked in ((REOPEN, WHY), (CANCEL, WHY), (CLOSE, Closing(reason="x"))):
        refusal = ours.refused(command, asked, made)
        assert (refusal.code, refusal.details["from_state"]) == ("INVALID_STATE_TRANSITION", "CLOSED")


def test_billed_work_is_closed_without_one(ours: FieldDesk) -> None:
    made = verified(ours)
    ours.change("UPDATE tickets SET dispatch_state = 'INVOICED' WHERE id = :id", id=made)
    assert ours.run(CLOSE, Closing(), made, by="finance").body["state"] == "CLOSED"


def test_a_cancelled_intake_lets_the_same_in_again_and_claims_it_back_unless_it_is_taken(ours: FieldDesk) -> None:
    first = UUID(take_in(ours).body["id"])
    ours.run(CANCEL, WHY, first)
    ours.run(REOPEN, WHY, first)
    assert ours.refused(BLIND_INTAKE, told(ours), by="agent").details["duplicate_ticket_id"] == str(first)
    ours.run(CANCEL, WHY, first)
    second = UUID(take_in(ours).body["id"])
    assert ours.run(REOPEN, WHY, first).body["state"] == "TRIAGED"
    assert ours.refused(BLIND_INTAKE, told(ours), by="agent").details["duplicate_ticket_id"] == str(second)


@pytest.mark.parametrize("by", ["agent", "customer", "tech", "approver", "finance"])
def test_who_may_not_end_work_does_not(ours: FieldDesk, by: str) -> None:
    made = ours.make()
    assert ours.refused(CANCEL, WHY, made, by=by).code == "FORBIDDEN"
    assert ours.state(made) == "NEW"


def test_everything_before_the_end_can_be_cancelled() -> None:
    ends = {"VERIFIED", "INVOICED", "CLOSED", "CANCELLED"}
    every = {state.value for moves in MOVES.values() for pair in moves for state in pair}
    assert CANCEL.from_states == every - ends
