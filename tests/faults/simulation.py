"""Runner, sweeper, operators and the ledger in one thread, step by step, in whatever order a seed says.

`python -m tests.faults.simulation --seed 7` runs the order of one seed and prints its steps when it fails; with
`--runs 10000` it runs the seeds that follow, too. Everything is the product's own but time, which passes when the order
says so, and two small stages: each key of `first` is asked for once, has one effect, and asks for `second` of its
group, which takes up every key of the group that has none yet. Their effects go to a table without any constraint and
`first` never looks there: nothing but the protocol keeps them single.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from uuid import UUID

import structlog
from sqlalchemy import Engine, text

from actors.runner import Runner, Surroundings
from actors.sweeper import Sweeper
from deploy.local.supervisor import Supervisor
from dlq import bulks, letters
from models import schema
from models.enums import BulkAction, Lane
from pipeline.adapters.clock import SystemClock
from pipeline.runtime import ledger
from pipeline.runtime.db import Database, is_passing
from pipeline.runtime.errors import Permanent
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.ledger import Line
from pipeline.runtime.metrics import Metrics
from pipeline.stage import Again, Blocked, Stage, Work
from tests.conftest import memory
from tests.faults import mutations
from tests.faults.interleaving import Actor, Stagecraft

#: Small: faults meet each other, and a run takes milliseconds. Two worker processes, one of them with two threads.
THREADS, GROUPS, SWEEPERS, OPERATORS, PRODUCERS = (2, 1), 2, 3, 2, 2
#: So many keys are asked for at most.
_KEYS = 4
#: Turns with faults, before what is left is done in peace.
_LEAST, _MOST = 40, 90
#: More turns or rounds than this at the end mean that it never comes to rest.
_ENDLESS = 40
_LEASE, _WAIT = timedelta(seconds=60), timedelta(seconds=120)
_ORG, _MAILBOX = UUID(int=1), UUID(int=2)

#: A vacuum that shortens a table locks it whole for a moment: that is no circle.
_SET_UP = """
    CREATE UNLOGGED TABLE effects (stage text NOT NULL, key text NOT NULL, attempt int NOT NULL);
    ALTER TABLE effects SET (vacuum_truncate = off);
    ALTER TABLE jobs SET (vacuum_truncate = off);
    ALTER TABLE dead_letters SET (vacuum_truncate = off);
    ALTER TABLE letter_actions SET (vacuum_truncate = off)
"""
_CLEAN = "; ".join(
    f"DELETE FROM {table}" for table in ("effects", "letter_actions", "bulk_items", "bulks", "dead_letters", "jobs")
)
_LOAD_SECOND = text("""
    SELECT f.key FROM effects f
     WHERE f.stage = 'first' AND split_part(f.key, '/', 1) = ANY(CAST(:groups AS text[]))
       AND NOT EXISTS (SELECT FROM effects s WHERE s.stage = 'second' AND s.key = f.key)
""")
_SAVE = text("""
    INSERT INTO effects (stage, key, attempt)
    SELECT :stage, * FROM unnest(CAST(:keys AS text[]), CAST(:attempts AS int[]))
""")
_TIME_PASSES = text("""
    WITH ticking AS (
        UPDATE bulks SET topped_up_at = topped_up_at - CAST(:duration AS interval)
         WHERE id IN (SELECT id FROM bulks FOR NO KEY UPDATE SKIP LOCKED)
    ), free AS (SELECT id FROM jobs WHERE state IN ('running', 'waiting') FOR NO KEY UPDATE SKIP LOCKED)
    UPDATE jobs SET lease_until = lease_until - CAST(:duration AS interval),
                    run_at = run_at - CAST(:duration AS interval)
      FROM free WHERE jobs.id = free.id
