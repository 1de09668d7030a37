"""Resume: pauses end when the day's budget does, exactly, once, however late a worker comes and whoever else acts."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest

from models.enums import WorkOrderState, WorkSessionState
from pipeline.command import Command, Refused
from pipeline.commands.work_sessions import PAUSE, RESUME, START, STOP, TO_WAITING_QC
from pipeline.commands.workshop_arguments import Nothing
from pipeline.core.pause_budget import Terms, ends_at
from pipeline.core.work_sessions import SessionEvent, after
from pipeline.runtime import ledger, session_rows
from pipeline.runtime.db import Database
from pipeline.stage import Again
from pipeline.stages import resume
from tests.commands.session_times import actions, events, now, pauses, put_back, rows, rule, zone_where_it_is
from tests.commands.workshop_desk import WorkshopDesk
from tests.stages.world import World
from tests.worker_process import until

_S = WorkOrderState
_MINUTE = timedelta(minutes=1)
#: What people do next; None: the worker looks.
_LIKELY: dict[str, list[Command[Any, Any] | None]] = {
    "started": [PAUSE, PAUSE, STOP],
    "resumed": [PAUSE, PAUSE, STOP],
    "paused": [RESUME, STOP, None],
    "stopped": [START],
}
_BY_ITSELF = {"auto_resumed": True, "reason": "daily_pause_limit_reached"}


@pytest.fixture
def desk(db: Database) -> WorkshopDesk:
    """Return a workshop where it is noon."""
    desk = WorkshopDesk.of(db)
    rule(desk, 30, zone_where_it_is(desk, 12))
    return desk


def paused(desk: WorkshopDesk, to: str = "tech") -> tuple[UUID, str]:
    """Return a repair whose work is paused, and the id of its session."""
    order_id = desk.repair(_S.ASSIGNED, to).order_id
    desk.start(order_id, to)
    return order_id, str(desk.pause(order_id, to).body["data"]["id"])


def test_a_pause_is_over_when_its_budget_ran_out_however_late_and_everything_is_recorded(
    world: World, desk: WorkshopDesk
) -> None:
    found = [paused(desk, who) for who in ("tech", "other_tech")]
    version = desk.read(found[0][0]).version
    put_back(desk, 3 * 60 * _MINUTE)
    ran = world.run(resume.STAGE, *(session_id for _, session_id in found))
    assert (ran.next, ran.unsaved) == ([], {})
    for order_id, session_id in found:
        (_, pause, over) = rows(desk, order_id)
        assert over == ("resumed", pause[1] + 30 * _MINUTE, "system", _BY_ITSELF)
        assert desk.steps(order_id)[-1] == ("stage.resume", "in_progress", "in_progress")
        assert desk.trail(order_id)[-1] == ("stage.resume", "done", None)
        assert desk.rows("SELECT state FROM work_sessions WHERE id = :id", id=session_id) == [("running",)]
    # Who saw it paused may stop it: nothing that a person did has changed.
    assert desk.read(found[0][0]).version == version


def test_done_again_or_after_a_person_went_on_it_changes_nothing(world: World, desk: WorkshopDesk) -> None:
    (one, its_session), (other, other_session) = paused(desk), paused(desk, "other_tech")
    put_back(desk, 60 * _MINUTE)
    desk.stop(other, "other_tech")
    world.run(resume.STAGE, its_session, other_session)
    before = rows(desk, one), rows(desk, other)
    assert world.run(resume.STAGE, its_session, other_session).loaded == 0
    assert (rows(desk, one), rows(desk, other)) == before
    assert actions(desk, one) == ["started", "paused", "resumed"]
    assert actions(desk, other) == ["started", "paused", "resumed", "stopped"]


def test_a_pause_that_is_looked_at_too_early_waits_for_its_end(world: World, desk: WorkshopDesk) -> None:
    order_id, session_id = paused(desk)
    put_back(desk, 10 * _MINUTE)
    waits = world.run(resume.STAGE, session_id).unsaved[session_id]
    assert isinstance(waits, Again)
    assert timedelta(0) <= 20 * _MINUTE - waits.delay < timedelta(seconds=10)
    assert actions(desk, order_id) == ["started", "paused"]


def test_where_a_day_is_all_budget_nobody_waits(desk: WorkshopDesk, world: World) -> None:
    rule(desk, 1440, "UTC")
    order_id, session_id = paused(desk)
    assert desk.rows("SELECT count(*) FROM jobs WHERE stage = 'resume'") == [(0,)]
    put_back(desk, 50 * 60 * _MINUTE)
    assert world.run(resume.STAGE, session_id).loaded == 0
    assert actions(desk, order_id) == ["started", "paused"]


def test_a_change_of_the_rules_has_open_sessions_looked_at_now(world: World, desk: WorkshopDesk) -> None:
    order_id, session_id = paused(desk)
    put_back(desk, 20 * _MINUTE)
    rule(desk, 10, zone_where_it_is(desk, 12), ago=timedelta(0))
    with desk.db.begin() as connection:
        emits = session_rows.retime(connection, desk.org_id)
        ledger.put(connection, emits)
    assert [(one.stage, one.key) for one in emits] == [("resume", session_id)]
    assert desk.rows("SELECT state, run_at <= now() FROM jobs WHERE stage = 'resume'") == [("ready", True)]
    world.run(resume.STAGE, session_id)
    ((at,),) = desk.rows("SELECT max(created_at) FROM rules_versions WHERE org_id = :org")
    assert events(desk, order_id)[-1].at == at


def test_who_pauses_while_the_rules_change_is_timed_by_the_new_ones(desk: WorkshopDesk) -> None:
    order_id = desk.repair(_S.ASSIGNED, "tech").order_id
    desk.start(order_id)
    with ThreadPoolExecutor(1) as pool:
        with desk.db.begin() as connection:
            session_rows.retime(connection, desk.org_id)
            waits = pool.submit(desk.pause, order_id)
            _until_somebody_waits(desk)
            assert actions(desk, order_id) == ["started"]
            rule(desk, 10, zone_where_it_is(desk, 12), ago=timedelta(0))
        waits.result()
    (_, pause) = events(desk, order_id)
    ((run_at,),) = desk.rows("SELECT run_at FROM jobs WHERE stage = 'resume'")
    assert run_at == pause.at + 10 * _MINUTE


def _until_somebody_waits(desk: WorkshopDesk) -> None:
    statement = """
        SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
         WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted
    """
    until(lambda: desk.rows(statement) != [(0,)], "somebody who waits for the change", seconds=20)


def test_a_worker_and_a_person_at_once_end_a_pause_once(world: World, desk: WorkshopDesk) -> None:
    for command in (STOP, RESUME, STOP, PAUSE):
        order_id, session_id = paused(desk)
        put_back(desk, 24 * 60 * _MINUTE)
        start = Barrier(3)

        def work(session_id: str = session_id, start: Barrier = start) -> None:
            start.wait()
            world.run(resume.STAGE, session_id)

        def ask(order_id: UUID = order_id, start: Barrier = start, command: Command[Any, Any] = command) -> None:
            start.wait()
            try:
                desk.run(command, Nothing(), order_id)
            except Refused:
                return

        with ThreadPoolExecutor(3) as pool:
            for one in [pool.submit(work), pool.submit(work), pool.submit(ask)]:
                one.result()
        listed = events(desk, order_id)
        assert [event.at for event in listed] == sorted(event.at for event in listed)
        last = {"workshop.stop": ["stopped"], "workshop.resume": [], "workshop.pause": ["paused"]}[command.name]
        assert actions(desk, order_id) == ["started", "paused", "resumed", *last]
        assert listed[2].at == listed[1].at + 30 * _MINUTE
        if command is not STOP:
            desk.stop(order_id)
        desk.run(TO_WAITING_QC, Nothing(), order_id)


def test_a_random_week_of_a_technician_is_legal_and_every_pause_ends_when_it_must(
    world: World, desk: WorkshopDesk
) -> None:
    """Commands and looks of the worker in any order while time passes; the rows alone tell what should have been."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    terms = rule(desk, 30, zone_where_it_is(desk, chance.randrange(24)))
    order_id = desk.repair(_S.ASSIGNED, "tech").order_id
    over = 0
    for _ in range(40):
        put_back(desk, timedelta(seconds=chance.choice([1, 60, 600, 1_500, 4_000, 30_000])))
        before = events(desk, order_id)
        end = _end(desk, before, terms)
        last = before[-1].action.value if before else "stopped"
        command = chance.choice([*_LIKELY[last] * 3, START, PAUSE, RESUME, STOP, None])
        if command is None:
            keys = desk.rows("SELECT CAST(id AS text) FROM work_sessions WHERE order_id = :id", id=order_id)
            world.run(resume.STAGE, *(key for (key,) in keys))
            done = True
        else:
            done = _tried(desk, command, order_id)
        new = events(desk, order_id)[len(before) :]
        assert [one.at for one in events(desk, order_id)] == sorted(one.at for one in events(desk, order_id))
        if end is not None and done:
            over += 1
            assert (new[0].action.value, new[0].at) == ("resumed", end)
        _is_legal(desk, order_id)
    print(f"{len(events(desk, order_id))} events, {over} pauses were over by themselves")


def _end(desk: WorkshopDesk, listed: list[SessionEvent], terms: Terms) -> datetime | None:
    """Return when the open pause was over, None where there is none or it is not over."""
    found = pauses(listed)
    if not found or found[-1].ended_at is not None:
        return None
    end = ends_at(found, found[-1].began_at, [terms])
    return end if end is not None and end <= now(desk) else None


def _tried(desk: WorkshopDesk, command: Command[Any, Any], order_id: UUID) -> bool:
    try:
        desk.run(command, Nothing(), order_id)
    except Refused:
        return False
    return True


def _is_legal(desk: WorkshopDesk, order_id: UUID) -> None:
    """Look that each session went through legal states, and that the rows say the last of them."""
    states: dict[UUID, WorkSessionState | None] = {}
    for event in events(desk, order_id):
        states[event.session_id] = after(states.get(event.session_id), event.action)
        assert states[event.session_id] is not None
    kept = desk.rows("SELECT id, state FROM work_sessions WHERE order_id = :id", id=order_id)
    assert {session_id: WorkSessionState(state) for session_id, state in kept} == states
