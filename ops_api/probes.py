"""Whether this process can serve, and what Prometheus reads from it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from models import schema
from models.queries.strands import Kind
from ops_api import silence
from ops_api.answers import describe_for_log
from ops_api.dispatch_gauges import dispatch_gauges
from ops_api.families import FamilyReading
from ops_api.ledger_gauges import LEDGER, occurrence_gauges, single
from ops_api.scans import ARCHIVED, ArchiveScan
from ops_api.silence import Expected
from ops_api.silence_gauges import overdue_gauge, strand_gauge, unread_gauge
from ops_api.sync_gauges import sync_gauges
from pipeline.ports import Clock
from pipeline.runtime.db import Database
from pipeline.runtime.logs import get_logger

#: Scrapes within this time share one reading: a public address must not become a way to load the database.
_FRESH_SECONDS = 2.0


class HttpMetrics:
    """What the edge counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "fieldpost_http_requests",
            "Requests answered, by route template.",
            ["method", "route", "status"],
            registry=registry,
        )
        self.seconds = Histogram(
            "fieldpost_http_request_seconds",
            "Seconds from the request's head to its answer's end.",
            ["method", "route"],
            registry=registry,
        )


class Readiness:
    """Says why this process cannot serve, within a time that does not depend on the database."""

    def __init__(self, db: Database, patience: timedelta) -> None:
        self._db, self._patience = db, patience
        self._newest = schema.newest()
        # A probe that hangs keeps its thread: never more than two of them.
        self._limiter = anyio.CapacityLimiter(2)

    async def problem(self) -> str | None:
        """Return what is wrong in words, or None when requests can be served."""
        try:
            with anyio.fail_after(self._patience.total_seconds()):
                return await anyio.to_thread.run_sync(self._look, abandon_on_cancel=True, limiter=self._limiter)
        except TimeoutError:
            return "the database does not answer in time"

    def _look(self) -> str | None:
        try:
            with self._db.begin() as connection:
                found = schema.current(connection)
        except SQLAlchemyError as error:
            get_logger().warning("database.unreachable", error=describe_for_log(error))
            return "the database does not answer"
        if not schema.is_usable(found):
            return f"the database is at migration {found or 'none'} instead of {self._newest}; run `fieldpost migrate`"
        return None


class LedgerCollector(Collector):
    """The installation's gauges, read from the database at scrape. Workers' own counters live in their processes."""

    def __init__(self, db: Database, clock: Clock, expected: Expected, scan: ArchiveScan | None = None) -> None:
        self._db, self._clock, self._expected = db, clock, expected
        self._scan = scan or ArchiveScan()
        self._guard = threading.Lock()
        self._read_at: float | None = None
        self._families: list[Metric] = []

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registering must not need a database."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return every gauge that can be read; with the database away only `fieldpost_database_up 0`."""
        with self._guard:
            if self._read_at is None or self._clock.monotonic() - self._read_at >= _FRESH_SECONDS:
                self._families = self._read()
                # Who waited meanwhile shares this reading, however long it took.
                self._read_at = self._clock.monotonic()
            return list(self._families)

    def _read(self) -> list[Metric]:
        try:
            with self._db.begin() as connection:
                if schema.current(connection) is None:
                    return [_database(is_up=False)]
                return [_database(is_up=True), *self._told(FamilyReading(connection, self._clock))]
        except SQLAlchemyError as error:
            get_logger().warning("metrics.unreadable", error=describe_for_log(error))
            return [_database(is_up=False)]

    def _told(self, reading: FamilyReading) -> Iterator[Metric]:
        """Yield what can be read, the silences first: should the time not suffice, figures are missed least."""
        late = reading.read("overdue", silence.overdue)
        yield from () if late is None else (overdue_gauge(late),)
        strands = reading.read("strands", partial(silence.stranded, expected=self._expected))
        readings = reading.read("readings", partial(silence.readings, pace=self._expected.pace))
        yield from () if readings is None else (unread_gauge(readings),)
        for family, look in (*LEDGER.items(), ("sync", sync_gauges), ("dispatch", dispatch_gauges)):
            yield from reading.read(family, partial(_whole, look)) or ()
        archived = reading.read("archive", self._scan.read_on)
        told = [*(() if strands is None else set(Kind) - ARCHIVED), *(() if archived is None else ARCHIVED)]
        yield strand_gauge([*(strands or ()), *(archived or ())], told)
        yield from () if archived is None else occurrence_gauges(self._scan.occurrences)
        yield reading.gauge()


def _whole(look: Callable[[Connection], Iterable[Metric]], connection: Connection) -> list[Metric]:
    return list(look(connection))


def _database(*, is_up: bool) -> Metric:
    return single("fieldpost_database_up", "1 when the database answered and has our tables.", int(is_up))


def snapshot(registry: CollectorRegistry) -> dict[str, list[dict[str, Any]]]:
    """Return every sample as plain values, by name; for clients that ask for JSON."""
    found: dict[str, list[dict[str, Any]]] = {}
    for family in registry.collect():
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                found.setdefault(sample.name, []).append({"labels": dict(sample.labels), "value": sample.value})
    return found