""")
_DISCARDED = text("SELECT id FROM dead_letters WHERE resolution = 'discarded' ORDER BY id")
_OPEN = text("SELECT id FROM dead_letters WHERE resolution IS NULL ORDER BY id")
_EFFECTS = text("SELECT stage, key, count(*) AS number FROM effects GROUP BY 1, 2")
_JOBS = text("SELECT stage, key, state, attempt FROM jobs ORDER BY stage, key")
_BULKS = text("SELECT 'bulk', id, state, 0 FROM bulks WHERE finished_at IS NULL")
_BY_BULKS = text("SELECT count(*) FROM letter_actions WHERE action = 'replayed' AND bulk_id IS NOT NULL")
_LETTERS = text("SELECT stage, key, coalesce(resolution, 'open') AS resolution FROM dead_letters")


class Found(AssertionError):
    """An order of steps under which a promise does not hold; says how to run it again."""


class _Holdings:
    """What the runner asks of a process's holdings: its number and what it holds, renewed when the order says so."""

    def __init__(self, worker: int) -> None:
        self.worker, self.has_proof = worker, True
        self.job_ids: set[int] = set()

    @contextmanager
    def holding(self, jobs: Sequence[Job], _: timedelta) -> Iterator[None]:
        """Note what is held while the block runs."""
        self.job_ids |= {job.job_id for job in jobs}
        try:
            yield
        finally:
            self.job_ids -= {job.job_id for job in jobs}


class _Runner(Runner):
    """The runner; where it would sleep for a database that is away, others have their turns."""

    def _patiently(self, attempt: Callable[[], Any]) -> Any:
        while True:
            try:
                return attempt()
            except Exception as error:
                if not is_passing(error):
                    raise


class _Sweeper(Sweeper):
    """The sweeper, without budgets; it waits for locks no longer than others do."""

    def _briefly(self, what: str, let_go: Callable[[Any], set[Line]]) -> set[Line]:
        if what == "pump":
            return set()
        with self._db.begin() as connection:
            return let_go(connection)


class _Worker:
    """A thread of a worker process: an actor that answers doorbells under the number of its process."""

    def __init__(self, simulation: Simulation, actor: Actor, holdings: _Holdings) -> None:
        self.actor, self.holdings = actor, holdings
        ports: Any = SimpleNamespace(clock=SystemClock())
        ring, metrics = simulation.ring, simulation.metrics
        around = Surroundings(actor, ports, holdings, ring, metrics, lambda: False)  # type: ignore[arg-type]
        self.runner = _Runner(simulation.stages(actor), around)

    def answer(self, line: Line) -> None:
        """Answer a doorbell; a database that is away ends it, and a sweep rings again."""
        try:
            self.runner.answer(line)
        except Exception as error:
            if not is_passing(error):
                raise


