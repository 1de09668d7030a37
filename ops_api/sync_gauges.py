"""Gauges of mailboxes' synchronisation: states, gaps, comparisons, listings, and the breaker."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from sqlalchemy import Connection

from models.queries.comparisons import sync_pulses


def sync_gauges(connection: Connection) -> Iterator[Metric]:
    """Yield the gauges of every mailbox, by its id."""
    state = GaugeMetricFamily(
        "fieldpost_mailbox_state", "1 for the state that a mailbox is in.", labels=["mailbox", "state"]
    )
    gaps = _gauge("fieldpost_gaps_unfilled", "Gaps of a mailbox that are not filled.")
    missing = _gauge("fieldpost_missing_found", "Ids that the last comparison with the provider found missing.")
    age = _gauge("fieldpost_comparison_age_seconds", "Seconds since a mailbox was last compared with its provider.")
    listed = _gauge("fieldpost_backfill_running", "1 while a mailbox is being listed.")
    trips = _gauge("fieldpost_breaker_trips", "How often in a row a mailbox was paused because it failed.")
    for pulse in sync_pulses(connection):
        mailbox = str(pulse.mailbox_id)
        state.add_metric([mailbox, pulse.state], 1)
        gaps.add_metric([mailbox], pulse.unfilled_gaps)
        listed.add_metric([mailbox], int(pulse.is_listed))
        trips.add_metric([mailbox], pulse.trips)
        if pulse.missing is not None:
            missing.add_metric([mailbox], pulse.missing)
        if pulse.comparison_age_seconds is not None:
            age.add_metric([mailbox], pulse.comparison_age_seconds)
    yield from (state, gaps, missing, age, listed, trips)


def _gauge(name: str, about: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, about, labels=["mailbox"])
