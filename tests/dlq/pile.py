"""A pile of dead letters, and a worker by hand that lets each replayed job pass, fail once, or die again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from sqlalchemy import Row, text

from dlq import advancing, bulk_reading, bulks, letters
from dlq.bulk_reading import Bulk
from dlq.bulks import Started, Wish
from dlq.letters import Death
from dlq.reading import Which
from models.enums import BulkAction, Cause, Lane
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.errors import Permanent, Transient
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.ledger import Delay, Line
from tests.factories import mailbox, occurrence, organization, rows, value

#: The keys of its jobs mean nothing to anybody, so its letters have no order.
UNORDERED = "dispatch"
LEASE = timedelta(minutes=5)

Fate = Callable[[Job], str]

_HEAP = text("""
    WITH dead AS (
        INSERT INTO jobs (stage, key, org_id, mailbox_id, lane, state, trace_id, attempt)
        SELECT 'dispatch', :said || ' ' || n, :org, :mailbox, 'live', 'dead', :said || ' ' || n, 1
          FROM generate_series(1, :number) AS n
        RETURNING *
    )
    INSERT INTO dead_letters (job_id, org_id, mailbox_id, stage, key, lane, cause, error_class, error_text, error_group,
                              attempts, failures, crashes, trace_id, queued_at)
    SELECT id, org_id, mailbox_id, stage, key, lane, 'permanent', 'Permanent', :said, 'a heap', attempt, 1, 0, trace_id,
           created_at
      FROM dead
""")


class Pile:
    """Dead letters of one organization and mailbox."""

    def __init__(self, db: Database) -> None:
        self.db = db
        with db.begin() as connection:
            self.org_id = organization(connection)
            self.mailbox_id = mailbox(connection, self.org_id)

    def add(self, keys: int | Sequence[object], said: str = "broken", stage: str = UNORDERED) -> list[int]:
        """Bury one job per key, the first queued first; return the letters' ids in that order.

        A number of keys stands for so many new ones.
        """
        names = [f"{said} {one}" for one in range(keys)] if isinstance(keys, int) else [str(one) for one in keys]
        emits = [Emit(stage, name, self.org_id, self.mailbox_id, Lane.LIVE, 0, f"trace of {name}") for name in names]
        with self.db.begin() as connection:
            for one in emits:
                ledger.put(connection, [one])
            jobs = ledger.claim(connection, Line(stage, Lane.LIVE), batch=len(emits), worker=1, lease=LEASE)
            letters.bury(
                connection, [Death(job, Cause.PERMANENT, Permanent(said), by_occurrence=False) for job in jobs]
            )
            found = connection.execute(
                text("SELECT key, id FROM dead_letters WHERE key = ANY(:keys) AND resolution IS NULL"), {"keys": names}
            )
            ids = {row.key: row.id for row in found}
        return [ids[name] for name in names]

    def heap(self, number: int, said: str = "heap") -> None:
        """Bury so many jobs in one statement, as a flood does: what the planner knows of the tables is old."""
        with self.db.begin() as connection:
            connection.execute(_HEAP, {"number": number, "said": said, "org": self.org_id, "mailbox": self.mailbox_id})

    def add_threads(self, threads: Sequence[str | None], said: str = "broken") -> list[int]:
        """Bury one fetch per provider thread (None: no thread), the first queued first."""
        with self.db.begin() as connection:
            keys = [occurrence(connection, self.mailbox_id, thread_id=thread) for thread in threads]
        return self.add(keys, said, "fetch")

    def wish(
        self,
        action: BulkAction = BulkAction.REPLAY,
        canaries: int = 0,
        per_second: float | None = None,
        **which: object,
    ) -> Wish:
        """Return ann's wish about this organization's letters."""
        narrowed: Which = {"org_id": self.org_id, **which}  # type: ignore[typeddict-item]
        return Wish(action, narrowed, "ann", "mended", canaries=canaries, per_second=per_second)

    def start(self, wish: Wish | None = None) -> Started:
        """Begin a bulk."""
        with self.db.begin() as connection:
            return bulks.start(connection, wish or self.wish())

    def tick(self, passed: timedelta | None = None) -> set[Line]:
        """Let every bulk go on by one tick; with `passed`, exactly so long after the last one."""
        with self.db.begin() as connection:
            if passed is not None:
                connection.execute(text("UPDATE bulks SET topped_up_at = now() - :passed"), {"passed": passed})
            return advancing.advance(connection)

    def work(self, fate: Fate = lambda _: "pass", most: int = 10_000) -> list[Job]:
        """Take what was replayed and let each job "pass", "fail" once or "die"; return the jobs."""
        done: list[Job] = []
        for row in rows(self.db, "SELECT DISTINCT stage FROM jobs WHERE state = 'ready' AND lane = 'repair'"):
            with self.db.begin() as connection:
                jobs = ledger.claim(connection, Line(row.stage, Lane.REPAIR), batch=most, worker=2, lease=LEASE)
                ends = {job.job_id: fate(job) for job in jobs}
                ledger.settle(connection, [job.job_id for job in jobs if ends[job.job_id] == "pass"])
                ledger.postpone(connection, [_failed(job) for job in jobs if ends[job.job_id] == "fail"])
                letters.bury(connection, [_died(job) for job in jobs if ends[job.job_id] == "die"])
            done += jobs
        return done

    def bulk(self, started: Started) -> Bulk:
        """Return how far a bulk has come."""
        assert started.bulk_id is not None
        with self.db.begin() as connection:
            found = bulk_reading.bulk(connection, started.bulk_id)
        assert found is not None
        assert (
            found.total
            == found.waiting + found.released + found.passed + found.failed + found.skipped + found.forgotten
        )
        return found

    def items(self, started: Started) -> list[Row[tuple[object, ...]]]:
        """Return a bulk's letters in their order."""
        return rows(self.db, "SELECT * FROM bulk_items WHERE bulk_id = :id ORDER BY place", id=started.bulk_id)

    def open(self) -> list[int]:
        """Return the open letters' ids."""
        return [row.id for row in rows(self.db, "SELECT id FROM dead_letters WHERE resolution IS NULL ORDER BY id")]

    def actions(self, action: str) -> int:
        """Return how often something was done."""
        return int(value(self.db, "SELECT count(*) FROM letter_actions WHERE action = :action", action=action))

    def audit(self) -> None:
        """Every change has its row of history, and every row its change."""
        for done in ("replayed", "discarded"):
            changed = value(self.db, "SELECT count(*) FROM dead_letters WHERE resolution = :done", done=done)
            assert self.actions(done) - (self.actions("restored") if done == "discarded" else 0) == changed, done
        ended = {row.state: row.n for row in rows(self.db, "SELECT state, count(*) AS n FROM bulks GROUP BY 1")}
        assert self.actions("bulk_started") == sum(ended.values())
        for state in ("done", "stopped", "cancelled"):
            assert self.actions(f"bulk_{state}") == ended.get(state, 0), state
        assert value(self.db, "SELECT count(*) FROM letter_actions WHERE actor = '' OR reason = ''") == 0


def _failed(job: Job) -> Delay:
    error = letters.describe(Transient("not yet"), Cause.EXHAUSTED)
    return Delay(job, timedelta(hours=1), is_failure=True, error=error)


def _died(job: Job) -> Death:
    return Death(job, Cause.PERMANENT, Permanent("still broken"), by_occurrence=False)