class Simulation:
    """The actors on one database, for any number of runs; each run leaves it empty."""

    def __init__(self, engine: Engine) -> None:
        self._craft = Stagecraft(engine)
        self._own = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self._own.exec_driver_sql(_SET_UP)
        self._clean()
        self.metrics = Metrics()
        self._number = 0
        self._chance = random.Random()
        self._threads = [
            [self._craft.actor(f"worker {n}.{of}") for of in range(size)] for n, size in enumerate(THREADS)
        ]
        self._renewer = self._craft.actor("renewer")
        self._workers = [worker for actors in self._threads for worker in self._process(actors)]
        self._sweepers = [self._craft.actor(f"sweeper {number}") for number in range(SWEEPERS)]
        self._operators = [self._craft.actor(f"operator {number}") for number in range(OPERATORS)]
        self._producers = [self._craft.actor(f"producer {number}") for number in range(PRODUCERS)]
        self._begin(0)

    def close(self) -> None:
        """End everybody and their connections."""
        self._craft.close()
        self._own.close()

    def run(self, seed: int) -> int:
        """Run the order of one seed; return how many turns it took. Raises `Found` with its steps when it fails."""
        self._begin(seed)
        state = random.getstate()
        random.seed(seed)
        try:
            self._ask(self._producers[0])
            for _ in range(self._chance.randint(_LEAST, _MOST)):
                self._turn()
            self._finish()
            self._check()
        except Exception as error:
            again = f"python -m tests.faults.simulation --seed {seed}"
            raise Found(f"{type(error).__name__}: {error}\nsteps:\n{self._craft.trace()}\nagain: {again}") from error
        finally:
            random.setstate(state)
            self._reset()
        return self._turns

    def _process(self, actors: Sequence[Actor]) -> list[_Worker]:
        """Return the threads of a new worker process, whose proof of life is there from now on."""
        self._number += 1
        self._own.execute(text("SELECT pg_advisory_lock(77, :number)"), {"number": self._number})
        holdings = _Holdings(self._number)
        return [_Worker(self, actor, holdings) for actor in actors]

    def ring(self, lines: set[Line]) -> None:
        """Ring the doorbells of some lines."""
        self._bells += sorted(lines)

    def stages(self, actor: Actor) -> dict[str, Stage[Any, Any]]:
        """Return both stages as one worker's actor runs them."""
        first = Stage(
            name="first",
            about="has one effect and asks for its group",
            load=_load_first,
            work=partial(self._work, actor),
            save=_save_first,
            emits=("second",),
            io=True,
            batch=2,
            attempts=3,
            backoff=_WAIT,
            lease=_LEASE,
        )
        second = Stage(
            name="second",
            about="takes up what its group has not taken up",
            load=_load_second,
            work=partial(self._work, actor),
            save=_save_second,
            batch=2,
            attempts=3,
            backoff=_WAIT,
            lease=_LEASE,
        )
        return {"first": first, "second": second}

    def claimed(self, jobs: Sequence[Job]) -> None:
        """Note committed claims; AssertionError for an attempt that did not grow."""
        for job in jobs:
            before = self._attempts.get(job.job_id, 0)
            assert job.attempt > before, f"job {job.job_id} was claimed as attempt {job.attempt} after {before}"
            self._attempts[job.job_id] = job.attempt

    def _begin(self, seed: int) -> None:
        self._chance.seed(seed)
        self._craft.forget()
        # Where all are equally fast nobody is late: some orders have somebody who is overtaken by everybody.
        self._paces = dict.fromkeys((actor.name for actor in self._craft.actors), 10)
        self._paces |= {worker.actor.name: self._chance.choice((1, 5, 30)) for worker in self._workers}
        self._bells: list[Line] = []
        self._turns = 0
        self._is_peaceful = False
        self._keys = 0
        self._asked: set[str] = set()
        self._attempts: dict[int, int] = {}
        self._resolved: Counter[str] = Counter()

    def _reset(self) -> None:
        for actor in self._craft.actors:
            actor.kill()
            actor.heal()
        self._workers = [worker for actors in self._threads for worker in self._standing(actors)]
        self._clean()

    def _standing(self, actors: Sequence[Actor]) -> list[_Worker]:
        """Return the threads of a process as they are, or of a new one where its proof of life is gone."""
        found = [worker for worker in self._workers if worker.actor in actors]
        return found if found[0].holdings.has_proof else self._process(actors)

    def _clean(self) -> None:
        self._own.exec_driver_sql(_CLEAN)

    def _some_steps(self) -> list[Emit]:
        """Return one or two steps to ask for: a new first one, or the second of a group once more."""
        groups = [f"g{self._chance.randrange(GROUPS)}" for _ in range(self._chance.randint(1, 2))]
        return [self._some_step(group) for group in groups]

    def _some_step(self, group: str) -> Emit:
        if self._keys >= _KEYS or self._chance.random() < 0.4:
            return _emit("second", group)
        self._keys += 1
        return _emit("first", f"{group}/{self._keys}")

    def _turn(self) -> None:
        """Let one actor have a turn, or one thing happen."""
        self._turns += 1
        ready = self._craft.ready()
        if ready and self._chance.random() < 0.72:
            paces = [self._paces[actor.name] for actor in ready]
            self._chance.choices(ready, paces)[0].go_on()
            return
        happens, weights = zip(*self._what_may_happen(), strict=True)
        self._chance.choices(happens, weights)[0]()

    def _what_may_happen(self) -> list[tuple[Callable[[], object], int]]:
        busy = [worker for worker in self._workers if worker.actor.is_busy]
        idle = [worker for worker in self._workers if not worker.actor.is_busy]
        found: list[tuple[Callable[[], object], int]] = [(self._pass_time, 4)]
        found += [(partial(self._answer, worker), 12) for worker in idle[:1] if self._bells]
        for actors, start, weight in (
            (self._sweepers, self._sweep, 5),
            (self._operators, self._operate, 2),
            (self._producers, self._ask, 1),
        ):
            found += [(partial(start, actor), weight) for actor in actors if not actor.is_busy][:1]
        if busy:
            worker = self._chance.choice(busy)
            found += [
                (partial(self._kill, worker), 2),
                (partial(worker.actor.freeze, thaw=worker.actor.is_frozen), 4 if worker.actor.is_frozen else 2),
                (worker.actor.lose_the_next_answer, 1),
                (partial(self._lose_proof, worker), 1),
            ]
            if not self._renewer.is_busy and not worker.actor.is_frozen:
                found.append((partial(self._renew, worker.holdings), 1))
        sweeping = [actor for actor in self._sweepers if actor.is_busy]
        if sweeping:
            found.append((self._chance.choice(sweeping).kill, 1))
        open_ = [actor for actor in self._craft.actors if actor.statements]
        if open_:
            found.append((self._chance.choice(open_).cut, 1))
        if self._bells:
            found.append((self._wipe, 1))
        return found

    def _pass_time(self, duration: timedelta | None = None) -> None:
        duration = duration or timedelta(seconds=self._chance.choice([40, 200, 200]))
        self._craft.note("time", f"{duration} pass")
        self._own.execute(_TIME_PASSES, {"duration": duration})

    def _wipe(self) -> None:
        self._craft.note("broker", "wiped")
        self._bells.clear()

    def _answer(self, worker: _Worker) -> None:
        line = self._bells.pop(self._chance.randrange(len(self._bells)))
        worker.actor.start(f"answers {line.stage} in {line.lane}", partial(worker.answer, line))

    def _kill(self, worker: _Worker) -> None:
        """End all threads of a worker's process, and start another in its place."""
        actors = next(some for some in self._threads if worker.actor in some)
        for actor in actors:
            actor.kill()
        self._lose_proof(worker)
        self._workers = [one for some in self._threads for one in self._standing(some)]

    def _lose_proof(self, worker: _Worker) -> None:
        if worker.holdings.has_proof:
            worker.holdings.has_proof = False
            self._craft.note(worker.actor.name, "its proof of life is gone")
            self._own.execute(text("SELECT pg_advisory_unlock(77, :number)"), {"number": worker.holdings.worker})

    def _renew(self, holdings: _Holdings) -> None:
        self._renewer.start(f"renews for {holdings.worker}", _tolerant(partial(self._renew_for, holdings)))

    def _renew_for(self, holdings: _Holdings) -> None:
        with self._renewer.begin() as connection:
            ledger.renew(connection, sorted(holdings.job_ids), worker=holdings.worker, lease=_LEASE)

    def _sweep(self, actor: Actor) -> None:
        bells = SimpleNamespace()
        sweeper = _Sweeper(actor, self.stages(actor), bells, self.metrics)
        actor.start("sweeps", _tolerant(lambda: self.ring(sweeper.sweep())))

    def _ask(self, actor: Actor) -> None:
        steps = self._some_steps()
        said = ", ".join(f"{step.stage} {step.key}" for step in steps)
        actor.start(f"asks for {said}", _tolerant(partial(self._put_by, actor, steps)))

    def _put_by(self, actor: Actor, steps: Sequence[Emit]) -> None:
        with actor.begin() as connection:
            lines = ledger.put(connection, steps)
            actor.upon_commit(lambda: self._asked.update(step.key for step in steps if step.stage == "first"))
        self.ring(lines)

    def _operate(self, actor: Actor) -> None:
        does = [self._replay, self._discard, self._restore, self._unblock, self._begin_bulk]
        what = self._chance.choices(does, [3, 2, 1, 2, 2])[0]
        actor.start(what.__name__, _tolerant(partial(what, actor)))

    def _replay(self, actor: Actor) -> None:
        with actor.begin() as connection:
            ids = list(connection.execute(_OPEN).scalars())
            replayed = letters.replay(connection, ids, actor="operator", reason="mended")
            actor.upon_commit(lambda: self._resolved.update(replayed=len(replayed.letter_ids)))
        self.ring(set(replayed.lines))

    def _discard(self, actor: Actor) -> None:
        with actor.begin() as connection:
            ids = list(connection.execute(_OPEN).scalars())[:1]
            discarded = letters.discard(connection, ids, actor="operator", reason="not wanted")
            actor.upon_commit(lambda: self._resolved.update(discarded=len(discarded)))

    def _restore(self, actor: Actor) -> None:
        with actor.begin() as connection:
            ids = list(connection.execute(_DISCARDED).scalars())
            restored = letters.restore(connection, ids, actor="operator", reason="wanted after all")
            actor.upon_commit(lambda: self._resolved.update(discarded=-len(restored.letter_ids)))

    def _begin_bulk(self, actor: Actor) -> None:
        wish = bulks.Wish(BulkAction.REPLAY, {"org_id": _ORG}, "operator", "mended", canaries=self._chance.randrange(2))
        with actor.begin() as connection:
            bulks.start(connection, wish)

    def _unblock(self, actor: Actor) -> None:
        with actor.begin() as connection:
            lines = ledger.unblock(connection, _MAILBOX)
        self.ring(lines)

    def _work(self, actor: Actor, items: Sequence[Any], _: object) -> list[Any]:
        """Have a turn, then let most items succeed."""
        actor.turn("works")
        return [item if self._is_peaceful else self._fate(item) for item in items]

    def _fate(self, item: Any) -> Any:
        fates = (item, Again(_WAIT, "not yet"), ValueError("broken"), Permanent("never"), Blocked("a person must act"))
        return self._chance.choices(fates, [70, 8, 10, 7, 5])[0]

    def _finish(self) -> None:
        """Let everybody go on in peace until nothing is left but dead letters."""
        self._is_peaceful = True
        for actor in self._craft.actors:
            actor.heal()
        for _ in range(_ENDLESS):
            self._run_all()
            self._answer_all()
            left = {state for _, _, state, _ in self._left()}
            if not left:
                return
            if left - {"ready", "blocked"}:
                self._pass_time(timedelta(hours=1))
            if "blocked" in left:
                self._operators[0].start("unblocks", partial(self._unblock, self._operators[0]))
            if left != {"blocked"}:
                self._sweep(self._sweepers[0])
        raise AssertionError(f"never comes to rest: {self._left()}")

    def _answer_all(self) -> None:
        while self._bells:
            for worker in self._workers[: len(self._bells)]:
                self._answer(worker)
            self._run_all()

    def _run_all(self) -> None:
        while ready := self._craft.ready():
            self._turns += 1
            self._chance.choice(ready).go_on()

    def _left(self) -> list[Any]:
        jobs = [tuple(row) for row in self._own.execute(_JOBS) if row.state != "dead"]
        return jobs + [tuple(row) for row in self._own.execute(_BULKS)]

    def _check(self) -> None:
        """Compare effects, jobs and letters with what was asked for (reliability, section 6: I4, I9, I13)."""
        done = {(row.stage, row.key): row.number for row in self._own.execute(_EFFECTS)}
        dead = {(row.stage, row.key) for row in self._own.execute(_JOBS)}
        found = [tuple(row) for row in self._own.execute(_LETTERS)]
        doubled = {one: number for one, number in done.items() if number > 1}
        assert not doubled, f"effects that happened more than once: {doubled}"
        assert {(stage, key) for stage, key, resolution in found if resolution == "open"} == dead
        given_up = dead | {(stage, key) for stage, key, resolution in found if resolution == "discarded"}
        lost = {key for key in self._asked if ("first", key) not in done and ("first", key) not in given_up}
        assert not lost, f"asked for, and neither done nor given up: {sorted(lost)}"
        firsts = {key for stage, key in done if stage == "first"}
        late = {key for key in firsts if ("second", key) not in done and ("second", _group(key)) not in given_up}
        assert not late, f"first steps whose second never came: {sorted(late)}"
        counted = Counter(resolution for _, _, resolution in found if resolution != "open")
        self._resolved["replayed"] += self._own.execute(_BY_BULKS).scalar_one()
        assert counted == +self._resolved, f"letters {counted}, operators {self._resolved}"


