"""The sweeper: brings back what was lost, wakes what is due, rings what was missed; any number may run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, text

from actors.broker import Bells
from actors.verdicts import short
from dlq import advancing, letters
from models.enums import Cause
from pipeline.runtime import breaker, clocks, field_deadlines, ledger, order_deadlines, pump
from pipeline.runtime.db import Database
from pipeline.runtime.jobs import Job
from pipeline.runtime.ledger import CRASH_LIMIT, Line
from pipeline.runtime.logs import get_logger
from pipeline.runtime.metrics import Metrics
from pipeline.stage import Stage

#: A due row waits at most this long for a doorbell that was lost.
INTERVAL = timedelta(milliseconds=500)
#: Bulks of dead letters go on at this pace, however many sweepers there are.
_BULK_PAUSE = timedelta(milliseconds=400)
#: Letting go must not keep the next sweep waiting, nor a frozen sweeper all others.
_BRIEFLY = text("""
    SELECT set_config('statement_timeout', '5s', true), set_config('lock_timeout', '1s', true),
           set_config('idle_in_transaction_session_timeout', '5s', true)
""")


def _advance(connection: Connection) -> set[Line]:
    return advancing.advance(connection, pause=_BULK_PAUSE)


class Sweeper:
    """One sweep after another until stopped."""

    def __init__(
        self,
        db: Database,
        stages: Mapping[str, Stage[Any, Any]],
        bells: Bells,
        metrics: Metrics,
        *,
        let_go: Callable[[Connection], set[Line]] | None = None,
    ) -> None:
        self._db, self._stages, self._let_go = db, stages, let_go or pump.Pump().release
        self._bells, self._metrics = bells, metrics
        self._stop = threading.Event()
        self._log = get_logger()
        self._thread = threading.Thread(target=self._go, name="sweeper", daemon=True)

    def start(self) -> None:
        """Begin to sweep in a thread of its own."""
        self._thread.start()

    def end(self) -> None:
        """Begin no other sweep; returns at once."""
        self._stop.set()

    def stop(self, timeout: timedelta = timedelta(seconds=30)) -> None:
        """End after the sweep under way; gives up waiting for it after `timeout`."""
        self.end()
        self._thread.join(timeout.total_seconds())

    def sweep(self) -> set[Line]:
        """Reclaim, promote, resume, then let go; return the lines that have ready rows."""
        with self._db.begin() as connection:
            lost = ledger.reclaim(connection)
            dying = [job for job in lost if job.crashes >= CRASH_LIMIT]
            letters.bury(connection, [self._death(job) for job in dying])
            ledger.promote(connection)
            breaker.wake(connection)
            lines = ledger.ready_lines(connection, list(self._stages))
        for job in lost:
            self._metrics.reclaimed.labels(job.stage).inc()
        for job in dying:
            self._metrics.dead.labels(job.stage, Cause.CRASHED.value).inc()
        if lost:
            self._log.warning("jobs.reclaimed", jobs=len(lost), buried=len(dying))
        lines |= self._briefly("pump", self._let_go) | self._briefly("bulks", _advance)
        lines |= self._briefly("clocks", self._announce)
        lines |= self._briefly("deadlines", self._announce_deadlines)
        return lines | self._briefly("orders", self._announce_orders)

    def _announce(self, connection: Connection) -> set[Line]:
        """Tell of clocks that ran out, and of those that are about to."""
        told = clocks.announce(connection)
        for notice, count, lag in (
            ("warning", told.warnings, told.warning_lag),
            ("breach", told.breaches, told.breach_lag),
        ):
            if count:
                self._metrics.sla_notices.labels(notice).inc(count)
                self._metrics.sla_lag.labels(notice).observe(lag)
        return set()

    def _announce_deadlines(self, connection: Connection) -> set[Line]:
        """Tell of field work that is late, and of what will be."""
        for notice, found in field_deadlines.announce(connection).items():
            if found.told:
                self._metrics.dispatch_notices.labels(notice).inc(found.told)
                self._metrics.dispatch_lag.labels(notice).observe(found.lag)
        return set()

    def _announce_orders(self, connection: Connection) -> set[Line]:
        """Tell people of work orders that are late, and of those that will be; return the lines with pushes."""
        lines: set[Line] = set()
        for notice, found in order_deadlines.announce(connection).items():
            lines |= found.lines
            if found.told:
                self._metrics.work_notices.labels(notice).inc(found.told)
                self._metrics.work_lag.labels(notice).observe(found.lag)
        return lines

    def _briefly(self, what: str, let_go: Callable[[Connection], set[Line]]) -> set[Line]:
        """Let go what may go now; whatever that raises, everything else was swept."""
        try:
            with self._db.begin() as connection:
                connection.execute(_BRIEFLY)
                return let_go(connection)
        except Exception as error:  # noqa: BLE001 - the next sweep tries again
            self._log.warning(f"{what}.failed", error=short(error))
            return set()

    def _death(self, job: Job) -> letters.Death:
        # A newer version's worker may have claimed a stage that this version does not know.
        stage = self._stages.get(job.stage)
        return letters.Death(job, Cause.CRASHED, None, stage is not None and stage.by_occurrence)

    def _go(self) -> None:
        while not self._stop.wait(INTERVAL.total_seconds()):
            try:
                self._tick()
            except Exception as error:  # noqa: BLE001 - whatever a sweep raises, the next one comes
                self._log.warning("sweep.failed", error=short(error))

    def _tick(self) -> None:
        lines = self.sweep()
        if self._bells.was_wiped():
            self._log.warning("broker.wiped", lines=len(lines))
            self._bells.ring(lines)
        self._bells.ring_unless_enough(lines)
