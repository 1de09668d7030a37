"""Gauges of the ledger and of what it is about: jobs, letters, mailboxes, workers, watches, backups, occurrences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from sqlalchemy import Connection

from models.enums import Cause, JobState, WatchState
from models.queries import overview, quarantine
from models.queries.backups import backup_slots
from models.queries.outbound import longest_wait_seconds, unfinished
from models.queries.watches import watch_pulses
from ops_api.scans import OccurrenceScan
from pipeline.runtime.ledger import WORKER_LOCK
from pipeline.table import STAGES


def single(name: str, about: str, value: float) -> Metric:
    """Return a gauge without labels."""
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


def _letters(connection: Connection) -> Iterator[Metric]:
    """Yield a figure for every stage and cause: a first one that is not zero would be no growth to Prometheus."""
    family = GaugeMetricFamily(
        "fieldpost_dead_letters_open", "Dead letters that wait for a person.", labels=["stage", "cause"]
    )
    counts = {(stage, cause): 0 for stage in STAGES for cause in Cause}
    counts |= {(found.stage, found.cause): found.letters for found in overview.open_letters(connection)}
    for (stage, cause), letters in counts.items():
        family.add_metric([stage, cause.value], letters)
    yield family


def _outbound(connection: Connection) -> Iterator[Metric]:
    family = GaugeMetricFamily("fieldpost_outbound", "Messages of ours that are not sent, by state.", labels=["state"])
    for state, messages in unfinished(connection).items():
        family.add_metric([state.value], messages)
    wait = longest_wait_seconds(connection)
    yield from (family, single("fieldpost_outbound_age_seconds", "How long the oldest one to be sent waits.", wait))


def _quarantine(connection: Connection) -> Iterator[Metric]:
    family = GaugeMetricFamily("fieldpost_quarantine_open", "Messages that wait for a person.", labels=["cause"])
    for cause, messages in quarantine.by_cause(connection).items():
        family.add_metric([cause.value], messages)
    yield family


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


def _workers(connection: Connection) -> Iterator[Metric]:
    alive = overview.workers_alive(connection, WORKER_LOCK)
    yield single("fieldpost_workers_alive", "Worker processes that hold their proof of life.", alive)


def _backups(connection: Connection) -> Iterator[Metric]:
    active = GaugeMetricFamily(
        "fieldpost_backup_slot_active", "1 while a backup receives the log of this slot.", labels=["slot"]
    )
    behind = GaugeMetricFamily(
        "fieldpost_backup_slot_behind_bytes", "Log that was written and not received yet.", labels=["slot"]
    )
    lost = GaugeMetricFamily(
        "fieldpost_backup_slot_lost", "1 when the server let go of log that was not received.", labels=["slot"]
    )
    for slot in backup_slots(connection):
        active.add_metric([slot.name], int(slot.is_active))
        lost.add_metric([slot.name], int(slot.is_lost))
        if slot.behind_bytes is not None:
            behind.add_metric([slot.name], slot.behind_bytes)
    yield from (active, behind, lost)


#: The families, most wanted first, by the name that one which cannot be read is told by.
LEDGER: Mapping[str, Callable[[Connection], Iterable[Metric]]] = MappingProxyType(
    {
        "workers": _workers,
        "letters": _letters,
        "queue": _queue,
        "mailboxes": _mailboxes,
        "outbound": _outbound,
        "quarantine": _quarantine,
        "watches": _watches,
        "backups": _backups,
    }
)


def occurrence_gauges(scan: OccurrenceScan) -> Iterator[Metric]:
    """Yield the completeness ledger in figures, once a whole pass has counted it."""
    if scan.counts is None or scan.stranded is None:
        return
    family = GaugeMetricFamily(
        "fieldpost_occurrences", "Occurrences as of the last whole pass.", labels=["mailbox", "state"]
    )
    for labels, count in sorted(scan.counts.items()):
        family.add_metric(list(labels), count)
    yield family
    yield single(
        "fieldpost_stranded_occurrences", "Occurrences with work left and no job that would do it.", scan.stranded
    )