def _group(key: str) -> str:
    return key.partition("/")[0]


def _emit(stage: str, key: str) -> Emit:
    return Emit(stage, key, _ORG, _MAILBOX, Lane.LIVE, 0, "trace")


def _load_first(_: Any, jobs: Sequence[Job]) -> dict[int, str]:
    return {job.job_id: job.key for job in jobs}


def _save_first(connection: Any, works: Sequence[Work[str, str]]) -> list[Emit]:
    keys = [work.result for work in works]
    connection.execute(_SAVE, {"stage": "first", "keys": keys, "attempts": [work.job.attempt for work in works]})
    return [_emit("second", group) for group in sorted({_group(key) for key in keys})]


def _load_second(connection: Any, jobs: Sequence[Job]) -> dict[int, list[str]]:
    keys = sorted(connection.execute(_LOAD_SECOND, {"groups": [job.key for job in jobs]}).scalars())
    found = {job.job_id: [key for key in keys if _group(key) == job.key] for job in jobs}
    return {job_id: its for job_id, its in found.items() if its}


def _save_second(connection: Any, works: Sequence[Work[list[str], list[str]]]) -> list[Emit]:
    pairs = [(key, work.job.attempt) for work in works for key in work.result]
    values = {"stage": "second", "keys": [key for key, _ in pairs], "attempts": [attempt for _, attempt in pairs]}
    connection.execute(_SAVE, values)
    return []


