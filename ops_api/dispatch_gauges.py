"""Gauges of dispatch: open field work by how its deadline stands, and how many organizations have each alert.

Every one has its zero, so that a missing series is no silence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from sqlalchemy import Connection

from models.queries import dispatch_queue
from pipeline.core.alerting import Alert
from pipeline.core.service_levels import Standing
from pipeline.runtime import alert_reading


def dispatch_gauges(connection: Connection) -> Iterator[Metric]:
    """Yield the gauges of all organizations together."""
    queued = GaugeMetricFamily(
        "fieldpost_dispatch_queue",
        "Field work that waits for somebody to come, by how its deadline stands.",
        labels=["standing"],
    )
    counts = dispatch_queue.standings(connection)
    for standing in Standing:
        queued.add_metric([standing.value], counts[standing.value])
    yield queued
    raised = GaugeMetricFamily(
        "fieldpost_dispatch_alerts", "Organizations that have an alert of dispatch now.", labels=["alert"]
    )
    standing_now = Counter(one.alert for watch in alert_reading.watch(connection).values() for one in watch.raised)
    for alert in Alert:
        raised.add_metric([alert.value], standing_now[alert])
    yield raised
