"""The threads that answer doorbells: one crew for live mail, one for everything else, so that neither waits in line."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from dramatiq import Worker

from actors.broker import declare, make_broker
from actors.deadlines import deadline
from actors.doorbells import Poll, Silence, nothing
from models.enums import Lane
from pipeline.ports import Clock
from pipeline.runtime.ledger import Line
from pipeline.runtime.metrics import Metrics

#: Threads of each crew. Python work shares one core, so more than it takes to overlap waiting buys nothing
#: (perf-anchors, section 9); fetches that wait for their budget stand in the second crew only.
THREADS = 2
CREWS = ((Lane.LIVE,), (Lane.REPAIR, Lane.BACKFILL))
#: How often an idle thread looks for a doorbell: p50 9 ms per hop at 1 % of a core (reliability, D19).
_IDLE_MS = 20
_BOOT, _BOOT_POLL = timedelta(seconds=10), timedelta(milliseconds=5)


class Crews:
    """The crews for some lanes, each on a broker of its own; `start`, then `stop`.

    While the broker is away they answer what `poll` finds, with the same threads in the same order.
    """

    def __init__(
        self,
        url: str,
        answer: Callable[[Line], int],
        lanes: Sequence[Lane],
        clock: Clock,
        threads: int = THREADS,
        *,
        poll: Poll = nothing,
        silence: Silence | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._clock = clock
        self._workers: list[Worker] = []
        for crew in CREWS:
            if queues := {lane.value for lane in crew if lane in lanes}:
                broker = make_broker(url, poll=poll, silence=silence, metrics=metrics)
                declare(broker, answer)
                self._workers.append(Worker(broker, queues=queues, worker_timeout=_IDLE_MS, worker_threads=threads))

    def start(self) -> None:
        """Start all threads, and wait until they run: one that is told to stop before its first line never ends."""
        for worker in self._workers:
            worker.start()
        threads: list[Any] = [
            thread for worker in self._workers for thread in (*worker.workers, *worker.consumers.values())
        ]
        deadline = self._clock.monotonic() + _BOOT.total_seconds()
        while not all(thread.running for thread in threads) and self._clock.monotonic() < deadline:
            self._clock.wait(_BOOT_POLL)

    def stop(self, timeout: timedelta) -> None:
        """Let what runs finish, all crews at once; gives up waiting after `timeout`, whatever still goes on."""
        left = deadline(self._clock, timeout)
        milliseconds = {"timeout": int(timeout.total_seconds() * 1000)}
        stops = [
            threading.Thread(target=worker.stop, kwargs=milliseconds, name="stop", daemon=True)
            for worker in self._workers
        ]
        for thread in stops:
            thread.start()
        for thread in stops:  # the library waits so long for its threads, and then as long for their consumers
            thread.join(left().total_seconds())
        for worker in self._workers:
            worker.broker.close()