def _tolerant(run: Callable[[], object]) -> Callable[[], None]:
    """Let a passing error end what is run: whoever asked asks again, or the next sweep comes."""

    def attempt() -> None:
        try:
            run()
        except Exception as error:
            if not is_passing(error):
                raise

    return attempt


@contextmanager
def simulated(engine: Engine) -> Iterator[Simulation]:
    """Give the block a simulation on a migrated database that is its alone."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    simulation = Simulation(engine)
    claim, reclaim = ledger.claim, ledger.reclaim

    def watched(connection: Any, *arguments: Any, **options: Any) -> list[Job]:
        jobs = claim(connection, *arguments, **options)
        connection.upon_commit(lambda: simulation.claimed(jobs))
        return jobs

    # PostgreSQL has just been started, and the locks of these workers are there.
    at_once = partial(reclaim, grace=timedelta(0))
    try:
        with patch.object(ledger, "claim", watched), patch.object(ledger, "reclaim", at_once):
            yield simulation
    finally:
        simulation.close()
        structlog.configure(**before)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the orders of some seeds on a PostgreSQL started for it; 0 when all held, 1 with the steps of one that did
    not."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--runs", type=int, default=1, help="how many seeds")
    parser.add_argument("--mutation", choices=sorted(mutations.MUTATIONS), help="break the product in one way first")
    chosen = parser.parse_args(arguments)
    if chosen.mutation:
        mutations.apply(chosen.mutation)
    with own_database() as engine, simulated(engine) as simulation:
        try:
            print(run_many(simulation, chosen.seed, chosen.runs))
        except Found as found:
            print(found)
            return 1
    return 0


def run_many(simulation: Simulation, first: int, runs: int) -> str:
    """Run so many seeds from the first on; return how many turns they took, and how fast that was, in words."""
    started_at = time.monotonic()
    turns = sum(simulation.run(seed) for seed in range(first, first + runs))
    seconds = time.monotonic() - started_at
    return f"{runs} orders, {turns} turns, {seconds:.1f} s: {runs / seconds * 60:.0f} orders a minute"


@contextmanager
def own_database() -> Iterator[Engine]:
    """Give the block a migrated database on a server of its own."""
    folder = Path(tempfile.mkdtemp(prefix="fps-", dir=memory()))
    try:
        with Supervisor(folder / "data", durable=False) as supervisor:
            database = Database(supervisor.endpoints.database_url, "simulation", pool_size=20, by_index=True)
            with database.begin() as connection:
                schema.migrate(connection)
            yield database.engine
            database.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
