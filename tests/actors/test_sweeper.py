"""The sweeper: what was lost comes back, what is due wakes, and lost doorbells are rung again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from dramatiq.brokers.redis import RedisBroker
from sqlalchemy import Connection, text

from actors.broker import Bells, make_broker
from actors.sweeper import Sweeper
from models.enums import Lane, OccurrenceState, WorkOrderState
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.ledger import Line
from pipeline.runtime.metrics import Metrics
from pipeline.table import STAGES
from tests.commands.field_desk import FieldDesk
from tests.commands.work_desk import WorkDesk
from tests.deploy.probes import until
from tests.factories import claimed, emit, mailbox, occurrence, organization, rows, ticket, value

FETCH = Line("fetch", Lane.LIVE)
OVER = timedelta(seconds=-1)


@pytest.fixture
def broker(redis_url: str) -> Iterator[RedisBroker]:
    made = make_broker(redis_url)
    yield made
    made.close()


@pytest.fixture
def deaf(tmp_path: Path) -> Iterator[RedisBroker]:
    made = make_broker(f"unix://{tmp_path}/nobody-listens.sock")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _long_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server count as long started: the grace has its own test."""
    reclaim = ledger.reclaim
    monkeypatch.setattr(ledger, "reclaim", lambda connection: reclaim(connection, timedelta(0)))


def sweeper(db: Database, broker: RedisBroker) -> Sweeper:
    metrics = Metrics()
    return Sweeper(db, STAGES, Bells(broker, metrics), metrics)


def put(db: Database, key: str = "1", stage: str = "fetch", **options: object) -> None:
    with db.begin() as connection:
        ledger.put(connection, [emit(key, stage, **options)])  # type: ignore[arg-type]


def doorbells(broker: RedisBroker, lane: Lane = Lane.LIVE) -> int:
    return int(broker.client.llen(f"{broker.namespace}:{lane.value}"))


def test_a_lost_doorbell_is_rung_again(db: Database, broker: RedisBroker):
    put(db)
    sweeping = sweeper(db, broker)
    sweeping._tick()
    broker.client.flushall()
    assert doorbells(broker) == 0
    sweeping._tick()
    assert doorbells(broker) >= 1


def test_nothing_is_rung_for_lines_without_ready_rows(db: Database, broker: RedisBroker):
    put(db, delay=timedelta(hours=1))
    sweeper(db, broker)._tick()
    assert doorbells(broker) == 0


def test_a_queue_full_of_doorbells_gets_no_more(db: Database, broker: RedisBroker):
    put(db)
    sweeping = sweeper(db, broker)
    for _ in range(80):
        sweeping._tick()
    assert 1 <= doorbells(broker) <= 65


def test_a_job_becomes_ready_when_it_is_due(db: Database, broker: RedisBroker):
    put(db, delay=timedelta(microseconds=1))
    assert sweeper(db, broker).sweep() == {FETCH}


def test_a_pump_that_fails_keeps_nothing_else_from_being_swept(db: Database, broker: RedisBroker):
    def fails(_: Connection) -> set[Line]:
        raise RuntimeError("no pump today")

    metrics = Metrics()
    put(db, delay=timedelta(microseconds=1))
    assert Sweeper(db, STAGES, Bells(broker, metrics), metrics, let_go=fails).sweep() == {FETCH}


@pytest.mark.fault("F-02")
def test_what_a_dead_worker_held_is_ready_again_as_a_suspect(db: Database, broker: RedisBroker):
    put(db)
    with db.begin() as connection:
        claimed(connection, worker=7)
    assert sweeper(db, broker).sweep() == {FETCH}
    (row,) = rows(db, "SELECT state, is_suspect, crashes FROM jobs")
    assert tuple(row) == ("ready", True, 1)


@pytest.mark.fault("F-09")
def test_a_job_that_kills_its_worker_three_times_is_buried_and_its_occurrence_quarantined(
    db: Database, broker: RedisBroker
):
    with db.begin() as connection:
        mine = mailbox(connection, organization(connection))
        poison = occurrence(connection, mine, state=OccurrenceState.FETCHED, raw=b"poison")
    put(db, str(poison), "parse", mailbox_id=mine)
    for _ in range(3):
        with db.begin() as connection:
            assert claimed(connection, "parse", lease=OVER)
        lines = sweeper(db, broker).sweep()
    assert lines == set()
    (letter,) = rows(db, "SELECT key, cause, crashes, error_class FROM dead_letters")
    assert tuple(letter) == (str(poison), "crashed", 3, "WorkerDied")
    (row,) = rows(db, "SELECT state, raw_sha256 IS NOT NULL AS is_kept FROM occurrences")
    assert tuple(row) == ("quarantined", True)


def test_a_stage_of_a_newer_version_that_kills_its_worker_is_buried_too(db: Database, broker: RedisBroker):
    put(db, "1", "tomorrow")
    for _ in range(3):
        with db.begin() as connection:
            claimed(connection, "tomorrow", lease=OVER)
        sweeper(db, broker).sweep()
    assert value(db, "SELECT stage FROM dead_letters") == "tomorrow"


def test_a_pause_that_is_over_ends_by_itself_and_frees_what_waits(db: Database, broker: RedisBroker):
    with db.begin() as connection:
        mine = mailbox(connection, organization(connection), cursor="5")
        connection.execute(text("UPDATE mailboxes SET state = 'paused', paused_until = now()"))
    put(db, mailbox_id=mine)
    with db.begin() as connection:
        ledger.block(connection, [job.job_id for job in claimed(connection)])
    assert sweeper(db, broker).sweep() == {FETCH, Line("history", Lane.LIVE)}
    assert value(db, "SELECT state FROM mailboxes") == "active"


