"""Gauges of what stands still: late jobs, strands, mailboxes that nobody reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from models.queries.silence import Overdue, Reading
from models.queries.strands import Kind, Strand


def silence_gauges(
    strands: Iterable[Strand], overdue: Iterable[Overdue], readings: Iterable[Reading]
) -> Iterator[Metric]:
    """Yield the gauges; every kind of strand and every mailbox has its zero, so that a missing series is no silence."""
    late = GaugeMetricFamily(
        "fieldpost_overdue_jobs", "Jobs that are later than promised, by reason.", labels=["stage", "lane", "why"]
    )
    for found in overdue:
        late.add_metric([found.stage, found.lane.value, found.why.value], found.jobs)
    stands = GaugeMetricFamily(
        "fieldpost_strands", "Things that should go on, without a job that would do it.", labels=["kind"]
    )
    counts = {strand.kind: strand.count for strand in strands}
    for kind in Kind:
        stands.add_metric([kind.value], counts.get(kind, 0))
    unread = GaugeMetricFamily(
        "fieldpost_mailbox_unsynced_seconds",
        "Seconds since a mailbox was read that should have been read since; 0 while all is well.",
        labels=["mailbox"],
    )
    for reading in readings:
        unread.add_metric([str(reading.mailbox_id)], reading.seconds if reading.is_overdue else 0)
    yield from (late, stands, unread)
