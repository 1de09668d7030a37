"""The processes of the simulation: workers with their holdings and proof of life, who renews for them, the sweeper."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection, text

from actors.runner import Runner, Surroundings
from actors.sweeper import Sweeper
from pipeline.adapters.clock import SystemClock
from pipeline.runtime import ledger
from pipeline.runtime.db import is_passing
from pipeline.runtime.jobs import Job
from pipeline.runtime.ledger import Line
from pipeline.runtime.metrics import Metrics
from tests.faults.interleaving import Actor, Stagecraft
from tests.faults.simulated_order import Order
from tests.faults.simulated_stages import LEASE, stages

#: Two worker processes, one of them with two threads.
_THREADS = (2, 1)


def tolerant(run: Callable[[], object]) -> Callable[[], None]:
    """Let a passing error end what is run: whoever asked asks again, or the next sweep comes."""

    def attempt() -> None:
        try:
            run()
        except Exception as error:
            if not is_passing(error):
                raise

    return attempt


class Holdings:
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


class Worker:
    """A thread of a worker process: an actor that answers doorbells under the number of its process."""

    def __init__(self, order: Order, metrics: Metrics, actor: Actor, holdings: Holdings) -> None:
        self.actor, self.holdings = actor, holdings
        ports: Any = SimpleNamespace(clock=SystemClock())
        around = Surroundings(actor, ports, holdings, order.ring, metrics, lambda: False)  # type: ignore[arg-type]
        self.runner = _Runner(stages(actor, order.fate), around)

    def answer(self, line: Line) -> None:
        """Answer a doorbell; a database that is away ends it, and a sweep rings again."""
        try:
            self.runner.answer(line)
        except Exception as error:
            if not is_passing(error):
                raise


class Processes:
    """The worker processes; `own` is the connection that keeps their proofs of life."""

    def __init__(self, craft: Stagecraft, own: Connection, order: Order, metrics: Metrics) -> None:
        self._craft, self._own, self._order, self._metrics = craft, own, order, metrics
        self._number = 0
        self._threads = [[craft.actor(f"worker {n}.{of}") for of in range(size)] for n, size in enumerate(_THREADS)]
        self.workers = [worker for actors in self._threads for worker in self._process(actors)]

    def stand_again(self) -> None:
        """Start another process in the place of each whose proof of life is gone."""
        self.workers = [worker for actors in self._threads for worker in self._standing(actors)]

    def kill(self, worker: Worker) -> None:
        """End all threads of a worker's process, and start another in its place."""
        actors = next(some for some in self._threads if worker.actor in some)
        for actor in actors:
            actor.kill()
        self.lose_proof(worker)
        self.stand_again()

    def lose_proof(self, worker: Worker) -> None:
        """Let the proof of life of a worker's process go."""
        if worker.holdings.has_proof:
            worker.holdings.has_proof = False
            self._craft.note(worker.actor.name, "its proof of life is gone")
            self._own.execute(text("SELECT pg_advisory_unlock(77, :number)"), {"number": worker.holdings.worker})

    def _process(self, actors: Sequence[Actor]) -> list[Worker]:
        """Return the threads of a new worker process, whose proof of life is there from now on."""
        self._number += 1
        self._own.execute(text("SELECT pg_advisory_lock(77, :number)"), {"number": self._number})
        holdings = Holdings(self._number)
        return [Worker(self._order, self._metrics, actor, holdings) for actor in actors]

    def _standing(self, actors: Sequence[Actor]) -> list[Worker]:
        """Return the threads of a process as they are, or of a new one where its proof of life is gone."""
        found = [worker for worker in self.workers if worker.actor in actors]
        return found if found[0].holdings.has_proof else self._process(actors)


def renew(actor: Actor, holdings: Holdings) -> None:
    """Let an actor renew what a process holds."""
    actor.start(f"renews for {holdings.worker}", tolerant(partial(_renew, actor, holdings)))


def _renew(actor: Actor, holdings: Holdings) -> None:
    with actor.begin() as connection:
        ledger.renew(connection, sorted(holdings.job_ids), worker=holdings.worker, lease=LEASE)


def sweep(order: Order, metrics: Metrics, actor: Actor) -> None:
    """Let an actor sweep, and ring for what it finds."""
    bells = SimpleNamespace()
    sweeper = _Sweeper(actor, stages(actor, order.fate), bells, metrics)  # type: ignore[arg-type]
    actor.start("sweeps", tolerant(lambda: order.ring(sweeper.sweep())))