def test_a_pause_that_is_not_over_holds(db: Database, broker: RedisBroker):
    with db.begin() as connection:
        mailbox(connection, organization(connection))
        connection.execute(text("UPDATE mailboxes SET state = 'paused', paused_until = now() + interval '1 hour'"))
    sweeper(db, broker).sweep()
    assert value(db, "SELECT state FROM mailboxes") == "paused"


@pytest.mark.fault("F-11")
@pytest.mark.parametrize("number", [2, 5])
def test_sweepers_at_once_take_a_lost_row_back_once(db: Database, broker: RedisBroker, number: int):
    for key in range(50):
        put(db, str(key))
    with db.begin() as connection:
        claimed(connection, lease=OVER)
    start = threading.Barrier(number)
    sweepers = [sweeper(db, broker) for _ in range(number)]

    def go(one: Sweeper) -> None:
        start.wait()
        one.sweep()

    threads = [threading.Thread(target=go, args=(one,)) for one in sweepers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counted = [
        one._metrics.registry.get_sample_value("fieldpost_reclaimed_jobs_total", {"stage": "fetch"}) or 0
        for one in sweepers
    ]
    assert sum(counted) == 50
    assert value(db, "SELECT count(*) FROM jobs WHERE state = 'ready' AND attempt = 1") == 50


def test_the_sweeper_goes_on_while_the_broker_is_away(db: Database, deaf: RedisBroker):
    put(db, delay=timedelta(milliseconds=700))
    metrics = Metrics()
    sweeping = Sweeper(db, STAGES, Bells(deaf, metrics), metrics)
    sweeping.start()
    try:
        until(lambda: value(db, "SELECT count(*) FROM jobs WHERE state = 'ready'") == 1)
    finally:
        sweeping.stop()


def test_a_database_that_is_away_for_a_sweep_does_not_end_the_sweeper(db: Database, broker: RedisBroker):
    sweeping = sweeper(db, broker)
    sweeping.start()
    try:
        rows(
            db,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        put(db)
        until(lambda: doorbells(broker) > 0)
    finally:
        sweeping.stop()


def test_a_sweep_tells_of_clocks_that_ran_out_and_counts_them(db: Database, broker: RedisBroker):
    with db.begin() as connection:
        org_id = organization(connection)
        late, near = ticket(connection, org_id), ticket(connection, org_id)
        connection.execute(
            text("""
                INSERT INTO ticket_clocks (org_id, ticket_id, kind, target, started_at, warn_at, due_at)
                SELECT :org, id, 'response', interval '1 hour', now(), now() - interval '1 minute', now() + due
                  FROM (VALUES (:late, interval '-5 seconds'), (:near, interval '1 hour')) AS t(id, due)
            """),
            {"org": org_id, "late": late, "near": near},
        )
    sweeping = sweeper(db, broker)
    sweeping.sweep()
    sweeping.sweep()
    told = rows(db, "SELECT ticket_id, kind FROM events WHERE kind LIKE 'sla.%' ORDER BY kind")
    assert [tuple(row) for row in told] == [(late, "sla.breach"), (near, "sla.warning")]
    for notice, seconds in (("breach", 5), ("warning", 60)):
        value_of = sweeping._metrics.registry.get_sample_value
        assert value_of("fieldpost_sla_notices_total", {"notice": notice}) == 1
        assert (value_of("fieldpost_sla_lag_seconds_sum", {"notice": notice}) or 0) >= seconds


def test_a_sweep_tells_of_field_work_that_is_late_and_counts_it(db: Database, broker: RedisBroker):
    desk = FieldDesk.of(db)
    late = desk.make()
    desk.change("UPDATE dispatches SET due_at = now() - interval '5 seconds' WHERE ticket_id = :id", id=late)
    sweeping = sweeper(db, broker)
    sweeping.sweep()
    sweeping.sweep()
    told = [kind for kind, _ in desk.events(late) if kind.startswith("dispatch.")]
    assert told == ["dispatch.overdue"]
    value_of = sweeping._metrics.registry.get_sample_value
    assert value_of("fieldpost_dispatch_notices_total", {"notice": "dispatch.overdue"}) == 1
    assert (value_of("fieldpost_dispatch_lag_seconds_sum", {"notice": "dispatch.overdue"}) or 0) >= 5


def test_a_sweep_tells_people_of_a_late_work_order_and_rings_for_their_pushes(db: Database, broker: RedisBroker):
    desk = WorkDesk.of(db)
    order = desk.order(WorkOrderState.ASSIGNED, "tech")
    desk.change("UPDATE work_orders SET due_at = now() - interval '1 minute' WHERE id = :id", id=order.order_id)
    sweeping = sweeper(db, broker)
    assert sweeping.sweep() == {Line("push", Lane.LIVE)}
    sweeping.sweep()
    assert value(db, "SELECT count(*) FROM notifications WHERE kind = 'WO_OVERDUE'") == 3

    def figure(name: str) -> float | None:
        return sweeping._metrics.registry.get_sample_value(f"fieldpost_work_{name}", {"notice": "overdue"})

    assert (figure("notices_total"), figure("lag_seconds_count")) == (1.0, 1.0)
