"""The ledger against a simple model: whatever happens in whatever order, no row is lost and none is claimed twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from dlq import letters
from models.enums import Cause
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.jobs import Job
from tests.factories import claimed, emit

KEYS = st.sampled_from("abcdef")
WORKERS = st.sampled_from([1, 2])


@dataclass
class Row:
    """What the model knows of one job."""

    state: str = "ready"
    attempt: int = 0
    is_wanted: bool = False


class LedgerMachine(RuleBasedStateMachine):
    """Puts, claims, settles, fails, promotes, reclaims, buries and replays, as several workers would."""

    db: Database

    @initialize()
    def empty(self) -> None:
        with self.db.begin() as connection:
            connection.execute(text("TRUNCATE jobs, dead_letters CASCADE"))
        self.model: dict[str, Row] = {}
        self.claims: list[tuple[Job, int]] = []
        self.seen: set[tuple[int, int]] = set()

    @rule(key=KEYS)
    def put(self, key: str) -> None:
        with self.db.begin() as connection:
            ledger.put(connection, [emit(key)])
        row = self.model.setdefault(key, Row())
        row.is_wanted = row.is_wanted or row.state == "running"

    @rule(worker=WORKERS, batch=st.integers(1, 4))
    def claim(self, worker: int, batch: int) -> None:
        with self.db.begin() as connection:
            jobs = claimed(connection, worker=worker, batch=batch)
        assert bool(jobs) == any(row.state == "ready" for row in self.model.values())
        for job in jobs:
            row = self.model[job.key]
            assert (row.state, row.attempt + 1) == ("ready", job.attempt)
            assert (job.job_id, job.attempt) not in self.seen
            self.seen.add((job.job_id, job.attempt))
            row.state, row.attempt, row.is_wanted = "running", job.attempt, False
            self.claims.append((job, worker))

    def _held(self, connection: Any, job: Job, worker: int) -> bool:
        """Ask the fence, and check its answer: exactly the newest claim of a running row holds it."""
        held = ledger.hold(connection, [job], worker) == {job.job_id}
        row = self.model.get(job.key)
        expected = row is not None and row.state == "running" and (job.job_id, job.attempt) == self._newest(job.key)
        assert held == expected
        return held

    def _newest(self, key: str) -> tuple[int, int]:
        return max((job.job_id, job.attempt) for job, _ in self.claims if job.key == key)

    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        """Settle any claim ever made, so also those of late twins."""
        if not self.claims:
            return
        job, worker = data.draw(st.sampled_from(self.claims))
        with self.db.begin() as connection:
            if not self._held(connection, job, worker):
                return
            ledger.settle(connection, [job.job_id])
        if self.model[job.key].is_wanted:
            self.model[job.key] = Row("ready", job.attempt)
        else:
            del self.model[job.key]

    @rule(data=st.data(), is_failure=st.booleans(), delay=st.sampled_from([0, 3600]))
    def postpone(self, data: st.DataObject, delay: int, *, is_failure: bool) -> None:
        if not self.claims:
            return
        job, worker = data.draw(st.sampled_from(self.claims))
        with self.db.begin() as connection:
            if not self._held(connection, job, worker):
                return
            ledger.postpone(connection, [ledger.Delay(job, timedelta(seconds=delay), is_failure)])
        self.model[job.key].state = "waiting" if delay == 0 else "waiting long"

    @rule()
    def promote(self) -> None:
        with self.db.begin() as connection:
            ledger.promote(connection)
        for row in self.model.values():
            row.state = "ready" if row.state == "waiting" else row.state

    @rule()
    def all_workers_die(self) -> None:
        with self.db.begin() as connection:
            connection.execute(text("UPDATE jobs SET lease_until = now() - interval '1 s' WHERE state = 'running'"))
            lost = {job.key for job in ledger.reclaim(connection, timedelta(0))}
        assert lost == {key for key, row in self.model.items() if row.state == "running"}
        for key in lost:
            self.model[key].state = "ready"

    @rule(data=st.data())
    def bury(self, data: st.DataObject) -> None:
        if not self.claims:
            return
        job, worker = data.draw(st.sampled_from(self.claims))
        with self.db.begin() as connection:
            if not self._held(connection, job, worker):
                return
            letters.bury(connection, [letters.Death(job, Cause.PERMANENT, ValueError("bad"), by_occurrence=False)])
        self.model[job.key].state = "dead"

    @rule()
    def replay(self) -> None:
        with self.db.begin() as connection:
            ids = list(connection.execute(text("SELECT id FROM dead_letters")).scalars())
            replayed = letters.replay(connection, ids, actor="test", reason="mended")
            connection.execute(text("UPDATE jobs SET lane = 'live'"))
        dead = [row for row in self.model.values() if row.state == "dead"]
        assert len(replayed.letter_ids) == len(dead)
        for row in dead:
            row.state = "ready"

    @invariant()
    def the_table_is_the_model(self) -> None:
        if not hasattr(self, "model"):
            return
        with self.db.begin() as connection:
            found = connection.execute(text("SELECT key, state, attempt FROM jobs")).all()
        expected = {(key, row.state.removesuffix(" long"), row.attempt) for key, row in self.model.items()}
        assert {(row.key, row.state, row.attempt) for row in found} == expected


def test_the_ledger_behaves_as_its_model_under_any_sequence_of_events(db: Database):
    class Machine(LedgerMachine):
        pass

    Machine.db = db
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
