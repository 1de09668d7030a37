"""Scheduling: windows proposed, confirmed, moved and withdrawn, and holds; also when many do it at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError
from sqlalchemy import text

from models.queries import technicians
from pipeline.command import Refused
from pipeline.commands import holds, scheduling
from pipeline.commands.schedule_arguments import Confirmation, Move, NewLink, Proposal, Release, Rollback
from pipeline.core.field_work import Window
from pipeline.runtime import field_rows, technician_rows, visit_rows
from pipeline.runtime.db import Database
from tests.commands import schedules
from tests.commands.field_desk import FieldDesk
from tests.commands.schedules import HOUR, ahead, option
from tests.factories import NOON

_VISITS = """
    SELECT number, technician_id, starts_at, ends_at, state, sequence FROM visits WHERE ticket_id = :id ORDER BY number
"""
_JOBS = "SELECT stage FROM jobs WHERE org_id = :org ORDER BY id"


@pytest.fixture
def desk(db: Database) -> FieldDesk:
    return FieldDesk.of(db)


def visits(desk: FieldDesk, ticket_id: UUID) -> list[Any]:
    return desk.rows(_VISITS, id=ticket_id)


def tech(desk: FieldDesk, name: str = "tech") -> UUID:
    found = desk.people[name].person_id
    assert found is not None
    return found


def test_windows_are_offered_one_is_confirmed_and_a_visit_is_booked(desk: FieldDesk) -> None:
    ticket = desk.at("READY_TO_SCHEDULE")
    first, second = ahead(24), ahead(30, 2 * HOUR)
    answer = schedules.propose(desk, ticket, first, second)
    assert answer.status == 200
    assert answer.body["state"] == "SCHEDULE_PROPOSED"
    assert answer.body["scheduled_start"] == first.starts_at.isoformat().replace("+00:00", "Z")
    assert len(answer.body["proposed_windows"]) == 2
    confirmed = schedules.confirm(desk, ticket, second, by="customer")
    assert confirmed.body["state"] == "SCHEDULED"
    assert (desk.work(ticket).scheduled_start, desk.work(ticket).visit_number) == (second.starts_at, 1)
    assert visits(desk, ticket) == [(1, None, second.starts_at, second.ends_at, "booked", 0)]
    assert desk.moves(ticket)[-2:] == [("READY_TO_SCHEDULE", "SCHEDULE_PROPOSED"), ("SCHEDULE_PROPOSED", "SCHEDULED")]
    assert desk.rows(_JOBS) == [("invite",)]


def test_what_was_not_offered_cannot_be_confirmed_and_the_answer_names_what_was(desk: FieldDesk) -> None:
    ticket = desk.at("SCHEDULE_PROPOSED")
    other = ahead(72)
    refusal = desk.refused(scheduling.CONFIRM, Confirmation(start=other.starts_at, end=other.ends_at), ticket)
    assert refusal.code == "WINDOW_NOT_PROPOSED"
    assert len(refusal.details["windows"]) == 1
    assert visits(desk, ticket) == []


def test_a_window_that_has_begun_cannot_be_confirmed(desk: FieldDesk) -> None:
    ticket = desk.at("SCHEDULE_PROPOSED")
    desk.change("UPDATE proposed_windows SET starts_at = '2026-03-02T12:00Z', ends_at = '2026-03-02T13:00Z'")
    refusal = desk.refused(scheduling.CONFIRM, Confirmation(start=NOON, end=NOON + HOUR), ticket)
    assert refusal.code == "WINDOW_PASSED"


@pytest.mark.parametrize(
    ("windows", "said"),
    [
        ([Window(NOON, NOON + HOUR)], "start in the future"),
        ([ahead(24, timedelta(hours=25))], "longer than 24 hours"),
        ([ahead(24), ahead(24)], "same window"),
        ([ahead(24 * 400)], "more than a year ahead"),
    ],
    ids=["past", "long", "twice", "far"],
)
def test_windows_that_make_no_sense_are_refused(desk: FieldDesk, windows: list[Window], said: str) -> None:
    ticket = desk.at("READY_TO_SCHEDULE")
    refusal = desk.refused(scheduling.PROPOSE, Proposal(options=[option(one) for one in windows]), ticket)
    assert refusal.code == "INVALID_REQUEST"
    assert said in refusal.said
    stranger = Proposal(options=[option(ahead(24), tech(desk, "finance"))])
    assert desk.refused(scheduling.PROPOSE, stranger, ticket).code == "INVALID_REQUEST"


@pytest.mark.parametrize(
    "options",
    [
        [],
        [{"start": "2030-01-01T10:00:00", "end": "2030-01-01T11:00:00"}],
        [{"start": 1893492000, "end": 1893495600}],
        [{"start": "2030-01-01T11:00:00Z", "end": "2030-01-01T11:00:00Z"}],
        [{"start": "2030-01-01T10:00:00Z"}],
        [{"start": "0001-01-01T00:00:00+14:00", "end": "9999-12-31T23:59:59-12:00"}],
        [{"start": "2030-01-01T10:00:00Z", "end": "2030-01-01T11:00:00Z"}] * 11,
    ],
    ids=["none", "no zone", "numbers", "empty", "no end", "the end of time", "eleven"],
)
def test_bodies_of_proposals_are_strict(options: object) -> None:
    with pytest.raises(ValidationError):
        Proposal.model_validate({"options": options})


def test_withdrawing_takes_offers_and_the_visit_back_and_tells_the_customer(desk: FieldDesk) -> None:
    ticket = desk.at("SCHEDULED")
    body = schedules.withdraw(desk, ticket).body
    assert (body["state"], body["scheduled_start"], body["visit_number"]) == ("READY_TO_SCHEDULE", None, 1)
    assert schedules.offered(desk, ticket) == []
    assert [row[4:] for row in visits(desk, ticket)] == [("cancelled", 1)]
    assert desk.rows(_JOBS) == [("invite",), ("invite",)]
    schedules.propose(desk, ticket)
    schedules.confirm(desk, ticket)
    assert [row[0] for row in visits(desk, ticket)] == [1, 2]


def test_a_hold_keeps_state_and_window_and_a_release_brings_them_back(desk: FieldDesk) -> None:
    ticket = desk.at("SCHEDULED")
    window = desk.work(ticket).scheduled_start
    held = schedules.hold(desk, ticket)
    assert (held.status, held.body["state"]) == (201, "PENDING_CUSTOMER_CONFIRMATION")
    hold_id = held.body["hold_id"]
    refusal = desk.refused(holds.RELEASE, Release(customer_confirmation_log=str(uuid4())), ticket)
    assert refusal.code == "HOLD_CONFIRMATION_MISSING"
    released = schedules.release(desk, ticket, hold_id)
    assert (released.body["state"], desk.work(ticket).scheduled_start) == ("SCHEDULED", window)
    assert [row[4:] for row in visits(desk, ticket)] == [("booked", 0)]
    assert desk.rows("SELECT state, ended_because FROM schedule_holds") == [("released", "the customer confirmed")]


@pytest.mark.parametrize("state", ["READY_TO_SCHEDULE", "SCHEDULE_PROPOSED", "SCHEDULED"])
def test_a_hold_that_is_over_cannot_be_released_and_is_always_rolled_back(desk: FieldDesk, state: str) -> None:
    ticket = desk.at(state)
    hold_id = schedules.hold(desk, ticket).body["hold_id"]
    desk.change(
        "UPDATE schedule_holds SET starts_at = now() - interval '2 hours', ends_at = now() - interval '1 second'"
    )
    refusal = desk.refused(holds.RELEASE, Release(customer_confirmation_log=hold_id), ticket)
    assert refusal.code == "CUSTOMER_CONFIRMATION_STALE"
    assert desk.state(ticket) == "PENDING_CUSTOMER_CONFIRMATION"
    other = Rollback(confirmation_id=uuid4(), reason="no")
    assert desk.refused(holds.ROLLBACK, other, ticket).code == "SCHEDULE_HOLD_STATE_CONFLICT"
    assert schedules.roll_back(desk, ticket, hold_id).body["state"] == state
    assert desk.rows("SELECT state FROM schedule_holds") == [("rolled_back",)]


def test_a_window_that_passed_while_it_was_held_is_scheduled_anew(desk: FieldDesk) -> None:
    ticket = desk.at("SCHEDULED")
    schedules.hold(desk, ticket)
    desk.change(
        "UPDATE schedule_holds SET scheduled_start = now() - interval '1 hour', scheduled_end = now() + interval '1 h'"
    )
    body = schedules.roll_back(desk, ticket).body
    assert (body["state"], body["scheduled_start"]) == ("READY_TO_SCHEDULE", None)
    assert [row[4] for row in visits(desk, ticket)] == ["cancelled"]


def test_a_ticket_whose_hold_is_lost_is_rolled_back_too(desk: FieldDesk) -> None:
    ticket = desk.at("PENDING_CUSTOMER_CONFIRMATION")
    desk.change("DELETE FROM schedule_holds")
    refusal = desk.refused(holds.RELEASE, Release(customer_confirmation_log=str(uuid4())), ticket)
    assert refusal.code == "HOLD_SNAPSHOT_MISSING"
    assert schedules.roll_back(desk, ticket).body["state"] == "READY_TO_SCHEDULE"


def test_a_visit_is_moved_to_a_time_at_which_somebody_is_free_and_its_invitation_counts_up(desk: FieldDesk) -> None:
    ticket = desk.at("SCHEDULED")
    body = schedules.move(desk, ticket, ahead(50), by="customer").body
    assert body["state"] == "SCHEDULED"
    ((number, person, starts_at, _, state, sequence),) = visits(desk, ticket)
    assert (number, starts_at, state, sequence) == (1, ahead(50).starts_at, "booked", 1)
    assert person in {tech(desk), tech(desk, "other_tech")}
    schedules.move(desk, ticket, ahead(51), technician_id=tech(desk, "other_tech"))
    assert visits(desk, ticket)[0][1] == tech(desk, "other_tech")


def test_a_move_keeps_its_technician_and_to_where_nobody_is_free_is_refused_with_what_is(desk: FieldDesk) -> None:
    ticket, away = desk.at("SCHEDULED"), ahead(60)
    for name in ("tech", "other_tech"):
        desk.change(
            "INSERT INTO leaves (org_id, person_id, begins_at, ends_at) VALUES (:org, :person, :starts, :ends)",
            person=tech(desk, name), starts=away.starts_at, ends=away.ends_at,
        )  # fmt: skip
    refusal = desk.refused(scheduling.MOVE, Move(start=away.starts_at, end=away.ends_at), ticket)
    assert refusal.code == "SLOT_TAKEN"
    slots = refusal.details["slots"]
    assert slots
    assert slots[0]["start"] == away.ends_at.isoformat().replace("+00:00", "Z")
    long = ahead(60, 3 * HOUR)
    refusal = desk.refused(scheduling.MOVE, Move(start=long.starts_at, end=long.ends_at), ticket)
    assert "the visit takes 60 minutes" in refusal.said


def test_choosing_a_time_ends_a_hold_and_an_old_hold_lets_nobody_choose(desk: FieldDesk) -> None:
    ticket = desk.at("PENDING_CUSTOMER_CONFIRMATION")
    (booked,) = visits(desk, ticket)
    assert schedules.move(desk, ticket, Window(booked[2], booked[3]), by="customer").body["state"] == "SCHEDULED"
    assert visits(desk, ticket) == [booked]
    assert desk.rows("SELECT state FROM schedule_holds") == [("released",)]
    schedules.hold(desk, ticket)
    desk.change(
        "UPDATE schedule_holds SET starts_at = now() - interval '2 hours', ends_at = now() - interval '1 second'"
        " WHERE state = 'open'"
    )
    later = ahead(70)
    refusal = desk.refused(scheduling.MOVE, Move(start=later.starts_at, end=later.ends_at), ticket)
    assert refusal.code == "CUSTOMER_CONFIRMATION_STALE"


def test_a_new_link_takes_the_place_of_the_one_before(desk: FieldDesk) -> None:
    ticket = desk.at("SCHEDULE_PROPOSED")
    for byte in (b"a", b"b"):
        answer = desk.run(scheduling.LINK, NewLink(link_id=uuid4(), token_hash=byte * 32), ticket, by="agent")
    assert answer.status == 201
    assert "token" not in str(answer.body)
    found = desk.rows("SELECT token_hash, revoked_at IS NULL, expires_at FROM visit_links ORDER BY created_at")
    assert [(bytes(row[0])[:1], row[1]) for row in found] == [(b"a", False), (b"b", True)]
    assert found[1][2] == schedules.offered(desk, ticket)[0].ends_at


def test_of_many_who_take_the_same_hour_of_one_technician_one_gets_it_and_the_others_what_is_free(
    desk: FieldDesk,
) -> None:
    """The exclusion constraint decides; whoever loses hears of the next free windows, and nobody waits for ever."""
    tickets, window = [desk.at("READY_TO_SCHEDULE") for _ in range(4)], ahead(48)
    for ticket in tickets:
        schedules.propose(desk, ticket, window, technician_id=tech(desk))
    start = Barrier(len(tickets))

    def take(ticket: UUID) -> tuple[str, bool]:
        start.wait()
        try:
            return str(schedules.confirm(desk, ticket, window).body["state"]), False
        except Refused as refused:
            return refused.refusal.code, bool(refused.refusal.details["slots"])

    with ThreadPoolExecutor(len(tickets)) as pool:
        said = sorted(pool.map(take, tickets))
    assert said == [("SCHEDULED", False), *[("SLOT_TAKEN", True)] * 3]
    assert desk.rows("SELECT count(*) FROM visits WHERE org_id = :org") == [(1,)]


def test_of_many_who_move_to_the_same_free_hour_as_many_get_it_as_technicians_are_free(desk: FieldDesk) -> None:
    tickets, window = [desk.at("SCHEDULED") for _ in range(4)], ahead(80)
    start = Barrier(len(tickets))

    def take(ticket: UUID) -> str:
        start.wait()
        try:
            schedules.move(desk, ticket, window)
        except Refused as refused:
            return refused.refusal.code
        return "moved"

    with ThreadPoolExecutor(len(tickets)) as pool:
        said = list(pool.map(take, tickets))
    booked = desk.rows(
        "SELECT technician_id FROM visits WHERE starts_at = :at AND state = 'booked'", at=window.starts_at
    )
    assert sorted(set(said)) == ["SLOT_TAKEN", "moved"]
    assert said.count("moved") == len(booked) == len(set(booked)) == 2


def test_who_is_proposed_and_who_is_found_free_are_technicians_by_the_same_rule(desk: FieldDesk) -> None:
    people = [one.person_id for one in desk.people.values() if one.person_id]
    around = ahead(24)

    def both() -> set[UUID]:
        with desk.db.begin() as connection:
            named = technicians.technicians_among(connection, desk.org_id, [*people, uuid4()])
            assert named == {one.person_id for one in technician_rows.technicians(connection, desk.org_id, around)}
            assert named == {one.person_id for one in technicians.technicians(connection, desk.org_id)}
            return named

    assert both() == {tech(desk), tech(desk, "other_tech")}
    ticket = desk.at("READY_TO_SCHEDULE")
    asked = Proposal(options=[option(around, technician_id=tech(desk, "dispatcher"))])
    assert desk.refused(scheduling.PROPOSE, asked, ticket).code == "INVALID_REQUEST"
    # A row says that who stands in for others is sent, too.
    for name in ("dispatcher", "qa"):
        desk.change("INSERT INTO technicians (org_id, person_id) VALUES (:org, :person)", person=tech(desk, name))
    desk.change("UPDATE memberships SET is_active = false WHERE person_id = :person", person=tech(desk, "other_tech"))
    assert both() == {tech(desk), tech(desk, "dispatcher")}
    assert desk.run(scheduling.PROPOSE, asked, ticket).status == 200


def test_what_was_offered_before_somebody_chose_is_kept_for_nobody(desk: FieldDesk) -> None:
    ticket = desk.at("READY_TO_SCHEDULE")
    chosen, other = ahead(24), ahead(30)
    schedules.propose(desk, ticket, chosen, other)
    schedules.confirm(desk, ticket, chosen)
    schedules.hold(desk, ticket)
    desk.change(
        "INSERT INTO technicians (org_id, person_id, is_available)"
        " SELECT org_id, person_id, false FROM memberships WHERE org_id = :org"
    )
    refusal = desk.refused(scheduling.MOVE, Move(start=other.starts_at, end=other.ends_at), ticket, by="customer")
    assert refusal.code == "SLOT_TAKEN"
    assert schedules.move(desk, ticket, chosen, by="customer").body["state"] == "SCHEDULED"


def test_who_came_too_late_lets_go_of_the_calendar(desk: FieldDesk) -> None:
    taken, late = desk.at("READY_TO_SCHEDULE"), desk.at("READY_TO_SCHEDULE")
    held = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
    with desk.db.begin() as connection:
        visit_rows.book(connection, field_rows.read(connection, taken), ahead(), tech(desk))
    with desk.db.begin() as connection:
        with pytest.raises(visit_rows.Taken):
            visit_rows.book(connection, field_rows.read(connection, late), ahead(), tech(desk))
        assert connection.execute(held).scalar_one() == 0
