"""Levels in the database: a week is judged once per person, whoever asks and however often, from the ledger alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from pipeline.commands.levels import EVALUATE, SET_LEVEL, Evaluation, LevelChange, request_weeks
from pipeline.core.levels import Standing, judge
from pipeline.core.workshop_rules import Progression
from pipeline.executor import Answer
from pipeline.runtime import level_rows, rules
from pipeline.runtime.db import Database
from pipeline.runtime.level_rows import Week
from pipeline.stages import judge as stage
from tests.commands.points import change_rules, give, last_monday, level, long_here, within
from tests.commands.racing import race
from tests.commands.workshop_desk import WorkshopDesk
from tests.stages.world import World

WEEK = timedelta(days=7)
_EVENTS = """
    SELECT status, from_level, to_level, week_xp, total_xp FROM level_events
     WHERE org_id = :org AND person_id = :person ORDER BY id
"""
_COUPONS = "SELECT person_id, reference, amount, currency FROM level_coupons WHERE org_id = :org ORDER BY reference"
_FORGET = "DELETE FROM jobs WHERE org_id = :org AND stage = 'judge'"


@pytest.fixture
def desk(db: Database) -> WorkshopDesk:
    """Return a workshop whose people have been there for long."""
    desk = WorkshopDesk.of(db)
    long_here(desk)
    return desk


@pytest.fixture
def world(db: Database) -> World:
    """Return what runs a stage."""
    return World(db)


def evaluate(desk: WorkshopDesk, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = desk.run(EVALUATE, Evaluation(**more), by="ops_manager").body["data"]
    return found


def events(desk: WorkshopDesk, name: str = "tech") -> list[Any]:
    return desk.rows(_EVENTS, person=desk.person_id(name))


def asked(desk: WorkshopDesk) -> list[str]:
    """Have the schedule ask; return the keys of this workshop's jobs."""
    with desk.db.begin() as connection:
        request_weeks(connection)
    return [key for (key,) in desk.rows("SELECT key FROM jobs WHERE org_id = :org AND stage = 'judge'")]


def run_all(desk: WorkshopDesk, world: World, keys: Sequence[str]) -> int:
    """Judge the weeks of these jobs and all that follow; return how many there were."""
    count = 0
    while keys:
        count += len(keys)
        jobs = [replace(world.job(stage.STAGE, key), org_id=desk.org_id) for key in keys]
        keys = [one.key for one in world.run_jobs(stage.STAGE, *jobs).emits]
    desk.change(_FORGET)
    return count


def test_a_week_raises_who_met_the_target_and_warns_who_did_not(desk: WorkshopDesk) -> None:
    monday = last_monday(desk)
    give(desk, "tech", 300, within(monday - WEEK))
    give(desk, "tech", 150, within(monday))
    give(desk, "other_tech", 99, within(monday))
    # Sunday night is of the week, Monday is not.
    give(desk, "other_tech", 1000, within(monday, 7))
    give(desk, "tech", 500, within(monday, -0.001))
    found = evaluate(desk)
    assert (found["week_start"], found["evaluated"]) == (monday.isoformat(), 2)
    assert found["statuses"] == {"level_up": 1, "warning": 1}
    assert events(desk) == [("level_up", 1, 4, 150, 950)]
    assert events(desk, "other_tech") == [("warning", 1, 1, 99, 99)]
    assert (level(desk, "tech"), level(desk, "other_tech")) == ((4, False), (1, True))
    reference = f"level_up_coupon:{monday}:{desk.person_id('tech')}"
    assert desk.rows(_COUPONS) == [(desk.person_id("tech"), reference, 100_000, "UZS")]


def test_only_technicians_who_were_there_are_judged(desk: WorkshopDesk) -> None:
    desk.change(
        "UPDATE memberships SET created_at = now() WHERE org_id = :org AND person_id = :person",
        person=desk.person_id("other_tech"),
    )
    found = evaluate(desk)
    assert [one["user"] for one in found["results"]] == [str(desk.person_id("tech"))]


def test_judging_a_week_again_or_one_before_it_changes_nothing(desk: WorkshopDesk) -> None:
    monday = last_monday(desk)
    give(desk, "tech", 500, within(monday))
    evaluate(desk)
    before = events(desk), level(desk, "tech"), desk.rows(_COUPONS)
    give(desk, "tech", 500, within(monday))
    assert evaluate(desk)["evaluated"] == 0
    assert evaluate(desk, week_start=monday - WEEK)["evaluated"] == 0
    assert (events(desk), level(desk, "tech"), desk.rows(_COUPONS)) == before


