"""Lapse: holds whose time is over end by themselves, with all that a command would have written."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest

from pipeline.command import Refused
from pipeline.runtime.db import Database
from pipeline.stage import Again
from pipeline.stages import lapse
from tests.commands import schedules
from tests.commands.field_desk import FieldDesk
from tests.stages.world import World

_OVER = """
    UPDATE schedule_holds SET starts_at = now() - interval '2 hours', ends_at = now() - interval '1 second'
     WHERE state = 'open'
"""
_LAST = """
    SELECT action, outcome, actor_kind, actor_id, target_id, trace_id FROM audit_events
     WHERE action = 'stage.lapse' AND org_id = :org ORDER BY number
"""
_MOVES = """
    SELECT from_state, to_state FROM transitions WHERE command = 'stage.lapse' AND org_id = :org
"""


@pytest.fixture
def desk(db: Database) -> FieldDesk:
    return FieldDesk.of(db)


def held(desk: FieldDesk, *states: str) -> list[tuple[UUID, str]]:
    """Return tickets that are held in these states, with their holds."""
    tickets = [desk.at(state) for state in states]
    return [(ticket, schedules.hold(desk, ticket).body["hold_id"]) for ticket in tickets]


def version(desk: FieldDesk, ticket: UUID) -> int:
    return int(desk.row(ticket).version)


def test_a_hold_waits_in_the_ledger_until_its_time_is_over(desk: FieldDesk) -> None:
    ((_, hold_id),) = held(desk, "READY_TO_SCHEDULE")
    (job,) = desk.rows("SELECT stage, key, state, run_at > now() + interval '22 hours' FROM jobs WHERE org_id = :org")
    assert job == ("lapse", hold_id, "waiting", True)


def test_unconfirmed_tickets_are_scheduled_anew_their_visits_called_off_and_everything_recorded(
    world: World, desk: FieldDesk
) -> None:
    found = held(desk, "READY_TO_SCHEDULE", "SCHEDULE_PROPOSED", "SCHEDULED")
    before = [version(desk, ticket) for ticket, _ in found]
    desk.change(_OVER)
    desk.change("UPDATE dispatches SET trace_id = 'one-trace'")
    ran = world.run(lapse.STAGE, *(hold_id for _, hold_id in found))
    assert [desk.state(ticket) for ticket, _ in found] == ["READY_TO_SCHEDULE"] * 3
    assert [version(desk, ticket) for ticket, _ in found] == [one + 1 for one in before]
    assert {desk.work(ticket).scheduled_start for ticket, _ in found} == {None}
    assert desk.rows("SELECT count(*) FROM proposed_windows") == [(0,)]
    assert desk.rows("SELECT state, sequence FROM visits") == [("cancelled", 1)]
    assert desk.rows("SELECT DISTINCT state, ended_because FROM schedule_holds") == [
        ("lapsed", "nobody confirmed in time")
    ]
    audited: list[Any] = desk.rows(_LAST)
    assert {row[:4] for row in audited} == {("stage.lapse", "done", "SYSTEM", "system")}
    assert {row[4] for row in audited} == {str(ticket) for ticket, _ in found}
    assert desk.rows(_MOVES) == [("PENDING_CUSTOMER_CONFIRMATION", "READY_TO_SCHEDULE")] * 3
    for ticket, hold_id in found:
        kind, data = desk.events(ticket)[-1]
        assert (kind, data["hold_id"], data["to"]) == ("stage.lapse", hold_id, "READY_TO_SCHEDULE")
    assert [stage for stage, _ in ran.next] == ["invite"]
    assert {ran.emits[0].trace_id, *(row[5] for row in audited)} == {"one-trace"}


def test_a_lapse_that_is_done_again_or_after_a_release_changes_nothing(world: World, desk: FieldDesk) -> None:
    (one, other) = held(desk, "SCHEDULED", "READY_TO_SCHEDULE")
    schedules.release(desk, *one)
    desk.change(_OVER)
    world.run(lapse.STAGE, one[1], other[1])
    versions = [version(desk, ticket) for ticket, _ in (one, other)]
    assert world.run(lapse.STAGE, one[1], other[1]).next == []
    assert [version(desk, ticket) for ticket, _ in (one, other)] == versions
    assert desk.state(one[0]) == "SCHEDULED"
    assert len(desk.rows(_LAST)) == 1


def test_a_hold_that_is_looked_at_too_early_comes_again_when_it_is_over(world: World, desk: FieldDesk) -> None:
    ((ticket, hold_id),) = held(desk, "READY_TO_SCHEDULE")
    ran = world.run(lapse.STAGE, hold_id)
    again = ran.unsaved[hold_id]
    assert ran.emits == []
    assert isinstance(again, Again)
    assert 22 < again.delay.total_seconds() / 3600 < 24
    assert desk.state(ticket) == "PENDING_CUSTOMER_CONFIRMATION"


def test_a_lapse_and_a_rollback_at_once_have_one_effect(world: World, desk: FieldDesk) -> None:
    found = held(desk, *["READY_TO_SCHEDULE"] * 4)
    desk.change(_OVER)
    start = Barrier(2)

    def give_up() -> list[str]:
        start.wait()
        return [_rolled_back(desk, ticket) for ticket, _ in found]

    def lapse_all() -> None:
        start.wait()
        world.run(lapse.STAGE, *(hold_id for _, hold_id in found))

    with ThreadPoolExecutor(2) as pool:
        said, done = pool.submit(give_up), pool.submit(lapse_all)
        done.result()
        rolled_back = said.result().count("READY_TO_SCHEDULE")
    assert rolled_back + len(desk.rows(_LAST)) == 4
    assert {desk.state(ticket) for ticket, _ in found} == {"READY_TO_SCHEDULE"}
    moves = [desk.moves(ticket)[-1] for ticket, _ in found]
    assert moves == [("PENDING_CUSTOMER_CONFIRMATION", "READY_TO_SCHEDULE")] * 4


def _rolled_back(desk: FieldDesk, ticket: UUID) -> str:
    try:
        return str(schedules.roll_back(desk, ticket).body["state"])
    except Refused as refused:
        return refused.refusal.code
