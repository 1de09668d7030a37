"""The slot ledger: who takes a slot asks for its work, both or neither, and nobody takes it twice."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import Connection, text

from models.queries.schedule import schedule_standings
from pipeline.core.slots import CatchUp
from pipeline.runtime import slots
from pipeline.runtime.db import Database
from pipeline.runtime.slots import Routine
from tests.factories import rows, value

ME = "here:1"


def routine(catch_up: CatchUp = CatchUp.ONCE, cron: str = "* * * * *", name: str = "test") -> Routine:
    """Return a routine that leaves a mark wherever it asks, and says that this is three jobs."""

    def ask(connection: Connection) -> int:
        connection.execute(text("INSERT INTO organizations (name) VALUES (CAST(uuidv7() AS text))"))
        return 3

    return Routine(name, "a test", cron, catch_up, ask)


def effects(db: Database) -> int:
    found: int = value(db, "SELECT count(*) FROM organizations")
    return found


def absent_since(connection: Connection, ago: timedelta, name: str = "test") -> None:
    """Write the last slot that somebody took."""
    statement = "INSERT INTO slots (schedule, slot_at, outcome, taken_by) SELECT :name, {}, 'ran', 'before'"
    connection.execute(
        text(statement.format("date_bin('1 hour', now() - :ago, '2000-01-01Z')")), {"name": name, "ago": ago}
    )


def test_a_first_look_takes_nothing_but_marks_where_slots_count_from(db: Database):
    with db.begin() as connection:
        (slot,) = slots.take(connection, routine(CatchUp.ALL), ME)
    assert effects(db) == 0
    assert rows(db, "SELECT outcome, jobs, taken_by, slot_at <= taken_at FROM slots") == [("skipped", 0, ME, True)]
    with db.begin() as connection:
        (standing,) = schedule_standings(connection, ["test"])
    assert standing.missed == 0
    assert standing.last is not None
    assert standing.last.slot_at == slot.slot_at


@pytest.mark.parametrize(
    ("catch_up", "ran", "skipped"), [(CatchUp.ONCE, 1, 2), (CatchUp.ALL, 3, 0), (CatchUp.SKIP, 0, 3)]
)
@pytest.mark.fault("F-52")
def test_after_three_hours_of_nobody_the_policy_decides(db: Database, catch_up: CatchUp, ran: int, skipped: int):
    with db.begin() as connection:
        # Whatever the time of this run is, the newest slot was half an hour ago.
        minute = connection.execute(text("SELECT extract(minute FROM now() - interval '30 min')")).scalar_one()
        hourly = routine(catch_up, f"{int(minute)} * * * *")
        connection.execute(
            text("""
                INSERT INTO slots (schedule, slot_at, outcome, taken_by)
                SELECT 'test', date_trunc('minute', now()) - step, 'ran', 'before'
                  FROM unnest(ARRAY[interval '4 hours 30 min', interval '3 hours 30 min']) AS step
            """)
        )
        taken = slots.take(connection, hourly, ME)
        (standing,) = schedule_standings(connection, ["test"])
    assert len(taken) == 3
    assert effects(db) == ran
    outcomes = ["skipped"] * skipped + ["caught_up"] * ran
    found = rows(db, "SELECT outcome, jobs FROM slots WHERE taken_by = :me ORDER BY slot_at", me=ME)
    assert found == [(outcome, 0 if outcome == "skipped" else 3) for outcome in outcomes]
    assert standing.missed == skipped


def test_an_asking_that_fails_leaves_the_slot_to_the_next(db: Database):
    def fail(connection: Connection) -> int:
        raise RuntimeError("no")

    with db.begin() as connection:
        absent_since(connection, timedelta(hours=1))
    broken = Routine("test", "a test", "* * * * *", CatchUp.ONCE, fail)
    with pytest.raises(RuntimeError), db.begin() as connection:
        slots.take(connection, broken, ME)
    assert value(db, "SELECT count(*) FROM slots") == 1
    with db.begin() as connection:
        slots.take(connection, routine(), ME)
    assert effects(db) == 1


def test_while_somebody_is_at_a_routine_nobody_waits_and_others_are_free(db: Database):
    with db.begin() as connection:
        absent_since(connection, timedelta(hours=1))
        absent_since(connection, timedelta(hours=1), "other")
    with db.begin() as first, db.begin() as second:
        assert slots.take(first, routine(), "first")
        assert slots.take(second, routine(), "second") == []
        assert slots.take(second, routine(name="other"), "second")
    assert effects(db) == 2


@pytest.mark.fault("F-52")
def test_many_at_once_take_each_slot_once(db: Database):
    with db.begin() as connection:
        absent_since(connection, timedelta(hours=1))
    start = threading.Barrier(6)

    def go() -> None:
        start.wait()
        for _ in range(5):
            with db.begin() as connection:
                slots.take(connection, routine(CatchUp.ALL), ME)

    threads = [threading.Thread(target=go) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert effects(db) == value(db, "SELECT count(*) FROM slots WHERE outcome <> 'skipped' AND taken_by = :me", me=ME)
    assert effects(db) >= 60


def test_only_routines_with_a_slot_to_take_are_due(db: Database):
    with db.begin() as connection:
        for name in ("rare", "often"):
            absent_since(connection, timedelta(hours=2), name)
        later = connection.execute(text("SELECT now() + interval '40 days'")).scalar_one()
        rare = routine(cron=f"0 0 {later.day} {later.month} *", name="rare")
        found = slots.due(connection, [routine(name="never"), rare, routine(name="often")])
    assert [one.name for one in found] == ["never", "often"]


def test_old_slots_are_forgotten_but_the_newest_of_each_schedule_stays(db: Database):
    with db.begin() as connection:
        for days in (1, 29, 31, 50):
            absent_since(connection, timedelta(days=days), "busy")
        for days in (40, 400):
            absent_since(connection, timedelta(days=days), "rare")
        assert slots.tidy(connection) == 3
    found = rows(db, "SELECT schedule, CAST(extract(day FROM now() - slot_at) AS int) FROM slots ORDER BY 1, 2")
    assert found == [("busy", 1), ("busy", 29), ("rare", 40)]