def test_a_warning_is_cleared_by_the_next_week_or_costs_the_level(desk: WorkshopDesk) -> None:
    monday = last_monday(desk)
    give(desk, "tech", 500, within(monday - 2 * WEEK))
    give(desk, "other_tech", 500, within(monday - 2 * WEEK))
    give(desk, "other_tech", 100, within(monday))
    for week in (monday - 2 * WEEK, monday - WEEK, monday):
        evaluate(desk, week_start=week)
    assert [one[:3] for one in events(desk)] == [("level_up", 1, 3), ("warning", 3, 3), ("reset_to_l1", 3, 1)]
    assert [one[:3] for one in events(desk, "other_tech")] == [
        ("level_up", 1, 3),
        ("warning", 3, 3),
        ("maintained", 3, 3),
    ]
    assert (level(desk, "tech"), level(desk, "other_tech")) == ((1, False), (3, False))


def test_a_week_that_is_not_over_or_is_none_is_refused(desk: WorkshopDesk) -> None:
    monday = last_monday(desk)
    for day, code in (
        (monday + WEEK, "WEEK_NOT_OVER"),
        (monday + timedelta(days=1), "NOT_A_MONDAY"),
        (date(1, 1, 1), "NO_SUCH_WEEK"),
    ):
        assert desk.refused(EVALUATE, Evaluation(week_start=day), by="ops_manager").code == code
    assert desk.refused(EVALUATE, Evaluation(), by="master").code == "FORBIDDEN"


def test_any_number_at_once_judge_each_person_once(desk: WorkshopDesk) -> None:
    monday = last_monday(desk)
    for name in ("tech", "other_tech"):
        give(desk, name, 500, within(monday))
    start = Barrier(6)

    def schedule(week_start: date) -> int:
        start.wait()
        with desk.db.begin() as connection:
            week = Week(desk.org_id, week_start, rules.current(connection, desk.org_id))
            return len(level_rows.evaluate(connection, [week], by="schedule"))

    # At first there are no rows to lock, and then there are.
    with ThreadPoolExecutor(6) as pool:
        for week_start in (monday - WEEK, monday):
            assert sorted(pool.map(schedule, [week_start] * 6)) == [0, 0, 0, 0, 0, 2]
    found = race(desk.db, [(EVALUATE, desk.ask(Evaluation(), by="ops_manager")) for _ in range(2)])
    assert [one.body["data"]["evaluated"] for one in found if isinstance(one, Answer)] == [0, 0]
    assert len(desk.rows(_COUPONS)) == 2


def test_the_schedule_asks_once_for_a_week_and_for_none_where_nobody_earned_points(
    desk: WorkshopDesk, world: World
) -> None:
    assert asked(desk) == []
    monday = last_monday(desk)
    give(desk, "tech", 1, within(monday))
    key = level_rows.job_key(desk.org_id, monday)
    assert (asked(desk), asked(desk)) == ([key], [key])
    assert run_all(desk, world, [key]) == 1
    assert asked(desk) == []
    assert len(events(desk)) == 1
    # A week that is not over has nothing to do yet.
    assert run_all(desk, world, [level_rows.job_key(desk.org_id, monday + WEEK)]) == 1
    assert len(events(desk)) == 1


def test_a_workshop_that_begins_is_not_judged_for_the_week_before(desk: WorkshopDesk) -> None:
    """Nobody could have earned anything: a warning then would cost the level one week later."""
    monday = last_monday(desk)
    give(desk, "tech", 1, within(monday + WEEK, 0))
    assert asked(desk) == []
    give(desk, "other_tech", 1, within(monday - 2 * WEEK))
    assert asked(desk) == [level_rows.job_key(desk.org_id, monday - 2 * WEEK)]


