"""What a worker holds: the lock that proves it lives, and leases that are renewed while it works."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import event, text
from structlog.testing import capture_logs

from actors import holdings as module
from actors.holdings import Holdings
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError
from pipeline.runtime.jobs import Job
from tests.deploy.probes import until
from tests.factories import claimed, emit, rows, value
from tests.faults.proxy import before_postgres

_HOLDER = """
    SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 77 AND objid = CAST(:number AS oid) AND granted
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.fixture
def held(db: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Holdings]:
    monkeypatch.setattr(module, "_PULSE", timedelta(milliseconds=20))
    made = Holdings(db, "1.2.3")
    made.start()
    yield made
    made.stop()


def holder(db: Database, held: Holdings) -> int | None:
    found: int | None = value(db, _HOLDER, number=held.worker)
    return found


def claim(db: Database, held: Holdings, key: str = "1") -> list[Job]:
    with db.begin() as connection:
        ledger.put(connection, [emit(key)])
        return claimed(connection, worker=held.worker, lease=timedelta(seconds=30))


def test_a_started_worker_holds_its_lock_and_is_listed(db: Database, held: Holdings):
    assert holder(db, held) is not None
    (row,) = rows(db, "SELECT number, version, pid FROM workers")
    assert (row.number, row.version) == (held.worker, "1.2.3")


def test_every_worker_has_a_number_of_its_own(db: Database, held: Holdings):
    assert Holdings(db, "x").worker != held.worker


def test_a_lock_lost_with_its_backend_is_taken_again(db: Database, held: Holdings):
    before = holder(db, held)
    value(db, "SELECT pg_terminate_backend(:pid, 5000)", pid=before)
    until(lambda: holder(db, held) not in {None, before})


def test_leases_are_renewed_while_the_work_goes_on(db: Database, held: Holdings):
    jobs = claim(db, held)
    rows(db, "UPDATE jobs SET lease_until = now()")
    with held.holding(jobs, timedelta(seconds=30)):
        until(lambda: value(db, "SELECT lease_until > now() + interval '25 s' FROM jobs"))


def test_leases_are_not_renewed_when_the_work_has_ended(db: Database, held: Holdings):
    jobs = claim(db, held)
    with held.holding(jobs, timedelta(seconds=30)):
        pass
    rows(db, "UPDATE jobs SET lease_until = now()")
    held._renew()
    assert value(db, "SELECT lease_until <= now() FROM jobs")


def test_stopping_gives_jobs_back_uncharged_and_lets_go_of_the_lock(db: Database):
    held = Holdings(db, "1.2.3")
    held.start()
    claim(db, held)
    assert {line.stage for line in held.stop()} == {"fetch"}
    (row,) = rows(db, "SELECT state, failures, crashes, is_suspect FROM jobs")
    assert tuple(row) == ("ready", 0, 0, False)
    assert rows(db, "SELECT number FROM workers") == []
    until(lambda: holder(db, held) is None)


@pytest.mark.fault("F-23", "F-24")
def test_a_worker_started_while_the_database_is_away_waits_for_it(database_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_PAUSE", timedelta(milliseconds=10))
    with before_postgres(database_url) as network, closing(Database(network.url, "test")) as db:
        network.refuse()
        with ThreadPoolExecutor(1) as pool, capture_logs() as said:
            made = pool.submit(Holdings, db, "1.2.3")
            until(lambda: said)
            network.heal()
            assert made.result(30).worker > 0
    assert {one["event"] for one in said} == {"worker.waits_for_database"}


@pytest.mark.fault("F-24")
def test_a_worker_that_finds_no_database_says_so_in_words(database_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_PATIENCE", timedelta(0))
    with before_postgres(database_url) as network, closing(Database(network.url, "test")) as db:
        network.refuse()
        with pytest.raises(UserError, match="the database does not answer: "):
            Holdings(db, "1.2.3")


@pytest.mark.fault("F-14", "F-24")
def test_a_worker_that_stops_while_the_database_is_away_ends_in_order(database_url: str, db: Database):
    with before_postgres(database_url) as network, closing(Database(network.url, "test")) as mine:
        held = Holdings(mine, "1.2.3")
        held.start()
        claim(db, held)
        network.refuse()
        assert held.stop() == set()
    until(lambda: holder(db, held) is None)
    with db.begin() as connection:
        assert [job.key for job in ledger.reclaim(connection, timedelta(0))] == ["1"]


@pytest.mark.fault("F-14", "F-29")
def test_a_worker_that_stops_while_the_jobs_are_locked_waits_for_them_no_longer_than_is_left(db: Database):
    held = Holdings(db, "1.2.3")
    held.start()
    claim(db, held)
    waited: list[str] = []

    @event.listens_for(db.engine, "before_cursor_execute")
    def note(_connection, cursor, statement, *_rest) -> None:  # type: ignore[no-untyped-def]
        if "UPDATE jobs" in statement:
            waited.extend(
                cursor.connection.execute(f"SHOW {name}").fetchone()[0]
                for name in ("lock_timeout", "statement_timeout")
            )

    with db.begin() as connection:
        connection.execute(text("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE"))
        assert held.stop(lambda: timedelta(milliseconds=150)) == set()
    assert waited == ["150ms", "150ms"]
    until(lambda: holder(db, held) is None)
    with db.begin() as connection:
        assert [job.key for job in ledger.reclaim(connection, timedelta(0))] == ["1"]


@pytest.mark.fault("F-14", "F-56")
def test_a_worker_that_stops_while_the_database_says_nothing_is_not_kept(
    database_url: str, db: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_GRACE", timedelta(0))
    with before_postgres(database_url) as network, closing(Database(network.url, "test")) as mine:
        held = Holdings(mine, "1.2.3")
        held.start()
        claim(db, held)
        network.blackhole()
        with capture_logs() as said:
            assert held.stop(lambda: timedelta(milliseconds=100)) == set()
        assert [one["event"] for one in said] == ["worker.gave_nothing_back"]
        assert value(db, "SELECT count(*) FROM jobs WHERE state = 'running'") == 1
