"""The schedule: each mailbox that is due is polled once, and each slot taken once, by however many schedules."""

from __future__ import annotations

import threading
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Connection, text
from structlog.testing import capture_logs

from actors.schedule import Schedule
from actors.schedules import ask_for_history, declared
from dlq.letters import Death, bury
from models.enums import Cause, Lane, MailboxState
from pipeline.core.polling import STANDARD
from pipeline.core.slots import CatchUp
from pipeline.runtime import auditing, ledger
from pipeline.runtime.auditing import Entry
from pipeline.runtime.db import Database
from pipeline.runtime.metrics import Metrics
from pipeline.runtime.polling import note_read
from pipeline.runtime.settings import Settings
from pipeline.runtime.slots import Routine
from tests.deploy.probes import until
from tests.factories import claimed, emit, mailbox, occurrence, organization, rows, value

INTERVAL = timedelta(minutes=1)


def kill(connection: Connection, mailbox_id: UUID, stage: str, key: str, lane: Lane = Lane.LIVE) -> None:
    """Put a job of a mailbox unless it stands there, claim it and bury it."""
    ledger.put(connection, [emit(key, stage, mailbox_id=mailbox_id, lane=lane)])
    (job,) = claimed(connection, stage, lane=lane)
    bury(connection, [Death(job, Cause.EXHAUSTED, ValueError("no"), by_occurrence=False)])


@pytest.fixture
def org_id(db: Database) -> UUID:
    with db.begin() as connection:
        return organization(connection)


def test_a_mailbox_with_a_cursor_is_asked_in_the_live_lane(db: Database, org_id: UUID):
    with db.begin() as connection:
        mine = mailbox(connection, org_id, cursor="5")
    assert Schedule(db, INTERVAL).poll() == 1
    (row,) = rows(db, "SELECT stage, key, lane, state, org_id, mailbox_id FROM jobs")
    assert tuple(row) == ("history", str(mine), "live", "ready", org_id, mine)


def test_a_mailbox_never_listed_paused_or_without_authorization_is_left_alone(db: Database, org_id: UUID):
    with db.begin() as connection:
        mailbox(connection, org_id)
        mailbox(connection, org_id, cursor="5", state=MailboxState.PAUSED)
        mailbox(connection, org_id, cursor="5", state=MailboxState.AUTH_REQUIRED)
    assert Schedule(db, INTERVAL).poll() == 0


def test_a_mailbox_is_due_again_only_after_the_interval(db: Database, org_id: UUID):
    with db.begin() as connection:
        mailbox(connection, org_id, cursor="5")
        connection.execute(text("UPDATE mailboxes SET last_incremental_sync_at = now() - interval '50 s'"))
    assert Schedule(db, INTERVAL).poll() == 0
    assert Schedule(db, timedelta(seconds=40)).poll() == 1


def test_a_mailbox_whose_job_still_waits_is_not_asked_again(db: Database, org_id: UUID):
    with db.begin() as connection:
        mailbox(connection, org_id, cursor="5")
    schedule = Schedule(db, INTERVAL)
    assert [schedule.poll(), schedule.poll()] == [1, 0]


def test_many_schedules_at_once_make_one_job(db: Database, org_id: UUID):
    with db.begin() as connection:
        for _ in range(20):
            mailbox(connection, org_id, cursor="5")
    start, asked = threading.Barrier(4), list[int]()

    def go() -> None:
        start.wait()
        asked.append(Schedule(db, INTERVAL).poll())

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with db.begin() as connection:
        jobs = claimed(connection, "history")
        ledger.settle(connection, [job.job_id for job in jobs])
    assert len(jobs) == sum(asked) == 20
    assert value(db, "SELECT count(*) FROM jobs") == 0


