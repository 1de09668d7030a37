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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import structlog
from sqlalchemy import Engine, text

from deploy.local.supervisor import Supervisor
from models import schema
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.jobs import Job
from pipeline.runtime.metrics import Metrics
from tests.conftest import memory
from tests.faults import mutations, simulation_check
from tests.faults.interleaving import Actor, Stagecraft
from tests.faults.simulated_order import Order
from tests.faults.simulated_people import ask, operate, unblock
from tests.faults.simulated_processes import Processes, Worker, renew, sweep

#: Small: faults meet each other, and a run takes milliseconds.
_SWEEPERS, _OPERATORS, _PRODUCERS = 3, 2, 2
#: Turns with faults, before what is left is done in peace.
_LEAST, _MOST = 40, 90
#: More turns or rounds than this at the end mean that it never comes to rest.
_ENDLESS = 40

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
_TIME_PASSES = text("""
    WITH ticking AS (
        UPDATE bulks SET topped_up_at = topped_up_at - CAST(:duration AS interval)
         WHERE id IN (SELECT id FROM bulks FOR NO KEY UPDATE SKIP LOCKED)
    ), free AS (SELECT id FROM jobs WHERE state IN ('running', 'waiting') FOR NO KEY UPDATE SKIP LOCKED)
    UPDATE jobs SET lease_until = lease_until - CAST(:duration AS interval),
                    run_at = run_at - CAST(:duration AS interval)
      FROM free WHERE jobs.id = free.id
""")


class Found(AssertionError):
    """An order of steps under which a promise does not hold; says how to run it again."""


