"""Gauges of what stands still: late jobs, strands, mailboxes that nobody reads.

Every kind of strand and every mailbox has its zero, so that a missing series is no silence.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from models.queries.silence import Overdue, Reading
from models.queries.strands import Kind, Strand


def overdue_gauge(overdue: Iterable[Overdue]) -> Metric:
    """Return the jobs that are later than promised."""
    late = GaugeMetricFamily(
        "fieldpost_overdue_jobs", "Jobs that are later than promised, by reason.", labels=["stage", "lane", "why"]
    )
    for found in overdue:
        late.add_metric([found.stage, found.lane.value, found.why.value], found.jobs)
    return late


def strand_gauge(strands: Iterable[Strand], kinds: Iterable[Kind]) -> Metric:
    """Return the strands of the `kinds` that were looked for."""
    stands = GaugeMetricFamily(
        "fieldpost_strands", "Things that should go on, without a job that would do it.", labels=["kind"]
    )
    counts = {strand.kind: strand.count for strand in strands}
    for kind in kinds:
        stands.add_metric([kind.value], counts.get(kind, 0))
    return stands


def unread_gauge(readings: Iterable[Reading]) -> Metric:
    """Return how long each mailbox has not been read that should have been."""
    unread = GaugeMetricFamily(
        "fieldpost_mailbox_unsynced_seconds",
        "Seconds since a mailbox was read that should have been read since; 0 while all is well.",
        labels=["mailbox"],
    )
    for reading in readings:
        unread.add_metric([str(reading.mailbox_id)], reading.seconds if reading.is_overdue else 0)
    return unread
