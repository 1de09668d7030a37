"""PostgreSQL stopped, cut off, locked and crowded in the middle of everything: each transaction once or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from actors import worker
from actors.crews import Crews
from actors.worker import WorkerProcess
from deploy.demo.specs import Mail
from deploy.local.supervisor import Supervisor
from models.enums import Lane
from pipeline.runtime.db import Database, is_passing
from pipeline.runtime.settings import Settings
from tests import factories
from tests.actors.bench import Bench
from tests.faults.proxy import before_postgres
from tests.flow.imports import Import
from tests.ops_api.serving import serving, settings_for
from tests.worker_process import WorkerProcesses, until, worker_processes

pytestmark = pytest.mark.faults

_FEW = 70
#: The steps of a mail; each is slowed down in turn so that the database stops in its very middle.
_STAGES = ("backfill", "fetch", "parse", "stitch", "routing", "triage", "dispatch")
_SLOW = """
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_sleep(0.3); RETURN OLD; END $$;
    CREATE TRIGGER slow BEFORE DELETE ON jobs FOR EACH ROW WHEN (OLD.stage = '{stage}') EXECUTE FUNCTION slow()
"""
_QUICK = "DROP TRIGGER slow ON jobs; DROP FUNCTION slow()"
_IN_THE_MIDDLE = "SELECT count(*) FROM jobs WHERE stage = :stage AND state = 'running'"
_LETTERS = "SELECT count(*) FROM dead_letters WHERE cause <> 'permanent'"
_CUT = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
     WHERE datname = current_database() AND application_name = 'fieldpost worker' AND random() < 0.5
"""


def _one(db: Database, statement: str, **values: object) -> int:
    with db.begin() as connection:
        return int(connection.execute(text(statement), values).scalar_one())


def _change(db: Database, statement: str) -> None:
    with db.begin() as connection:
        connection.exec_driver_sql(statement)


def _stopped_within(stage: str, mail: Import, mails: Sequence[Mail], supervisor: Supervisor) -> None:
    """Stop PostgreSQL at once while a stage is settling jobs, and start it again."""
    _change(mail.db, _SLOW.format(stage=stage))
    mail.deliver(mails)
    until(lambda: _one(mail.db, _IN_THE_MIDDLE, stage=stage), f"{stage} to be under way")
    mail.db.close()
    supervisor.stop_postgres(immediate=True)
    supervisor.start_postgres()
    _change(mail.db, _QUICK)


@pytest.mark.soak
@pytest.mark.fault("F-23")
def test_a_database_stopped_at_once_within_each_stage_loses_and_doubles_nothing(
    db: Database, settings: Settings, tmp_path: Path, workers: WorkerProcesses, supervisor: Supervisor
) -> None:
    mail = Import(db, settings, tmp_path, 1_200)
    workers.keep(2)
    # About one mail in a hundred ends as a work order: the last step gets all that the others left.
    portions = [mail.mails[start : start + _FEW] for start in range(0, _FEW * (len(_STAGES) - 1), _FEW)]
    for stage, mails in zip(_STAGES, [*portions, mail.mails[_FEW * len(portions) :]], strict=True):
        _stopped_within(stage, mail, mails, supervisor)
        mail.finish()
    assert len(workers.running()) == 2
    mail.verify(workers)
    assert _one(db, _LETTERS) == 0


