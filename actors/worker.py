"""The worker process: builds everything once, answers doorbells, sweeps, and stops in order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from datetime import timedelta
from importlib.metadata import version

from prometheus_client import start_http_server

from actors.broker import Bells, make_broker
from actors.crews import CREWS, THREADS, Crews
from actors.deadlines import deadline
from actors.doorbells import Polling
from actors.holdings import Holdings
from actors.listener import Listener
from actors.runner import Runner, Surroundings
from actors.schedule import Schedule
from actors.schedules import declared
from actors.sweeper import Sweeper
from models.enums import Lane
from pipeline.adapters.wiring import make_ports
from pipeline.runtime import ledger
from pipeline.runtime.collecting import calm_the_collector
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError
from pipeline.runtime.ledger import Line
from pipeline.runtime.logs import get_logger
from pipeline.runtime.metrics import Metrics
from pipeline.runtime.pump import Pump
from pipeline.runtime.settings import Settings
from pipeline.table import STAGES

#: What is still running by then goes back to the ledger; whoever stops us may lose patience after 30 s.
_SHUTDOWN, _OUT = timedelta(seconds=18), timedelta(seconds=28)
#: Connections beside those of the answering threads: meters, leases, sweeps, slots of schedules, listening.
_MORE_CONNECTIONS = 8


class WorkerProcess:
    """One worker: `start`, then `stop`; between the two it answers doorbells."""

    def __init__(self, settings: Settings, lanes: Sequence[Lane] = tuple(Lane)) -> None:
        if settings.database_url is None or settings.redis_url is None:
            raise UserError("a worker needs FIELDPOST_DATABASE_URL and FIELDPOST_REDIS_URL; `fieldpost up` sets both")
        self._stopping = threading.Event()
        self._log = get_logger()
        self.metrics = Metrics()
        self._db = Database(
            settings.database_url, "worker", pool_size=len(CREWS) * THREADS + _MORE_CONNECTIONS, by_index=True
        )
        self._broker = make_broker(settings.redis_url)
        self._bells = Bells(self._broker, self.metrics)
        self._ports = make_ports(settings, self.metrics, self._db)
        self._holdings = Holdings(self._db, version("fieldpost"))
        let_go = Pump(timedelta(seconds=settings.quota_minute_seconds)).release
        around = Surroundings(
            self._db, self._ports, self._holdings, self._bells.ring, self.metrics, self._stopping.is_set, let_go
        )
        self._runner = Runner(STAGES, around)
        self._sweeper = Sweeper(self._db, STAGES, self._bells, self.metrics, let_go=let_go)
        pace = timedelta(seconds=settings.history_interval_seconds)
        self._schedule = Schedule(self._db, pace, declared(settings), self.metrics)
        self._listener = Listener(settings, self._db, self._ports.sources, self._bells.ring, self.metrics)
        self._crews = Crews(
            settings.redis_url,
            self._answer,
            lanes,
            self._ports.clock,
            poll=Polling(self._ready),
            silence=self._broker.silence,
            metrics=self.metrics,
        )

    def start(self) -> None:
        """Take the proof of life, then begin to answer."""
        self._holdings.start()
        self._crews.start()
        self._sweeper.start()
        self._schedule.start()
        self._listener.start()
        self._log.info("worker.started", number=self._holdings.worker)

    def stop(self) -> None:
        """Finish what runs, give back the rest uncharged, and let go of everything; within 28 seconds or so.

        All are told before anybody is waited for. Those that hold nothing, and that a lock may keep, come last.
        """
        left = deadline(self._ports.clock, _OUT)
        self._stopping.set()
        helpers = (self._listener, self._schedule, self._sweeper)
        for helper in helpers:
            helper.end()
        self._crews.stop(min(_SHUTDOWN, left()))
        self._bells.ring(self._holdings.stop(left))
        for helper in helpers:
            helper.stop(left())
        self._ports.sources.close()
        self._ports.senders.close()
        self._ports.parser.close()
        self._ports.texts.close()
        self._ports.pusher.close()
        self._broker.close()
        self._db.close()
        self._log.info("worker.stopped", number=self._holdings.worker)

    def _answer(self, line: Line) -> int:
        if self._stopping.is_set() or line.stage not in STAGES:
            return 0
        return self._runner.answer(line)

    def _ready(self) -> list[tuple[str, Lane]]:
        with self._db.begin() as connection:
            return [(line.stage, line.lane) for line in ledger.ready_lines(connection, list(STAGES))]


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
    while not stop.wait(1.0):  # the kernel may hand a signal to another thread, which does not wake this one
        pass
    worker.stop()
