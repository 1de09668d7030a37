"""The work on repairs: one at a time, begun, paused, gone on with, stopped and handed over, by whom it was given to."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models.enums import InventoryState, WorkOrderState
from pipeline.command import Command
from pipeline.commands.work_sessions import PAUSE, RESUME, START, STOP, TO_WAITING_QC
from pipeline.commands.workshop_arguments import Nothing
from pipeline.executor import Answer
from pipeline.runtime import session_rows
from pipeline.runtime.db import Database
from tests.commands.racing import race
from tests.commands.session_times import actions, events, let_it_be, now, pauses, put_back, rows, rule, zone_where_it_is
from tests.commands.workshop_desk import WorkshopDesk

_S = WorkOrderState
_MINUTE = timedelta(minutes=1)
_NOON = 12


@pytest.fixture
def desk(db: Database) -> WorkshopDesk:
    """Return a workshop where it is noon, and its rules are the built-in ones but for that."""
    desk = WorkshopDesk.of(db)
    rule(desk, 30, zone_where_it_is(desk, _NOON))
    return desk


def begun(desk: WorkshopDesk, to: str = "tech") -> UUID:
    """Return a repair whose work has begun."""
    order_id = desk.repair(_S.ASSIGNED, to).order_id
    desk.start(order_id, to)
    return order_id


def code(desk: WorkshopDesk, command: Command[Any, Any], order_id: UUID, by: str = "tech") -> str:
    """Return why a command is refused."""
    before = desk.read(order_id), rows(desk, order_id), desk.steps(order_id)
    found = desk.refused(command, Nothing(), order_id, by=by).code
    assert (desk.read(order_id).version, rows(desk, order_id), desk.steps(order_id)) == (before[0].version, *before[1:])
    return found


def session(desk: WorkshopDesk, order_id: UUID) -> tuple[str, bool]:
    """Return the state of an order's latest session, and whether it ended."""
    state, ended_at = desk.rows(
        "SELECT state, ended_at FROM work_sessions WHERE order_id = :order ORDER BY id DESC LIMIT 1", order=order_id
    )[0]
    return state, ended_at is not None


def test_a_start_leads_into_progress_takes_the_thing_into_service_and_lets_a_session_run(desk: WorkshopDesk) -> None:
    order = desk.repair(_S.ASSIGNED, "tech")
    answer = desk.start(order.order_id)
    after = desk.read(order.order_id)
    assert (after.state, after.version, answer.version) == (_S.IN_PROGRESS, order.version + 1, order.version + 1)
    assert desk.item_state(order.item_id) == InventoryState.IN_SERVICE
    (event,) = events(desk, order.order_id)
    assert (event.action.value, event.at) == ("started", after.started_at)
    said = answer.body["data"]
    assert (said["status"], said["work_session"]["status"]) == ("in_progress", "running")
    assert desk.steps(order.order_id) == [("workshop.start", "assigned", "in_progress")]
    assert session(desk, order.order_id) == ("running", False)


@pytest.mark.parametrize("by", ["other_tech", "admin"])
def test_only_the_technician_it_was_given_to_may_work_on_it_whatever_their_role(desk: WorkshopDesk, by: str) -> None:
    order_id = desk.repair(_S.ASSIGNED, "tech").order_id
    assert code(desk, START, order_id, by) == "NOT_ASSIGNED"
    desk.start(order_id)
    for command in (PAUSE, RESUME, STOP):
        assert code(desk, command, order_id, by) == "NO_OPEN_SESSION"
    assert code(desk, TO_WAITING_QC, order_id, by) == "NOT_ASSIGNED"
    assert code(desk, PAUSE, order_id, "inspector") == "FORBIDDEN"


def test_a_technician_works_at_one_ticket_at_a_time_until_it_is_handed_over(desk: WorkshopDesk) -> None:
    one, other = begun(desk), desk.repair(_S.ASSIGNED, "tech").order_id
    assert code(desk, START, one) == "SESSION_OPEN"
    refusal = desk.refused(START, Nothing(), other)
    # Which one it is that they are busy with.
    assert (refusal.code, desk.read(one).code in refusal.said) == ("TECHNICIAN_BUSY", True)
    desk.stop(one)
    assert code(desk, START, other) == "TECHNICIAN_BUSY"
    desk.run(TO_WAITING_QC, Nothing(), one)
    desk.start(other)
    assert (desk.read(one).state, desk.read(other).state) == (_S.WAITING_QC, _S.IN_PROGRESS)


def test_work_that_was_stopped_goes_on_in_another_session_and_began_when_it_first_did(desk: WorkshopDesk) -> None:
    order_id = begun(desk)
    first = desk.read(order_id).started_at
    desk.stop(order_id)
    for command in (PAUSE, RESUME, STOP):
        assert code(desk, command, order_id) == "NO_OPEN_SESSION"
    desk.start(order_id)
    assert desk.read(order_id).started_at == first
    assert actions(desk, order_id) == ["started", "stopped", "started"]
    assert desk.steps(order_id)[-1] == ("workshop.start", "in_progress", "in_progress")


