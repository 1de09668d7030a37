"""One reading of the gauges, family by family: one that cannot be read hides no other, and is named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from sqlalchemy import Connection, text

from ops_api.answers import describe_for_log
from pipeline.ports import Clock
from pipeline.runtime.logs import get_logger

#: Prometheus gives up after 10 s, unless told otherwise. A lock that somebody holds is not waited for longer than this.
_WHOLE, _STATEMENT, _LOCK = timedelta(seconds=8), timedelta(seconds=3), timedelta(seconds=1)
_MILLISECOND = timedelta(milliseconds=1)

_LIMITS = text("""
    SELECT set_config('statement_timeout', CAST(CAST(:statement AS int) AS text), true),
           set_config('lock_timeout', CAST(CAST(:lock AS int) AS text), true)
""")

_Found = TypeVar("_Found")


class FamilyReading:
    """Reads in one transaction, each family behind a savepoint, and all of them within 8 seconds or so."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection, self._clock = connection, clock
        self._until = clock.monotonic() + _WHOLE.total_seconds()
        self._is_unreadable: dict[str, bool] = {}

    def read(self, family: str, look: Callable[[Connection], _Found]) -> _Found | None:
        """Return what `look` finds; None when it fails or no time is left. Raises when the connection is gone."""
        try:
            found = self._look(look)
        except Exception as error:  # whatever one family raises, the others are told
            if self._connection.invalidated:
                raise
            get_logger().warning("metrics.unreadable", family=family, error=describe_for_log(error))
            found = None
        self._is_unreadable[family] = found is None
        return found

    def gauge(self) -> Metric:
        """Return 1 for every family that could not be read, 0 for the others."""
        gauge = GaugeMetricFamily(
            "fieldpost_gauges_unreadable", "1 when a family of gauges could not be read.", labels=["family"]
        )
        for family, is_unreadable in self._is_unreadable.items():
            gauge.add_metric([family], int(is_unreadable))
        return gauge

    def _look(self, look: Callable[[Connection], _Found]) -> _Found:
        left = min(timedelta(seconds=self._until - self._clock.monotonic()), _STATEMENT)
        if left < _MILLISECOND:
            raise TimeoutError("no time was left for it")
        with self._connection.begin_nested():
            limits = {"statement": left // _MILLISECOND, "lock": min(left, _LOCK) // _MILLISECOND}
            self._connection.execute(_LIMITS, limits)
            return look(self._connection)
