"""Whether this process can serve, and what Prometheus reads from it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import anyio
import anyio.to_thread
from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from models import schema
from ops_api import silence
from ops_api.answers import describe_for_log
from ops_api.ledger_gauges import ledger_gauges, occurrence_gauges, single
from ops_api.scans import ArchiveScan
from ops_api.silence import Expected
from ops_api.silence_gauges import silence_gauges
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
        """Return every gauge; with the database away only `fieldpost_database_up 0`."""
        with self._guard:
            now = self._clock.monotonic()
            if self._read_at is None or now - self._read_at >= _FRESH_SECONDS:
                self._families, self._read_at = self._read(), now
            return list(self._families)

    def _read(self) -> list[Metric]:
        try:
            with self._db.begin() as connection:
                families = [*ledger_gauges(connection), *sync_gauges(connection)]
                self._scan.read_on(connection)
                silent = silence.read(connection, self._expected)
        except SQLAlchemyError as error:
            get_logger().warning("metrics.unreadable", error=describe_for_log(error))
            return [single("fieldpost_database_up", "1 when the database answered this reading.", 0)]
        up = single("fieldpost_database_up", "1 when the database answered this reading.", 1)
        told = silence_gauges([*silent.strands, *self._scan.strands()], silent.overdue, silent.readings)
        return [up, *families, *occurrence_gauges(self._scan.occurrences), *told]


def snapshot(registry: CollectorRegistry) -> dict[str, list[dict[str, Any]]]:
    """Return every sample as plain values, by name; for clients that ask for JSON."""
    found: dict[str, list[dict[str, Any]]] = {}
    for family in registry.collect():
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                found.setdefault(sample.name, []).append({"labels": dict(sample.labels), "value": sample.value})
    return found