def test_work_goes_to_quality_control_only_after_its_session_was_stopped(desk: WorkshopDesk) -> None:
    order_id = begun(desk)
    assert code(desk, TO_WAITING_QC, order_id) == "SESSION_NOT_STOPPED"
    desk.pause(order_id)
    assert code(desk, TO_WAITING_QC, order_id) == "SESSION_NOT_STOPPED"
    desk.stop(order_id)
    assert desk.run(TO_WAITING_QC, Nothing(), order_id).body["data"]["status"] == "waiting_qc"
    for command in (START, TO_WAITING_QC, PAUSE, RESUME, STOP):
        assert code(desk, command, order_id) == "INVALID_STATE_TRANSITION"


def test_rework_is_begun_in_a_session_of_its_own(desk: WorkshopDesk) -> None:
    order_id = desk.repair(_S.REWORK, "tech").order_id
    desk.start(order_id)
    assert desk.steps(order_id) == [("workshop.start", "rework", "in_progress")]


def test_active_seconds_follow_from_the_events_and_pauses_do_not_count(desk: WorkshopDesk) -> None:
    order_id = begun(desk)
    for step, minutes in ((desk.pause, 10), (desk.resume, 7), (desk.pause, 5), (desk.stop, 3), (desk.start, 60)):
        put_back(desk, minutes * _MINUTE)
        step(order_id)
    put_back(desk, 2 * _MINUTE)
    said = desk.stop(order_id).body["data"]
    with desk.db.begin() as connection:
        assert session_rows.active_seconds(connection, order_id) // 60 == 17
    assert (said["status"], said["active_seconds"] // 60, said["pause_seconds_left"] // 60) == ("stopped", 2, 19)
    lengths = [one.ended_at - one.began_at for one in pauses(events(desk, order_id)) if one.ended_at]
    assert [length // _MINUTE for length in lengths] == [7, 3]


def test_a_pause_answers_when_it_will_be_over_and_a_job_waits_for_that(desk: WorkshopDesk) -> None:
    order_id = begun(desk)
    said = desk.pause(order_id).body["data"]
    (_, paused) = events(desk, order_id)
    end = paused.at + 30 * _MINUTE
    assert (said["status"], said["auto_resume_at"]) == ("paused", end.isoformat().replace("+00:00", "Z"))
    ((key, state, run_at),) = desk.rows("SELECT key, state, run_at FROM jobs WHERE stage = 'resume' AND org_id = :org")
    assert (key, state, run_at) == (said["id"], "waiting", end)
    assert code(desk, PAUSE, order_id) == "SESSION_PAUSED"
    desk.resume(order_id)
    assert code(desk, RESUME, order_id) == "SESSION_RUNNING"


def test_a_pause_is_refused_when_the_day_has_none_left_and_its_words_say_until_when(desk: WorkshopDesk) -> None:
    one = begun(desk)
    desk.pause(one)
    put_back(desk, 29 * _MINUTE)
    desk.resume(one)
    desk.stop(one)
    desk.run(TO_WAITING_QC, Nothing(), one)
    other = begun(desk)
    desk.pause(other)
    put_back(desk, 1 * _MINUTE)
    refusal = desk.refused(PAUSE, Nothing(), other)
    assert refusal.code == "PAUSE_LIMIT_REACHED"
    assert "today's pauses of 30 minutes are used up; the next day begins at" in refusal.said
    rule(desk, 0, "UTC")
    desk.stop(other)
    desk.start(other)
    assert code(desk, PAUSE, other) == "PAUSE_LIMIT_REACHED"


@pytest.mark.parametrize(
    ("command", "after", "refusal"),
    [(STOP, ["resumed", "stopped"], None), (RESUME, [], "SESSION_RUNNING"), (PAUSE, [], "PAUSE_LIMIT_REACHED")],
)
def test_a_command_first_ends_a_pause_that_was_over_at_the_moment_when_it_was(
    desk: WorkshopDesk, command: Command[Any, Any], after: list[str], refusal: str | None
) -> None:
    order_id = begun(desk)
    desk.pause(order_id)
    put_back(desk, 50 * _MINUTE)
    if refusal is not None:
        assert code(desk, command, order_id) == refusal
        return
    answer = desk.run(command, Nothing(), order_id)
    (_, paused, *found) = rows(desk, order_id)
    assert [one[0] for one in found] == after
    data = {"auto_resumed": True, "reason": "daily_pause_limit_reached"}
    assert found[0][1:] == (paused[1] + 30 * _MINUTE, "system", data)
    assert answer.body["data"]["active_seconds"] // 60 == 20


def test_the_budget_is_new_after_midnight_for_what_was_over_yesterday(desk: WorkshopDesk) -> None:
    """Half an hour was used up before midnight; an hour and more after it there is another half."""
    rule(desk, 30, zone_where_it_is(desk, 1))
    order_id = begun(desk)
    desk.pause(order_id)
    midnight = now(desk).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    let_it_be(desk, order_id, midnight - 40 * _MINUTE)
    desk.pause(order_id)
    assert actions(desk, order_id) == ["started", "paused", "resumed", "paused"]
    assert events(desk, order_id)[2].at == midnight - 10 * _MINUTE


def test_a_pause_over_midnight_ends_when_the_new_day_s_budget_does(desk: WorkshopDesk) -> None:
    """The vector of seed-behaviours, 3.7."""
    rule(desk, 1, zone_where_it_is(desk, 1))
    order_id = begun(desk)
    desk.pause(order_id)
    midnight = now(desk).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    let_it_be(desk, order_id, midnight - _MINUTE)
    desk.stop(order_id)
    assert events(desk, order_id)[2].at == midnight + _MINUTE


def test_rules_that_came_while_it_was_paused_count_from_then_on(desk: WorkshopDesk) -> None:
    order_id = begun(desk)
    desk.pause(order_id)
    put_back(desk, 20 * _MINUTE)
    terms = rule(desk, 10, zone_where_it_is(desk, _NOON), ago=5 * _MINUTE)
    desk.stop(order_id)
    resumed = events(desk, order_id)[2].at
    assert abs(resumed - terms.since) < timedelta(seconds=10)
    ((at,),) = desk.rows("SELECT max(created_at) FROM rules_versions WHERE org_id = :org")
    assert resumed == at


def test_who_cancels_a_ticket_stops_its_session_and_the_technician_is_free(desk: WorkshopDesk) -> None:
    order_id = begun(desk)
    desk.pause(order_id)
    desk.cancel(order_id)
    assert actions(desk, order_id) == ["started", "paused", "stopped"]
    assert session(desk, order_id) == ("stopped", True)
    order_id = begun(desk)
    desk.pause(order_id)
    put_back(desk, 50 * _MINUTE)
    desk.cancel(order_id)
    (_, paused, resumed, stopped) = rows(desk, order_id)
    assert (resumed[0], resumed[2], stopped[0]) == ("resumed", "system", "stopped")
    assert timedelta(0) <= paused[1] + 30 * _MINUTE - resumed[1] < _MINUTE  # the first pause took its part


def test_where_a_clock_went_back_no_event_is_before_another_and_no_time_is_made_up(desk: WorkshopDesk) -> None:
    order_id = begun(desk)
    put_back(desk, -10 * _MINUTE)
    desk.pause(order_id)
    (started, paused) = events(desk, order_id)
    assert paused.at == started.at
    assert desk.rows("SELECT run_at FROM jobs WHERE stage = 'resume'") == [(paused.at + 30 * _MINUTE,)]
    desk.resume(order_id)
    assert desk.stop(order_id).body["data"]["active_seconds"] == 0
    desk.start(order_id)
    assert {event.at for event in events(desk, order_id)} == {started.at}
    with desk.db.begin() as connection:
        assert session_rows.active_seconds(connection, order_id) == 0


def test_events_are_append_only(desk: WorkshopDesk) -> None:
    begun(desk)
    for statement in ("UPDATE work_session_events SET event_at = now()", "DELETE FROM work_session_events"):
        with pytest.raises(DBAPIError), desk.db.begin() as connection:
            connection.execute(text(statement))


def test_a_start_sent_twice_has_one_session(desk: WorkshopDesk) -> None:
    order_id = desk.repair(_S.ASSIGNED, "tech").order_id
    ask = desk.ask(Nothing(), target=str(order_id))
    found = race(desk.db, [(START, ask), (START, ask)])
    assert all(isinstance(one, Answer) for one in found)
    assert actions(desk, order_id) == ["started"]


def test_of_starts_at_the_same_moment_one_wins_and_the_others_are_told_why(desk: WorkshopDesk) -> None:
    for _ in range(2):
        orders = [desk.repair(_S.ASSIGNED, "tech").order_id for _ in range(3)]
        wishes = [(START, desk.ask(Nothing(), target=str(one))) for one in (*orders, orders[0])]
        found = race(desk.db, wishes)
        won = [one for one in found if isinstance(one, Answer)]
        assert len(won) == 1
        assert {one.code for one in found if not isinstance(one, Answer)} <= {"TECHNICIAN_BUSY", "SESSION_OPEN"}
        (order_id,) = [one for one in orders if desk.read(one).state is _S.IN_PROGRESS]
        desk.hand_over(order_id)


def test_pauses_and_stops_at_the_same_moment_are_done_once_and_in_a_legal_order(desk: WorkshopDesk) -> None:
    for _ in range(2):
        order_id = begun(desk)
        wishes = [(command, desk.ask(Nothing(), target=str(order_id))) for command in (PAUSE, STOP, PAUSE, RESUME)]
        race(desk.db, wishes)
        listed = events(desk, order_id)
        assert [event.at for event in listed] == sorted(event.at for event in listed)
        assert actions(desk, order_id) in (
            ["started", "stopped"],
            ["started", "paused", "stopped"],
            ["started", "paused", "resumed", "stopped"],
            ["started", "paused", "resumed", "paused", "stopped"],
        )
        desk.run(TO_WAITING_QC, Nothing(), order_id)