def test_the_schedule_goes_on_by_itself_also_after_an_error(db: Database, org_id: UUID):
    schedule = Schedule(db, timedelta(milliseconds=20))
    schedule.start()
    try:
        rows(
            db,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        with db.begin() as connection:
            mailbox(connection, org_id, cursor="5")
        until(lambda: value(db, "SELECT count(*) FROM jobs") == 1)
    finally:
        schedule.stop()


def test_each_poll_is_asked_for_once_also_when_its_job_is_through_at_once(db: Database, org_id: UUID):
    with db.begin() as connection:
        mailbox(connection, org_id, cursor="5")
    schedules = [Schedule(db, INTERVAL), Schedule(db, INTERVAL)]
    asked = []
    for schedule in schedules:
        asked.append(schedule.poll())
        rows(db, "DELETE FROM jobs")
    assert asked == [1, 0]
    assert value(db, "SELECT poll_at - now() BETWEEN interval '55 s' AND interval '60 s' FROM mailboxes")


def test_the_distance_of_a_mailbox_is_scaled_by_the_pace(db: Database, org_id: UUID):
    with db.begin() as connection:
        mailbox(connection, org_id, cursor="5")
        connection.execute(text("UPDATE mailboxes SET poll_interval = :interval"), {"interval": STANDARD * 10})
    assert Schedule(db, INTERVAL).poll() == 1
    assert value(db, "SELECT poll_at - now() BETWEEN interval '595 s' AND interval '600 s' FROM mailboxes")


def test_a_find_brings_the_next_poll_near_but_never_nearer_than_the_pace(db: Database, org_id: UUID):
    with db.begin() as connection:
        mine = mailbox(connection, org_id, cursor="5")
        connection.execute(text("UPDATE mailboxes SET poll_at = now() + interval '1 h'"))
        connection.execute(text("UPDATE mailboxes SET last_incremental_sync_at = now() - interval '50 s'"))
    assert Schedule(db, INTERVAL / 2).poll() == 0
    with db.begin() as connection:
        note_read(connection, mine, found=True)
    assert Schedule(db, INTERVAL).poll() == 0
    assert Schedule(db, INTERVAL / 2).poll() == 1


def test_a_mailbox_that_messages_are_being_written_to_is_polled_all_the_same(db: Database, org_id: UUID):
    with db.begin() as connection:
        mine = mailbox(connection, org_id, cursor="5")
    with db.begin() as writer:
        occurrence(writer, mine)
        assert Schedule(db, INTERVAL).poll() == 1


def test_a_failing_routine_stops_neither_the_others_nor_the_polls(db: Database, org_id: UUID):
    def fail(connection: Connection) -> int:
        raise RuntimeError("canary")

    with db.begin() as connection:
        mailbox(connection, org_id, cursor="5")
    metrics = Metrics()
    routines = [Routine(name, "", "* * * * * *", CatchUp.ALL, ask) for name, ask in (("a", fail), ("b", lambda _: 1))]
    schedule = Schedule(db, INTERVAL, routines, metrics)
    with capture_logs() as logs:
        until(lambda: schedule.tick() or value(db, "SELECT count(*) FROM slots WHERE jobs = 1"))
    assert value(db, "SELECT count(*) FROM jobs") == 1
    assert rows(db, "SELECT outcome FROM slots WHERE schedule = 'a'") == [("skipped",)]
    failed = [(log["what"], log["error"]) for log in logs if log["event"] == "schedule.failed"]
    assert set(failed) == {("a", "RuntimeError: canary")}
    assert metrics.registry.get_sample_value("fieldpost_slots_total", {"schedule": "b", "outcome": "ran"})


def test_a_first_tick_of_the_declared_table_asks_for_nothing(db: Database, settings: Settings):
    Schedule(db, INTERVAL, declared(settings)).tick()
    assert rows(db, "SELECT DISTINCT outcome, jobs FROM slots") == [("skipped", 0)]
    assert {row.schedule for row in rows(db, "SELECT schedule FROM slots")} == {
        "history",
        "reconcile",
        "clocks",
        "levels",
        "quiet",
        "retention",
        "seal",
        "tidy",
    }


def test_the_slot_of_seals_signs_what_was_added_and_forgets_old_answers(db: Database, settings: Settings):
    (routine,) = (one for one in declared(settings) if one.name == "seal")
    with db.begin() as connection:
        org_id = organization(connection)
        auditing.append(connection, Entry(org_id, "ticket.note", "ann"))
        for key, expires in (("old", "-1 s"), ("new", "1 hour")):
            connection.execute(
                text("INSERT INTO idempotency_keys (org_id, actor_id, method, path, key, body_sha256, expires_at)"
                     " VALUES (:org, 'ann', 'POST', '/', :key, '', now() + CAST(:expires AS interval))"),
                {"org": org_id, "key": key, "expires": expires},
            )  # fmt: skip
    with db.begin() as connection, capture_logs() as logs:
        routine.ask(connection)
        routine.ask(connection)
    assert [(one["event"], one["number"]) for one in logs] == [("audit.sealed", 1)]
    assert [row.number for row in rows(db, "SELECT number FROM audit_seals")] == [1]
    assert [row.key for row in rows(db, "SELECT key FROM idempotency_keys")] == ["new"]


def test_watches_are_renewed_only_where_there_is_a_topic(settings: Settings):
    with_push = settings.model_copy(update={"push_topic": "projects/p/topics/t"})
    assert {one.name for one in declared(with_push)} - {one.name for one in declared(settings)} == {"watch"}


def test_the_net_asks_for_what_polling_left_alone(db: Database, org_id: UUID):
    with db.begin() as connection:
        asleep = mailbox(connection, org_id, cursor="5")
        mailbox(connection, org_id, cursor="5", state=MailboxState.PAUSED)
        mailbox(connection, org_id)
        connection.execute(text("UPDATE mailboxes SET poll_at = 'infinity'"))
        fresh = mailbox(connection, org_id, cursor="5")
        connection.execute(
            text("UPDATE mailboxes SET last_incremental_sync_at = now() - interval '4 min' WHERE id = :id"),
            {"id": fresh},
        )
        assert ask_for_history(connection) == 1
        assert ask_for_history(connection) == 0
    assert rows(db, "SELECT stage, key FROM jobs") == [("history", str(asleep))]


@pytest.mark.parametrize("stage", ["history", "backfill"])
def test_a_dead_reading_is_revived_at_most_once_an_hour(db: Database, org_id: UUID, stage: str):
    with db.begin() as connection:
        mine = mailbox(connection, org_id, cursor="5")
        connection.execute(text("UPDATE mailboxes SET last_incremental_sync_at = now()"))
        kill(connection, mine, stage, str(mine))
        assert ask_for_history(connection) == 1
    assert rows(db, "SELECT stage, state FROM jobs") == [(stage, "ready")]
    assert rows(db, "SELECT resolution, resolved_by FROM dead_letters") == [("replayed", "schedule")]
    with db.begin() as connection:
        kill(connection, mine, stage, str(mine), Lane.REPAIR)
        assert ask_for_history(connection) == 0
    rows(db, "UPDATE dead_letters SET resolved_at = resolved_at - interval '61 min'")
    with db.begin() as connection:
        assert ask_for_history(connection) == 1


def test_dead_letters_of_messages_and_of_mailboxes_that_stand_still_are_left_to_people(db: Database, org_id: UUID):
    with db.begin() as connection:
        active = mailbox(connection, org_id, cursor="5")
        paused = mailbox(connection, org_id, cursor="5", state=MailboxState.PAUSED)
        connection.execute(text("UPDATE mailboxes SET last_incremental_sync_at = now()"))
        kill(connection, active, "parse", str(occurrence(connection, active)))
        kill(connection, paused, "history", str(paused))
        assert ask_for_history(connection) == 0
    assert value(db, "SELECT count(*) FROM dead_letters WHERE resolution IS NULL") == 2