def test_weeks_come_out_as_a_model_has_them_from_the_ledger_alone(desk: WorkshopDesk, world: World) -> None:
    """Random points over seven weeks; the schedule was away since the first, and makes up for it in order."""
    seed = random.SystemRandom().randrange(10**6)
    print("seed", seed)
    dice, names, monday = random.Random(seed), ("tech", "other_tech"), last_monday(desk)
    first, weeks = monday - 6 * WEEK, 7
    given: dict[str, list[tuple[int, int]]] = {name: [] for name in names}
    for name in names:
        for number in range(-1, weeks + 1):
            for _ in range(dice.randrange(3)):
                amount = dice.randrange(-40, 160)
                give(desk, name, amount, within(first + number * WEEK, dice.uniform(0, 6.999)))
                given[name].append((number, amount))
    evaluate(desk, week_start=first)
    (key,) = asked(desk)
    assert key == level_rows.job_key(desk.org_id, first + WEEK)
    assert run_all(desk, world, [key]) == weeks - 1
    for name in names:
        standing, wanted = Standing(), []
        for number in range(weeks):
            week = sum(amount for when, amount in given[name] if when == number)
            total = sum(amount for when, amount in given[name] if when <= number)
            verdict = judge(standing, week, total, Progression())
            wanted.append((verdict.status.value, standing.level, verdict.level, week, total))
            standing = Standing(verdict.level, verdict.is_warned)
        assert events(desk, name) == wanted, f"seed {seed}"
        assert level(desk, name) == (standing.level, standing.is_warned)
    up = sum(status == "level_up" for name in names for status, *_ in events(desk, name))
    assert len(desk.rows(_COUPONS)) == up


def test_the_rules_in_force_decide_target_levels_coupon_and_zone(desk: WorkshopDesk) -> None:
    change_rules(
        desk,
        progression={
            "level_thresholds": [0, 1, 2, 3, 4],
            "weekly_target_xp": 5,
            "weekly_coupon_amount": 7,
            "currency": "EUR",
        },
        work_session={"timezone": "Asia/Tashkent"},
    )
    monday = last_monday(desk)
    # 19:00 UTC on Sunday is Monday there.
    give(desk, "tech", 5, within(monday, -1) + timedelta(hours=19))
    give(desk, "other_tech", 5, within(monday, -1) + timedelta(hours=18, minutes=59))
    evaluate(desk)
    assert [one[:4] for one in events(desk)] == [("level_up", 1, 5, 5)]
    assert [one[:4] for one in events(desk, "other_tech")] == [("warning", 1, 1, 0)]
    assert [row[2:] for row in desk.rows(_COUPONS)] == [(7, "EUR")]


def test_a_level_is_set_by_hand_with_a_reason_and_a_warning_cleared(desk: WorkshopDesk) -> None:
    evaluate(desk)
    assert level(desk, "tech") == (1, True)
    who = desk.person_id("tech")
    said = desk.run(SET_LEVEL, LevelChange(level=3, reason="came from the other shop"), who, by="ops_manager")
    assert (said.body["data"]["level"], said.body["data"]["is_warned"]) == (3, True)
    cleared = desk.run(SET_LEVEL, LevelChange(level=4, reason="ill", clear_warning=True), who, by="ops_manager")
    assert cleared.body["data"]["statuses"] == ["manual_set", "warning_cleared"]
    assert level(desk, "tech") == (4, False)
    assert [one[:3] for one in events(desk)] == [
        ("warning", 1, 1),
        ("manual_set", 1, 3),
        ("manual_set", 3, 4),
        ("warning_cleared", 4, 4),
    ]
    assert desk.rows(_COUPONS) == []
    same = LevelChange(level=4, reason="again", clear_warning=True)
    assert desk.refused(SET_LEVEL, same, who, by="ops_manager").code == "NO_CHANGE"
    assert desk.refused(SET_LEVEL, same, who, by="master").code == "FORBIDDEN"
    assert desk.refused(SET_LEVEL, same, desk.person_id("master"), by="ops_manager").code == "NOT_A_TECHNICIAN"
    assert desk.refused(SET_LEVEL, same, desk.org_id, by="ops_manager").code == "USER_NOT_FOUND"
    assert desk.refused(SET_LEVEL, same, "nobody", by="ops_manager").code == "USER_NOT_FOUND"


def test_the_history_takes_no_change(desk: WorkshopDesk) -> None:
    evaluate(desk)
    for statement in ("UPDATE level_events SET to_level = 5", "DELETE FROM level_events"):
        with pytest.raises(DBAPIError):
            desk.change(statement)
