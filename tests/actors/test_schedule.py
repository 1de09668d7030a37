"""The schedule: each mailbox that is due is asked for its changes, once, by however many schedules."""

from __future__ import annotations

import threading
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from actors.schedule import Schedule
from models.enums import MailboxState
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from tests.deploy.probes import until
from tests.factories import claimed, mailbox, organization, rows, value

INTERVAL = timedelta(minutes=1)


@pytest.fixture
def org_id(db: Database) -> UUID:
    with db.begin() as connection:
        return organization(connection)


def test_a_mailbox_with_a_cursor_is_asked_in_the_live_lane(db: Database, org_id: UUID):
    with db.begin() as connection:
        mine = mailbox(connection, org_id, history_id=5)
    assert Schedule(db, INTERVAL).tick() == 1
    (row,) = rows(db, "SELECT stage, key, lane, state, org_id, mailbox_id FROM jobs")
    assert tuple(row) == ("history", str(mine), "live", "ready", org_id, mine)


def test_a_mailbox_never_listed_paused_or_without_authorization_is_left_alone(db: Database, org_id: UUID):
    with db.begin() as connection:
        mailbox(connection, org_id)
        mailbox(connection, org_id, history_id=5, state=MailboxState.PAUSED)
        mailbox(connection, org_id, history_id=5, state=MailboxState.AUTH_REQUIRED)
    assert Schedule(db, INTERVAL).tick() == 0


def test_a_mailbox_is_due_again_only_after_the_interval(db: Database, org_id: UUID):
    with db.begin() as connection:
        mailbox(connection, org_id, history_id=5)
        connection.execute(text("UPDATE mailboxes SET last_incremental_sync_at = now() - interval '50 s'"))
    assert Schedule(db, INTERVAL).tick() == 0
    assert Schedule(db, timedelta(seconds=40)).tick() == 1


def test_a_mailbox_whose_job_still_waits_is_not_asked_again(db: Database, org_id: UUID):
    with db.begin() as connection:
        mailbox(connection, org_id, history_id=5)
    schedule = Schedule(db, INTERVAL)
    assert [schedule.tick(), schedule.tick()] == [1, 0]


def test_many_schedules_at_once_make_one_job(db: Database, org_id: UUID):
    with db.begin() as connection:
        for _ in range(20):
            mailbox(connection, org_id, history_id=5)
    start = threading.Barrier(4)

    def go() -> None:
        start.wait()
        Schedule(db, INTERVAL).tick()

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with db.begin() as connection:
        jobs = claimed(connection, "history")
        ledger.settle(connection, [job.job_id for job in jobs])
    assert len(jobs) == 20
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
            mailbox(connection, org_id, history_id=5)
        until(lambda: value(db, "SELECT count(*) FROM jobs") == 1)
    finally:
        schedule.stop()