@pytest.mark.fault("F-23", "F-24", "F-25", "F-26", "F-29")
def test_an_import_survives_what_happens_to_the_database(
    db: Database, settings: Settings, tmp_path: Path, supervisor: Supervisor
) -> None:
    mail = Import(db, settings, tmp_path, _FEW)
    url = str(settings.database_url)
    with (
        before_postgres(url) as network,
        worker_processes(settings.model_copy(update={"database_url": network.url}), tmp_path) as workers,
        serving(settings_for(url)) as api,
    ):
        workers.keep(2)
        lost, cut, locked, within, away = mail.portions(5)
        mail.deliver(lost[:1])
        mail.finish()

        # The server commits, the worker sees its connection break: the repetition finds that the attempt moved.
        network.drop_replies(25, after=b"COMMIT")
        mail.deliver(lost[1:])
        mail.finish()
        assert network.lost >= 10
        network.heal()

        with _being_cut(db):
            mail.deliver(cut)
            mail.finish()

        # Somebody holds a company's ticket and some jobs; the others go on.
        with mail.db.engine.connect() as holder:
            held = holder.execute(text("SELECT id FROM tickets ORDER BY id LIMIT 1 FOR UPDATE")).scalar_one()
            mail.deliver(locked)
            routed = mail.routed()
            until(lambda: mail.routed() > routed + len(locked) // 2, f"others than ticket {held} to go on")
        mail.finish()

        _stopped_within("stitch", mail, within, supervisor)
        mail.finish()

        mail.deliver(away)
        http, person = api.client(), api.person(factories.value(db, "SELECT org_id FROM mailboxes LIMIT 1"))
        mail.db.close()
        supervisor.stop_postgres()
        assert (http.get("/healthz").status_code, http.get("/readyz").status_code) == (200, 503)
        assert person.get("/ops/jobs/dlq").status_code == 503
        supervisor.start_postgres()
        until(lambda: http.get("/readyz").status_code == 200, "the API to be ready")
        assert person.get("/ops/jobs/dlq").status_code == 200
        mail.finish()

        assert len(workers.running()) == 2, "nobody ended for it"
        mail.verify(workers)
        assert _one(db, _LETTERS) == 0


@contextmanager
def _being_cut(db: Database) -> Iterator[None]:
    """Terminate about half of the workers' connections, over and over for a while."""
    is_over = threading.Event()

    def go_on() -> None:
        for _ in range(6):
            _one(db, _CUT)
            if is_over.wait(0.25):
                return

    cutting = threading.Thread(target=go_on)
    cutting.start()
    yield
    is_over.set()
    cutting.join()


@pytest.mark.fault("F-27")
@pytest.mark.parametrize("conflict", ["deadlock", "serialization"])
def test_two_batches_that_get_into_each_others_way_both_come_through(db: Database, conflict: str) -> None:
    meet = threading.Barrier(2)
    tries: list[str] = []

    def lock(connection: Connection, keys: list[str]) -> None:
        """Take two rows in the order of the keys, or read both and change one; the other side does it the other way."""
        tries.append(keys[0])
        first, second = ("a", "b") if keys == ["there"] else ("b", "a")
        if conflict == "deadlock":
            connection.exec_driver_sql("SET LOCAL deadlock_timeout = '50ms'")
            connection.execute(text("SELECT FROM things WHERE name = :name FOR UPDATE"), {"name": first})
        else:
            connection.execute(text("SELECT sum(number) FROM things")).scalar_one()
        if len(tries) <= 2:
            meet.wait(20)
        if conflict == "deadlock":
            connection.execute(text("SELECT FROM things WHERE name = :name FOR UPDATE"), {"name": second})
        connection.execute(text("UPDATE things SET number = number + 1 WHERE name = :name"), {"name": second})

    def serially(connection: Connection, _: object) -> None:
        if conflict == "serialization":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")

    _change(db, "CREATE TABLE things (name text, number int); INSERT INTO things VALUES ('a', 0), ('b', 0)")
    bench = Bench(db, on_load=serially, on_save=lock)
    bench.put("there")
    bench.put("back", lane=Lane.REPAIR)
    threads = [threading.Thread(target=bench.answer, args=(lane,)) for lane in (Lane.LIVE, Lane.REPAIR)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (bench.effects, bench.jobs) == (["back", "there"], {})
    assert len(tries) > 2, "they did not meet"
    assert _one(db, "SELECT sum(number) FROM things") == 2


@pytest.mark.fault("F-28")
def test_sixteen_threads_with_few_connections_and_then_none_left_wait_in_bounds(
    db: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail = Import(db, settings, tmp_path, _FEW)
    mail.deliver(mail.mails[: _FEW // 2])
    monkeypatch.setattr(worker, "Crews", partial(Crews, threads=8))
    monkeypatch.setattr(worker, "_MORE_CONNECTIONS", 2 - len(worker.CREWS) * worker.THREADS)
    running = WorkerProcess(settings)
    running.start()
    try:
        mail.finish()
        with serving(settings_for(settings.database_url)) as api, _every_connection(settings):
            began = time.monotonic()
            assert api.client().get("/readyz").status_code == 503
            assert time.monotonic() - began < 20
        mail.deliver(mail.mails[_FEW // 2 :])
        mail.finish()
    finally:
        running.stop()
    assert mail.violations() == []
    assert _one(db, _LETTERS) == 0


@contextmanager
def _every_connection(settings: Settings) -> Iterator[None]:
    """Take the connections that are left, by sessions that do nothing."""
    taken: list[psycopg.Connection[Any]] = []
    try:
        with suppress(psycopg.OperationalError):
            while True:
                taken.append(psycopg.connect(str(settings.database_url).replace("+psycopg", "")))
        assert len(taken) > 100
        yield
    finally:
        for one in taken:
            one.close()


@pytest.mark.fault("F-28")
def test_a_pool_that_is_empty_is_waited_for_and_said_to_pass(database_url: str) -> None:
    database = Database(database_url, "test", pool_size=1)
    database.engine.pool._timeout = 0.1  # type: ignore[attr-defined]
    with database.begin(), database.begin(), database.begin(), pytest.raises(PoolTimeout) as refused, database.begin():
        pass
    assert is_passing(refused.value)
    database.close()


@pytest.mark.fault("F-29")
def test_a_lock_that_is_held_for_long_ends_the_wait_and_passes(db: Database) -> None:
    _change(db, "CREATE TABLE things (name text)")
    with db.engine.begin() as holder, db.engine.connect() as connection:
        holder.exec_driver_sql("LOCK TABLE things")
        connection.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")
        with pytest.raises(OperationalError) as refused:
            connection.exec_driver_sql("SELECT FROM things")
    assert is_passing(refused.value)
    with db.begin() as connection:
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar_one() != "0", "each wait has its end"
