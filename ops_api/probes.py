"""Whether this process can serve, and what Prometheus reads from it."""

from __future__ import annotations

import threading
from collections import Counter as Tally
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import anyio
import anyio.to_thread
from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from models import schema
from models.enums import JobState, WatchState
from models.queries import overview, quarantine
from models.queries.outbound import longest_wait_seconds, unfinished
from models.queries.watches import watch_pulses
from ops_api.answers import describe_for_log
from ops_api.sync_gauges import sync_gauges
from pipeline.ports import Clock
from pipeline.runtime.db import Database
from pipeline.runtime.ledger import WORKER_LOCK
from pipeline.runtime.logs import get_logger

#: Scrapes within this time share one reading: a public address must not become a way to load the database.
_FRESH_SECONDS = 2.0
#: Occurrences looked at per reading.
_PAGE = 20_000


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
        if found != self._newest:
            return f"the database is at migration {found or 'none'} instead of {self._newest}; run `fieldpost migrate`"
        return None


class OccurrenceScan:
    """Counts all occurrences one page per reading: exact while they fit on a page, else as of the last whole pass.

    Counting millions at every scrape would cost more than the work itself; the proof for one mailbox is
    `fieldpost audit`.
    """

    def __init__(self, page: int = _PAGE) -> None:
        self._page, self._after = page, 0
        self._counts: Tally[tuple[str, str]] = Tally()
        self._stranded = 0
        #: Of the last whole pass: by mailbox and state, and how many are stranded. None before the first.
        self.counts: Tally[tuple[str, str]] | None = None
        self.stranded: int | None = None

    def read_on(self, connection: Connection) -> None:
        """Look at the next page; at the end of a pass publish it and begin again."""
        found = overview.occurrence_page(connection, self._after, self._page)
        for count in found:
            self._counts[str(count.mailbox_id), count.state.value] += count.occurrences
            self._stranded += count.stranded
        self._after = max((count.last_id for count in found), default=self._after)
        if sum(count.occurrences for count in found) < self._page:
            self.counts, self.stranded = self._counts, self._stranded
            self._counts, self._stranded, self._after = Tally(), 0, 0


class LedgerCollector(Collector):
    """The installation's gauges, read from the database at scrape. Workers' own counters live in their processes."""

    def __init__(self, db: Database, clock: Clock, scan: OccurrenceScan | None = None) -> None:
        self._db, self._clock = db, clock
        self._scan = scan or OccurrenceScan()
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
                families = [*_queue(connection), _letters(connection), *_mailboxes(connection), _workers(connection)]
                families += [*_watches(connection), *sync_gauges(connection), _quarantine(connection)]
                families += _outbound(connection)
                self._scan.read_on(connection)
        except SQLAlchemyError as error:
            get_logger().warning("metrics.unreadable", error=describe_for_log(error))
            return [_single("fieldpost_database_up", "1 when the database answered this reading.", 0)]
        up = _single("fieldpost_database_up", "1 when the database answered this reading.", 1)
        return [up, *families, *_occurrences(self._scan)]


def _single(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(name, about, value=value)


def _queue(connection: Connection) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("fieldpost_queue_jobs", "Jobs in the ledger.", labels=["stage", "lane", "state"])
    age = GaugeMetricFamily(
        "fieldpost_queue_age_seconds", "How long the oldest ready job has been due.", labels=["stage", "lane"]
    )
    for depth in overview.queue_depths(connection):
        jobs.add_metric([depth.stage, depth.lane.value, depth.state.value], depth.jobs)
        if depth.state is JobState.READY:
            age.add_metric([depth.stage, depth.lane.value], depth.age_seconds)
    yield from (jobs, age)


def _letters(connection: Connection) -> Metric:
    family = GaugeMetricFamily(
        "fieldpost_dead_letters_open", "Dead letters that wait for a person.", labels=["stage", "cause"]
    )
    for found in overview.open_letters(connection):
        family.add_metric([found.stage, found.cause.value], found.letters)
    return family


def _outbound(connection: Connection) -> Iterator[Metric]:
    family = GaugeMetricFamily("fieldpost_outbound", "Messages of ours that are not sent, by state.", labels=["state"])
    for state, messages in unfinished(connection).items():
        family.add_metric([state.value], messages)
    wait = longest_wait_seconds(connection)
    yield from (family, _single("fieldpost_outbound_age_seconds", "How long the oldest one to be sent waits.", wait))


def _quarantine(connection: Connection) -> Metric:
    family = GaugeMetricFamily("fieldpost_quarantine_open", "Messages that wait for a person.", labels=["cause"])
    for cause, messages in quarantine.by_cause(connection).items():
        family.add_metric([cause.value], messages)
    return family


def _mailboxes(connection: Connection) -> Iterator[Metric]:
    lag = GaugeMetricFamily(
        "fieldpost_sync_lag_seconds", "Seconds since a mailbox's changes were read.", labels=["mailbox"]
    )
    up = GaugeMetricFamily(
        "fieldpost_mailbox_up", "1 while a mailbox is read; 0 when paused or not authorized.", labels=["mailbox"]
    )
    for pulse in overview.mailbox_pulses(connection):
        up.add_metric([str(pulse.mailbox_id)], int(pulse.is_up))
        if pulse.lag_seconds is not None:
            lag.add_metric([str(pulse.mailbox_id)], pulse.lag_seconds)
    yield from (lag, up)


def _watches(connection: Connection) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "fieldpost_watch_state", "1 for the state that a mailbox's watch is in.", labels=["mailbox", "state"]
    )
    expires = GaugeMetricFamily(
        "fieldpost_watch_expires_seconds", "Seconds until the provider stops announcing.", labels=["mailbox"]
    )
    push_age = GaugeMetricFamily(
        "fieldpost_push_age_seconds", "Seconds since a mailbox was last announced on.", labels=["mailbox"]
    )
    silent = GaugeMetricFamily(
        "fieldpost_watch_silent", "1 while mail is found that nobody announced.", labels=["mailbox"]
    )
    for pulse in watch_pulses(connection):
        mailbox = str(pulse.mailbox_id)
        state.add_metric([mailbox, pulse.state.value], 1)
        silent.add_metric([mailbox], int(pulse.state is WatchState.SILENT))
        if pulse.expires_in_seconds is not None:
            expires.add_metric([mailbox], pulse.expires_in_seconds)
        if pulse.push_age_seconds is not None:
            push_age.add_metric([mailbox], pulse.push_age_seconds)
    yield from (state, expires, push_age, silent)


def _workers(connection: Connection) -> Metric:
    alive = overview.workers_alive(connection, WORKER_LOCK)
    return _single("fieldpost_workers_alive", "Worker processes that hold their proof of life.", alive)


def _occurrences(scan: OccurrenceScan) -> Iterator[Metric]:
    if scan.counts is None or scan.stranded is None:
        return
    family = GaugeMetricFamily(
        "fieldpost_occurrences", "Occurrences as of the last whole pass.", labels=["mailbox", "state"]
    )
    for labels, count in sorted(scan.counts.items()):
        family.add_metric(list(labels), count)
    yield family
    yield _single(
        "fieldpost_stranded_occurrences", "Occurrences with work left and no job that would do it.", scan.stranded
    )


def snapshot(registry: CollectorRegistry) -> dict[str, list[dict[str, Any]]]:
    """Return every sample as plain values, by name; for clients that ask for JSON."""
    found: dict[str, list[dict[str, Any]]] = {}
    for family in registry.collect():
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                found.setdefault(sample.name, []).append({"labels": dict(sample.labels), "value": sample.value})
    return found
