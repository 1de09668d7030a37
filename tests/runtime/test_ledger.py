"""The ledger: what is put is claimed once, under a fence, and leaves only when it is settled."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models.enums import Lane
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.jobs import Job
from pipeline.runtime.ledger import Delay, Line
from tests.deploy.probes import until
from tests.factories import claimed, emit, rows, value

FETCH = Line("fetch", Lane.LIVE)
OVER = timedelta(seconds=-1)
NO_GRACE = timedelta(0)
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def put(db: Database, *keys: str, **options: object) -> set[Line]:
    with db.begin() as connection:
        return ledger.put(connection, [emit(key, **options) for key in keys])  # type: ignore[arg-type]


def claim(db: Database, **options: object) -> list[Job]:
    with db.begin() as connection:
        return claimed(connection, **options)  # type: ignore[arg-type]


def reclaim(db: Database, grace: timedelta = NO_GRACE) -> list[Job]:
    with db.begin() as connection:
        return ledger.reclaim(connection, grace)


def settle(db: Database, jobs: list[Job], worker: int = 1) -> set[Line]:
    with db.begin() as connection:
        held = ledger.hold(connection, jobs, worker)
        return ledger.settle(connection, sorted(held))


def states(db: Database) -> dict[str, str]:
    return {row.key: row.state for row in rows(db, "SELECT key, state FROM jobs")}


def test_the_same_step_put_twice_is_one_job(db: Database):
    assert put(db, "1", "1", "2") == {FETCH}
    assert put(db, "2", "3") == {FETCH}
    assert [tuple(row) for row in rows(db, "SELECT key FROM jobs ORDER BY key")] == [("1",), ("2",), ("3",)]


def test_putting_what_stands_ready_already_names_no_line(db: Database):
    put(db, "1")
    assert put(db, "1") == set()
    assert put(db) == set()


def test_a_step_put_in_a_transaction_that_rolls_back_was_never_there(db: Database):
    with pytest.raises(ZeroDivisionError), db.begin() as connection:  # noqa: PT012 - a whole transaction
        ledger.put(connection, [emit("1")])
        raise ZeroDivisionError
    assert states(db) == {}
    assert claim(db) == []


def test_a_key_that_is_too_long_is_refused(db: Database):
    with pytest.raises(DBAPIError, match="key_length"):
        put(db, "k" * 201)


def test_a_job_is_claimed_with_everything_it_was_put_with(db: Database):
    wanted = emit("42", "parse", lane=Lane.BACKFILL, place=9, mailbox_id=uuid4())
    with db.begin() as connection:
        ledger.put(connection, [wanted])
        (job,) = claimed(connection, "parse", lane=Lane.BACKFILL)
    assert (job.stage, job.key, job.lane, job.place) == ("parse", "42", Lane.BACKFILL, 9)
    assert (job.org_id, job.mailbox_id, job.trace_id) == (wanted.org_id, wanted.mailbox_id, wanted.trace_id)
    assert (job.attempt, job.failures, job.crashes, job.args) == (1, 0, 0, {})


def test_a_job_asked_for_again_while_it_runs_goes_on_after_settling(db: Database):
    put(db, "1")
    first = claim(db)
    assert put(db, "1") == set()
    assert settle(db, first) == {FETCH}
    (second,) = claim(db)
    assert (second.job_id, second.attempt) == (first[0].job_id, 2)
    assert settle(db, [second]) == set()
    assert states(db) == {}


def test_a_job_asked_for_later_while_it_runs_waits_until_then(db: Database):
    put(db, "1")
    with db.begin() as connection:
        (job,) = claimed(connection)
        ledger.put(connection, [emit("1").after(timedelta(minutes=9))])
        assert ledger.settle(connection, [job.job_id]) == set()
    assert states(db) == {"1": "waiting"}
    assert 530 < seconds_left(db) < 541


def test_of_several_who_ask_for_a_job_that_runs_the_earliest_decides(db: Database):
    put(db, "1")
    jobs = claim(db)
    for delay in (timedelta(minutes=9), timedelta(minutes=2), timedelta(minutes=5)):
        with db.begin() as connection:
            ledger.put(connection, [emit("1").after(delay)])
    assert settle(db, jobs) == set()
    assert 110 < seconds_left(db) < 121
    assert states(db) == {"1": "waiting"}


def test_a_job_asked_for_later_and_then_at_once_goes_on_at_once(db: Database):
    put(db, "1")
    jobs = claim(db)
    with db.begin() as connection:
        ledger.put(connection, [emit("1").after(timedelta(minutes=9))])
    put(db, "1")
    assert settle(db, jobs) == {FETCH}
    assert states(db) == {"1": "ready"}


def seconds_left(db: Database) -> float:
    return float(value(db, "SELECT CAST(extract(epoch FROM run_at - now()) AS float8) FROM jobs"))


def test_asking_once_more_does_not_wait_for_the_batch_that_settles(db: Database):
    put(db, "1")
    jobs = claim(db)
    with db.begin() as connection:
        held = ledger.hold(connection, jobs, worker=1)
        assert put(db, "1") == set()
        assert ledger.settle(connection, sorted(held)) == {FETCH}
    assert states(db) == {"1": "ready"}


def test_a_job_asked_for_before_it_was_claimed_does_not_run_twice(db: Database):
    put(db, "1")
    put(db, "1")
    settle(db, claim(db))
    assert states(db) == {}


def test_a_claim_takes_a_batch_of_one_line_in_order_of_places(db: Database):
    for key, place in (("c", 30), ("a", 10), ("b", 20)):
        put(db, key, place=place)
    put(db, "elsewhere", lane=Lane.BACKFILL)
    put(db, "later stage", stage="parse")
    assert [job.key for job in claim(db, batch=2)] == ["a", "b"]
    assert [job.key for job in claim(db, batch=2)] == ["c"]
    assert claim(db) == []


def test_equal_places_go_in_the_order_they_came(db: Database):
    for key in ("x", "m", "a"):
        put(db, key)
    assert [job.key for job in claim(db)] == ["x", "m", "a"]


def test_claimers_at_the_same_time_never_share_a_row(db: Database):
    put(db, *map(str, range(600)))
    start = threading.Barrier(4)

    def take(worker: int) -> list[int]:
        start.wait()
        mine: list[int] = []
        while jobs := claim(db, worker=worker, batch=7):
            mine += [job.job_id for job in jobs]
        return mine

    with ThreadPoolExecutor(4) as pool:
        taken = [job_id for mine in pool.map(take, range(1, 5)) for job_id in mine]
    # A claimer that finds every row locked stops early, so the last rows may be left for the next one.
    taken += [job.job_id for job in claim(db, batch=600)]
    assert len(taken) == len(set(taken)) == 600


def test_settled_rows_leave_the_table(db: Database):
    put(db, "1", "2", "3")
    jobs = claim(db)
    assert settle(db, jobs[:2]) == set()
    assert states(db) == {jobs[2].key: "running"}


def test_suspects_come_one_at_a_time_and_after_everyone_else(db: Database):
    put(db, "1", "2", "3")
    claim(db, lease=OVER)
    assert len(reclaim(db)) == 3
    put(db, "4", "5")
    assert {job.key for job in claim(db)} == {"4", "5"}
    assert [[job.key for job in claim(db)] for _ in range(4)] == [["1"], ["2"], ["3"], []]


def test_suspects_of_a_large_batch_come_ten_at_a_time_and_after_a_second_death_alone(db: Database):
    put(db, *map(str, range(25)))
    claim(db, lease=OVER)
    assert len(reclaim(db)) == 25
    put(db, "new")
    assert [len(claim(db, lease=OVER)) for _ in range(4)] == [1, 10, 10, 5]
    assert len(reclaim(db)) == 26
    assert [len(claim(db)) for _ in range(27)] == [*(1 for _ in range(26)), 0]
    assert rows(db, "SELECT count(*) FROM jobs WHERE crashes > 0") == [(0,)]


def test_a_late_twin_holds_nothing_after_its_rows_were_taken_back(db: Database):
    put(db, "1")
    late = claim(db, lease=OVER)
    reclaim(db)
    with db.begin() as connection:
        assert ledger.hold(connection, late, worker=1) == set()
    (fresh,) = claim(db, worker=1)
    with db.begin() as connection:
        assert ledger.hold(connection, late, worker=1) == set()
        assert ledger.hold(connection, [fresh], worker=2) == set()
        assert ledger.hold(connection, [*late, fresh], worker=1) == {fresh.job_id}


def test_a_held_row_is_not_taken_back_while_its_worker_settles_it(db: Database):
    put(db, "1")
    jobs = claim(db, lease=OVER)
    with db.begin() as connection:
        assert ledger.hold(connection, jobs, worker=1) == {jobs[0].job_id}
        assert reclaim(db) == []
        ledger.settle(connection, [jobs[0].job_id])
    assert states(db) == {}


def test_a_failure_waits_and_costs_an_attempt(db: Database):
    put(db, "1")
    with db.begin() as connection:
        (job,) = claimed(connection)
        ledger.postpone(connection, [Delay(job, timedelta(hours=1), is_failure=True, error={"text": "no"})])
        assert ledger.promote(connection) == set()
    (row,) = rows(db, "SELECT state, failures, last_error ->> 'text' AS said, lease_until, worker FROM jobs")
    assert (row.state, row.failures, row.said, row.lease_until, row.worker) == ("waiting", 1, "no", None, None)


def test_a_snooze_costs_nothing_and_keeps_the_last_error(db: Database):
    put(db, "1")
    with db.begin() as connection:
        (job,) = claimed(connection)
        ledger.postpone(connection, [Delay(job, timedelta(0), is_failure=True, error={"text": "no"})])
        assert ledger.promote(connection) == {FETCH}
        (job,) = claimed(connection)
        ledger.postpone(connection, [Delay(job, timedelta(0), is_failure=False)])
        ledger.promote(connection)
        (job,) = claimed(connection)
    assert (job.attempt, job.failures) == (3, 1)
    assert value(db, "SELECT last_error ->> 'text' FROM jobs") == "no"


def test_a_step_put_with_a_delay_is_ready_only_when_it_is_due(db: Database):
    assert put(db, "1", delay=timedelta(hours=1)) == set()
    with db.begin() as connection:
        assert ledger.promote(connection) == set()
        connection.execute(text("UPDATE jobs SET run_at = now()"))
        assert ledger.promote(connection) == {FETCH}
    assert [job.key for job in claim(db)] == ["1"]


def test_hastening_a_mailbox_makes_its_waiting_jobs_due_and_no_others(db: Database):
    mine, other = uuid4(), uuid4()
    put(db, "1", mailbox_id=mine, delay=timedelta(hours=1))
    put(db, "2", mailbox_id=other, delay=timedelta(hours=1))
    with db.begin() as connection:
        ledger.hasten(connection, mine)
        ledger.promote(connection)
    assert states(db) == {"1": "ready", "2": "waiting"}


def test_blocked_jobs_wait_for_their_mailbox_and_cost_nothing(db: Database):
    mine, other = uuid4(), uuid4()
    put(db, "1", mailbox_id=mine)
    put(db, "2", mailbox_id=other)
    with db.begin() as connection:
        ledger.block(connection, [job.job_id for job in claimed(connection)])
        ledger.promote(connection)
    assert claim(db) == []
    assert reclaim(db) == []
    with db.begin() as connection:
        assert ledger.unblock(connection, mine) == {FETCH}
    (job,) = claim(db)
    assert (job.key, job.failures, job.crashes) == ("1", 0, 0)
    assert states(db)["2"] == "blocked"


def test_what_a_stopping_worker_gives_back_is_charged_nothing(db: Database):
    put(db, "1", "2")
    put(db, "3", stage="parse")
    claim(db, worker=1, batch=1)
    claim(db, worker=1, stage="parse")
    other = claim(db, worker=2, batch=1)
    with db.begin() as connection:
        assert ledger.release(connection, 1) == {FETCH, Line("parse", Lane.LIVE)}
    assert states(db)[other[0].key] == "running"
    (job,) = claim(db)
    assert (job.attempt, job.failures, job.crashes) == (2, 0, 0)


def test_a_lease_that_is_over_is_taken_back(db: Database):
    put(db, "1", "2")
    (lost,) = claim(db, batch=1, lease=OVER, worker=1)
    with db.engine.connect() as proof:
        proof.execute(text("SELECT pg_advisory_lock(77, 1)"))
        claim(db, batch=1, worker=1)
        assert [job.job_id for job in reclaim(db)] == [lost.job_id]


def test_the_rows_of_a_worker_that_vanished_are_taken_back_before_their_lease_ends(db: Database):
    put(db, "1")
    with db.engine.connect() as proof:
        proof.execute(text("SELECT pg_advisory_lock(77, 5)"))
        claim(db, worker=5)
        assert reclaim(db) == []
        proof.invalidate()
    with db.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(77, 5)"))  # waits until the server let go of it
    assert [job.key for job in reclaim(db)] == ["1"]
    assert states(db) == {"1": "ready"}


def test_a_worker_of_another_database_on_the_server_proves_nothing(db: Database, database_url: str):
    put(db, "1")
    claim(db, worker=5)
    name = db.engine.url.database
    neighbour = Database(database_url.replace(f"/{name}", "/postgres"), "test")
    with neighbour.engine.connect() as proof:
        proof.execute(text("SELECT pg_advisory_lock(77, 5)"))
        assert [job.key for job in reclaim(db)] == ["1"]
        proof.invalidate()
    neighbour.close()


def test_nothing_is_taken_back_within_the_grace_after_a_restart(db: Database):
    put(db, "1")
    claim(db, lease=OVER)
    assert reclaim(db, timedelta(days=36_500)) == []
    assert states(db) == {"1": "running"}


def test_a_crash_is_counted_only_for_a_row_that_was_alone(db: Database):
    put(db, "1", "2")
    claim(db, lease=OVER)
    assert [job.crashes for job in reclaim(db)] == [0, 0]
    claim(db, lease=OVER)
    assert [(job.key, job.crashes) for job in reclaim(db)] == [("1", 1)]


def test_a_crash_is_not_charged_to_a_row_whose_worker_ran_something_else_beside_it(db: Database):
    put(db, "1")
    put(db, "2", stage="parse")
    claim(db, lease=OVER)
    claim(db, stage="parse", lease=OVER)
    assert [job.crashes for job in reclaim(db)] == [0, 0]


def test_a_row_that_kills_its_worker_three_times_reaches_the_limit(db: Database):
    put(db, "1")
    counts = []
    for _ in range(ledger.CRASH_LIMIT):
        claim(db, lease=OVER)
        counts += [job.crashes for job in reclaim(db)]
    assert counts == [1, 2, 3]


def test_a_suspect_that_ends_well_is_one_no_more(db: Database):
    put(db, "1")
    claim(db, lease=OVER)
    reclaim(db)
    with db.begin() as connection:
        (job,) = claimed(connection)
        ledger.postpone(connection, [Delay(job, timedelta(0), is_failure=False)])
        ledger.promote(connection)
    put(db, "2")
    assert {job.key for job in claim(db)} == {"1", "2"}


def test_renewing_pushes_only_the_leases_this_worker_holds(db: Database):
    put(db, "1", "2")
    mine, theirs = claim(db, batch=1, worker=1, lease=OVER), claim(db, batch=1, worker=2, lease=OVER)
    with db.begin() as connection:
        both = [job.job_id for job in (*mine, *theirs)]
        ledger.renew(connection, both, worker=1, lease=timedelta(hours=1))
    assert value(db, "SELECT key FROM jobs WHERE lease_until > now()") == mine[0].key


def test_renewing_does_not_wait_for_a_row_that_is_being_settled(db: Database):
    put(db, "1", "2")
    jobs = claim(db, lease=OVER)
    with db.begin() as settling, db.begin() as renewing:
        ledger.hold(settling, jobs[:1], worker=1)
        renewing.execute(text("SET LOCAL lock_timeout = '1ms'"))
        ledger.renew(renewing, [job.job_id for job in jobs], worker=1, lease=timedelta(hours=1))
    assert value(db, "SELECT key FROM jobs WHERE lease_until > now()") == jobs[1].key


def test_only_lines_with_ready_rows_are_named(db: Database):
    put(db, "1")
    put(db, "2", stage="parse", lane=Lane.BACKFILL)
    put(db, "3", stage="stitch", delay=timedelta(hours=1))
    put(db, "4", stage="unknown here")
    with db.begin() as connection:
        found = ledger.ready_lines(connection, ["fetch", "parse", "stitch"])
    assert found == {FETCH, Line("parse", Lane.BACKFILL)}


def test_a_put_that_meets_a_settling_twin_is_never_swallowed(db: Database):
    """Whoever wins, the step asked for last still runs: it goes on, or it is a new row."""
    put(db, "1")
    jobs = claim(db)
    with ThreadPoolExecutor(1) as pool:
        with db.begin() as connection:
            ledger.settle(connection, sorted(ledger.hold(connection, jobs, 1)))
            asked = pool.submit(put, db, "1")
            until(lambda: value(db, _WAITING) == 1)
        assert asked.result() == {FETCH}
    assert states(db) == {"1": "ready"}
