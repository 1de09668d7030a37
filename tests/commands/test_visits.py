"""The technician on site: states, the labour clock, the visit, and who may."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from pydantic import ValidationError

from models.enums import QaResult
from pipeline.commands import closing, evidence, visits
from pipeline.commands.field_arguments import GivenReason
from pipeline.commands.visits import CheckIn, Nothing
from pipeline.runtime.db import Database
from tests.commands.field_desk import FieldDesk
from tests.commands.site_steps import check, check_in, now
from tests.commands.site_work import completed, dispatched, on_site


@pytest.fixture
def desk(db: Database) -> FieldDesk:
    return FieldDesk.of(db)


def entries(desk: FieldDesk, ticket_id: UUID) -> list[bool]:
    """Return whether each labour entry goes on."""
    return [
        row[0]
        for row in desk.rows("SELECT ended_at IS NULL FROM time_entries WHERE ticket_id = :t ORDER BY id", t=ticket_id)
    ]


def visit(desk: FieldDesk, ticket_id: UUID) -> str:
    return str(
        desk.one("SELECT state FROM visits WHERE ticket_id = :t ORDER BY number DESC LIMIT 1", t=ticket_id).state
    )


def test_checking_in_is_two_moves_and_one_row_of_the_trail_and_begins_the_time(desk: FieldDesk) -> None:
    ticket_id = dispatched(desk)
    before = desk.row(ticket_id).version
    answer = check_in(desk, ticket_id)
    assert (answer.body["state"], answer.body["version"]) == ("IN_PROGRESS", before + 1)
    assert desk.moves(ticket_id)[-2:] == [("DISPATCHED", "ON_SITE"), ("ON_SITE", "IN_PROGRESS")]
    assert desk.trail(ticket_id)[-1] == ("tech.check_in", "done", None)
    assert [name for name, *_ in desk.trail(ticket_id)].count("tech.check_in") == 1
    assert entries(desk, ticket_id) == [True]
    assert visit(desk, ticket_id) == "under_way"
    work = desk.work(ticket_id)
    assert work.arrived_at is not None
    tech = desk.one("SELECT technician_id FROM time_entries WHERE ticket_id = :t", t=ticket_id).technician_id
    assert tech == desk.people["tech"].person_id


def test_only_the_technician_who_was_sent_or_a_dispatcher_checks_in(desk: FieldDesk) -> None:
    ticket_id = dispatched(desk)
    asked = CheckIn(timestamp=now())
    refusal = desk.refused(visits.CHECK_IN, asked, ticket_id, by="other_tech")
    assert (refusal.code, refusal.because) == ("NOT_ASSIGNED", "forbidden")
    assert desk.run(visits.CHECK_IN, asked, ticket_id, by="dispatcher").body["state"] == "IN_PROGRESS"


def test_a_technician_by_another_name_is_one_too(desk: FieldDesk) -> None:
    ticket_id = dispatched(desk)
    other = replace(desk.people["other_tech"], role="subcontractor")
    assert desk.refused(visits.CHECK_IN, CheckIn(timestamp=now()), ticket_id, by=other).code == "NOT_ASSIGNED"
    note = evidence.AddEvidence(kind="NOTE", evidence_key="note", note="nobody sent me")
    assert desk.refused(evidence.ADD, note, ticket_id, by=other).code == "NOT_ASSIGNED"
    sent = replace(desk.people["tech"], role="subcontractor")
    assert desk.run(visits.CHECK_IN, CheckIn(timestamp=now()), ticket_id, by=sent).body["state"] == "IN_PROGRESS"


def test_a_time_to_come_is_refused_and_one_before_the_dispatch_counts_from_it(desk: FieldDesk) -> None:
    ticket_id = dispatched(desk)
    refusal = desk.refused(visits.CHECK_IN, CheckIn(timestamp=now() + timedelta(minutes=6)), ticket_id, by="tech")
    assert (refusal.code, refusal.because) == ("INVALID_REQUEST", "malformed")
    assert "timestamp" in refusal.details["fields"]
    check_in(desk, ticket_id, now() - timedelta(days=200))
    row = desk.one(
        "SELECT a.assigned_at = e.began_at AS is_same, d.arrived_at = e.began_at AS arrived FROM assignments a "
        "JOIN time_entries e USING (ticket_id) JOIN dispatches d USING (ticket_id) WHERE a.ticket_id = :t",
        t=ticket_id,
    )
    assert (row.is_same, row.arrived) == (True, True)


@pytest.mark.parametrize("said", [1_700_000_000, "2026-03-01T12:00:00", "yesterday", None])
def test_a_time_has_words_and_a_zone(said: object) -> None:
    with pytest.raises(ValidationError):
        CheckIn.model_validate({"timestamp": said})


def test_time_stops_while_work_waits_and_runs_when_it_goes_on(desk: FieldDesk) -> None:
    ticket_id = on_site(desk)
    held = desk.run(visits.HOLD, GivenReason(reason="a part is missing"), ticket_id, by="tech")
    assert held.body["state"] == "ON_HOLD"
    assert entries(desk, ticket_id) == [False]
    assert desk.refused(visits.HOLD, GivenReason(reason="again"), ticket_id, by="tech").details == {
        "from_state": "ON_HOLD",
        "to_state": "ON_HOLD",
    }
    assert desk.run(visits.RESUME, Nothing(), ticket_id, by="tech").body["state"] == "IN_PROGRESS"
    assert entries(desk, ticket_id) == [False, True]
    overlaps = desk.one(
        "SELECT count(*) AS n FROM time_entries a JOIN time_entries b ON a.id < b.id AND a.ticket_id = b.ticket_id "
        "AND a.ended_at > b.began_at WHERE a.ticket_id = :t",
        t=ticket_id,
    )
    assert overlaps.n == 0
    assert desk.events(ticket_id)[-2][1]["reason"] == "a part is missing"


@pytest.mark.parametrize("held", [True, False])
def test_a_return_visit_ends_this_one_and_leaves_who_came_to_the_next_choice(desk: FieldDesk, held: bool) -> None:
    ticket_id = on_site(desk)
    if held:
        desk.run(visits.HOLD, GivenReason(reason="a part is missing"), ticket_id, by="tech")
    body = desk.run(visits.RETURN, GivenReason(reason="the part comes on Monday"), ticket_id, by="tech").body
    assert (body["state"], body["scheduled_start"], body["assigned_tech_id"]) == ("READY_TO_SCHEDULE", None, None)
    assert entries(desk, ticket_id) == [False]
    assert visit(desk, ticket_id) == "done"
    row = desk.one("SELECT technician_id, ended_because FROM assignments WHERE ticket_id = :t", t=ticket_id)
    assert row.technician_id == desk.people["tech"].person_id
    assert "Monday" in row.ended_because
    assert body["arrived_at"] is not None


def test_work_that_was_sent_back_runs_again_when_somebody_takes_it_up(desk: FieldDesk) -> None:
    ticket_id = on_site(desk)
    refusal = desk.refused(visits.START_REWORK, Nothing(), ticket_id, by="tech")
    assert refusal.code == "WORK_UNDER_WAY"
    ticket_id = completed(desk)
    desk.run(closing.VERIFY, check(QaResult.FAIL, notes="the strike is loose"), ticket_id, by="qa")
    assert entries(desk, ticket_id) == [False]
    before = desk.row(ticket_id).version
    body = desk.run(visits.START_REWORK, Nothing(), ticket_id, by="tech").body
    assert (body["state"], body["version"], body["rework_reason"]) == ("IN_PROGRESS", before + 1, "the strike is loose")
    assert entries(desk, ticket_id) == [False, True]