class Simulation:
    """The actors on one database, for any number of runs; each run leaves it empty."""

    def __init__(self, engine: Engine) -> None:
        self._craft = Stagecraft(engine)
        self._own = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self._own.exec_driver_sql(_SET_UP)
        self._clean()
        self._metrics = Metrics()
        self.order = Order()
        # Dice choose among actors as they were made: made otherwise, every seed would be another order.
        self._processes = Processes(self._craft, self._own, self.order, self._metrics)
        self._renewer = self._craft.actor("renewer")
        self._sweepers = [self._craft.actor(f"sweeper {number}") for number in range(_SWEEPERS)]
        self._operators = [self._craft.actor(f"operator {number}") for number in range(_OPERATORS)]
        self._producers = [self._craft.actor(f"producer {number}") for number in range(_PRODUCERS)]
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
            ask(self.order, self._producers[0])
            for _ in range(self.order.chance.randint(_LEAST, _MOST)):
                self._turn()
            self._finish()
            simulation_check.check(self._own, self.order.asked, self.order.resolved)
        except Exception as error:
            again = f"python -m tests.faults.simulation --seed {seed}"
            raise Found(f"{type(error).__name__}: {error}\nsteps:\n{self._craft.trace()}\nagain: {again}") from error
        finally:
            random.setstate(state)
            self._reset()
        return self.order.turns

    def _begin(self, seed: int) -> None:
        self.order.begin(seed)
        self._craft.forget()
        # Where all are equally fast nobody is late: some orders have somebody who is overtaken by everybody.
        self._paces = dict.fromkeys((actor.name for actor in self._craft.actors), 10)
        self._paces |= {worker.actor.name: self.order.chance.choice((1, 5, 30)) for worker in self._processes.workers}

    def _reset(self) -> None:
        for actor in self._craft.actors:
            actor.kill()
            actor.heal()
        self._processes.stand_again()
        self._clean()

    def _clean(self) -> None:
        self._own.exec_driver_sql(_CLEAN)

    def _turn(self) -> None:
        """Let one actor have a turn, or one thing happen."""
        self.order.turns += 1
        ready = self._craft.ready()
        if ready and self.order.chance.random() < 0.72:
            paces = [self._paces[actor.name] for actor in ready]
            self.order.chance.choices(ready, paces)[0].go_on()
            return
        happens, weights = zip(*self._what_may_happen(), strict=True)
        self.order.chance.choices(happens, weights)[0]()

    def _what_may_happen(self) -> list[tuple[Callable[[], object], int]]:
        busy = [worker for worker in self._processes.workers if worker.actor.is_busy]
        idle = [worker for worker in self._processes.workers if not worker.actor.is_busy]
        found: list[tuple[Callable[[], object], int]] = [(self._pass_time, 4)]
        found += [(partial(self._answer, worker), 12) for worker in idle[:1] if self.order.bells]
        for actors, start, weight in (
            (self._sweepers, self._sweep, 5),
            (self._operators, partial(operate, self.order), 2),
            (self._producers, partial(ask, self.order), 1),
        ):
            found += [(partial(start, actor), weight) for actor in actors if not actor.is_busy][:1]
        if busy:
            worker = self.order.chance.choice(busy)
            found += [
                (partial(self._processes.kill, worker), 2),
                (partial(worker.actor.freeze, thaw=worker.actor.is_frozen), 4 if worker.actor.is_frozen else 2),
                (worker.actor.lose_the_next_answer, 1),
                (partial(self._processes.lose_proof, worker), 1),
            ]
            if not self._renewer.is_busy and not worker.actor.is_frozen:
                found.append((partial(renew, self._renewer, worker.holdings), 1))
        sweeping = [actor for actor in self._sweepers if actor.is_busy]
        if sweeping:
            found.append((self.order.chance.choice(sweeping).kill, 1))
        open_ = [actor for actor in self._craft.actors if actor.statements]
        if open_:
            found.append((self.order.chance.choice(open_).cut, 1))
        if self.order.bells:
            found.append((self._wipe, 1))
        return found

    def _pass_time(self, duration: timedelta | None = None) -> None:
        duration = duration or timedelta(seconds=self.order.chance.choice([40, 200, 200]))
        self._craft.note("time", f"{duration} pass")
        self._own.execute(_TIME_PASSES, {"duration": duration})

    def _wipe(self) -> None:
        self._craft.note("broker", "wiped")
        self.order.bells.clear()

    def _answer(self, worker: Worker) -> None:
        line = self.order.some_bell()
        worker.actor.start(f"answers {line.stage} in {line.lane}", partial(worker.answer, line))

    def _sweep(self, actor: Actor) -> None:
        sweep(self.order, self._metrics, actor)

    def _finish(self) -> None:
        """Let everybody go on in peace until nothing is left but dead letters."""
        self.order.is_peaceful = True
        for actor in self._craft.actors:
            actor.heal()
        for _ in range(_ENDLESS):
            self._run_all()
            self._answer_all()
            left = {state for _, _, state, _ in simulation_check.left(self._own)}
            if not left:
                return
            if left - {"ready", "blocked"}:
                self._pass_time(timedelta(hours=1))
            if "blocked" in left:
                unblock(self.order, self._operators[0])
            if left != {"blocked"}:
                self._sweep(self._sweepers[0])
        raise AssertionError(f"never comes to rest: {simulation_check.left(self._own)}")

    def _answer_all(self) -> None:
        while self.order.bells:
            for worker in self._processes.workers[: len(self.order.bells)]:
                self._answer(worker)
            self._run_all()

    def _run_all(self) -> None:
        while ready := self._craft.ready():
            self.order.turns += 1
            self.order.chance.choice(ready).go_on()


@contextmanager
def simulated(engine: Engine) -> Iterator[Simulation]:
    """Give the block a simulation on a migrated database that is its alone."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    simulation = Simulation(engine)
    claim, reclaim = ledger.claim, ledger.reclaim

    def watched(connection: Any, *arguments: Any, **options: Any) -> list[Job]:
        jobs = claim(connection, *arguments, **options)
        connection.upon_commit(lambda: simulation.order.claimed(jobs))
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
