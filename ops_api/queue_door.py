"""What one process provides for queues of actions: how long one may take, and what is counted of them."""

from __future__ import annotations

from collections import Counter as Counted
from collections.abc import Iterable
from datetime import timedelta

from prometheus_client import CollectorRegistry, Counter

from pipeline.ports import Clock
from pipeline.runtime.logs import get_logger

#: Queues at once in one process; each holds a connection at a time, beside those of single requests.
QUEUES = 4
#: How long a queue's answer may take, and after how much of that no action begins any more.
DEADLINE = timedelta(seconds=30)
_SHARE = 0.5
OUTCOMES = ("done", "replayed", "refused", "dependent", "failed", "later")


class QueueDoor:
    """Safe to use from many threads."""

    def __init__(self, clock: Clock, registry: CollectorRegistry) -> None:
        self._clock, self._patience = clock, DEADLINE.total_seconds() * _SHARE
        self._actions = Counter(
            "fieldpost_offline_actions",
            "Actions of queues that phones sent, by outcome (done, replayed, refused, dependent, failed, later).",
            ["outcome"],
            registry=registry,
        )
        for outcome in OUTCOMES:
            self._actions.labels(outcome)

    def ends_at(self) -> float:
        """Return until when actions of a queue that begins now may begin, by the monotonic clock."""
        return self._clock.monotonic() + self._patience

    def is_over(self, ends_at: float) -> bool:
        """Say whether that time has come."""
        return self._clock.monotonic() >= ends_at

    def note(self, outcomes: Iterable[str]) -> None:
        """Count the actions of a queue that was answered."""
        found = Counted(outcomes)
        for outcome, many in found.items():
            self._actions.labels(outcome).inc(many)
        get_logger().info("queue.answered", **found)
