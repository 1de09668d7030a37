"""Rings workers after a command has written what they should do; without it they would look within half a second."""

from __future__ import annotations

from collections.abc import Iterable

from actors.broker import Bells, make_broker
from models.enums import Lane
from pipeline.runtime.ledger import Line
from pipeline.runtime.metrics import Metrics
from pipeline.runtime.settings import Settings

BACKFILL = Line("backfill", Lane.BACKFILL)
HISTORY = Line("history", Lane.LIVE)
RECONCILE = Line("reconcile", Lane.REPAIR)


def ring(settings: Settings, lines: Iterable[Line]) -> None:
    """Ring once for each line, after the commit; a broker that is away is no error."""
    if settings.redis_url is None:
        return
    broker = make_broker(settings.redis_url)
    Bells(broker, Metrics()).ring(set(lines))
    broker.close()
