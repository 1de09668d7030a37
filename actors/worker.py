"""The worker process: builds everything once, answers doorbells, sweeps, and stops in order."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Sequence
from datetime import timedelta
from importlib.metadata import version
from typing import Any

from dramatiq import Worker
from prometheus_client import start_http_server

from actors.broker import Bells, declare, make_broker
from actors.holdings import Holdings
from actors.runner import Runner, Surroundings
from actors.schedule import Schedule
from actors.sweeper import Sweeper
from models.enums import Lane
from pipeline.adapters.wiring import make_ports
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError
from pipeline.runtime.ledger import Line
from pipeline.runtime.logs import get_logger
from pipeline.runtime.metrics import Metrics
from pipeline.runtime.settings import Settings
from pipeline.table import STAGES

#: Threads that answer doorbells. Python work shares one core, so more than it takes to overlap waiting buys nothing
#: (perf-anchors, section 9: not more than 2 for work; one more for what waits on the network).
THREADS = 3
#: How often an idle thread looks for a doorbell: p50 9 ms per hop at 1 % of a core (reliability, D19).
_IDLE_MS = 20
#: What is still running by then goes back to the ledger; whoever stops us may lose patience after 30 s.
_SHUTDOWN_MS = 18_000
_BOOT, _BOOT_POLL = timedelta(seconds=10), timedelta(milliseconds=5)


class WorkerProcess:
    """One worker: `start`, then `stop`; between the two it answers doorbells."""

    def __init__(self, settings: Settings, lanes: Sequence[Lane] = tuple(Lane), threads: int = THREADS) -> None:
        if settings.database_url is None or settings.redis_url is None:
            raise UserError("a worker needs FIELDPOST_DATABASE_URL and FIELDPOST_REDIS_URL; `fieldpost up` sets both")
        self._stopping = threading.Event()
        self._log = get_logger()
        self.metrics = Metrics()
        self._db = Database(settings.database_url, "worker", pool_size=threads + 4, by_index=True)
        self._broker = make_broker(settings.redis_url)
        self._bells = Bells(self._broker, self.metrics)
        self._ports = make_ports(settings, self.metrics)
        self._holdings = Holdings(self._db, version("fieldpost"))
        around = Surroundings(
            self._db, self._ports, self._holdings, self._bells.ring, self.metrics, self._stopping.is_set
        )
        self._runner = Runner(STAGES, around)
        self._sweeper = Sweeper(self._db, STAGES, self._bells, self._answer, self.metrics)
        self._schedule = Schedule(self._db, timedelta(seconds=settings.history_interval_seconds))
        declare(self._broker, self._answer)
        self._worker = Worker(
            self._broker, queues={lane.value for lane in lanes}, worker_timeout=_IDLE_MS, worker_threads=threads
        )

    def start(self) -> None:
        """Take the proof of life, then begin to answer."""
        self._holdings.start()
        self._worker.start()
        self._await_threads()
        self._sweeper.start()
        self._schedule.start()
        self._log.info("worker.started", number=self._holdings.worker)

    def stop(self) -> None:
        """Finish what runs, give back the rest uncharged, and let go of everything."""
        self._stopping.set()
        self._schedule.stop()
        self._sweeper.stop()
        self._worker.stop(timeout=_SHUTDOWN_MS)
        self._bells.ring(self._holdings.stop())
        self._ports.sources.close()
        self._broker.close()
        self._db.close()
        self._log.info("worker.stopped", number=self._holdings.worker)

    def _await_threads(self) -> None:
        """Wait until Dramatiq's threads run: one that is told to stop before its first line goes on for ever."""
        threads: list[Any] = [*self._worker.workers, *self._worker.consumers.values()]
        deadline = self._ports.clock.monotonic() + _BOOT.total_seconds()
        while not all(thread.running for thread in threads) and self._ports.clock.monotonic() < deadline:
            self._ports.clock.wait(_BOOT_POLL)

    def _answer(self, line: Line) -> int:
        if self._stopping.is_set() or line.stage not in STAGES:
            return 0
        return self._runner.answer(line)


def run(settings: Settings, lanes: Sequence[Lane] = tuple(Lane)) -> None:
    """Run one worker until SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    worker = WorkerProcess(settings, lanes)
    if settings.metrics_port is not None:
        start_http_server(settings.metrics_port, registry=worker.metrics.registry)
    calm_the_collector()
    worker.start()
    stop.wait()
    worker.stop()


def calm_the_collector() -> None:
    """Keep what was built at the start out of every collection, and collect per batch rather than per message."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
