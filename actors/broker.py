"""The broker: doorbells over Dramatiq. A doorbell names a stage and a lane, never ids, and carries no facts."""

from __future__ import annotations

from collections.abc import Callable

import dramatiq
from dramatiq.middleware import TimeLimit
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from actors.doorbells import DoorbellBroker, Poll, Silence, doorbell, nothing
from actors.verdicts import short
from models.enums import Lane
from pipeline.runtime.db import is_passing
from pipeline.runtime.errors import UserError
from pipeline.runtime.ledger import Line
from pipeline.runtime.logs import get_logger
from pipeline.runtime.metrics import Metrics

#: Lower goes first among the doorbells a worker has at hand (Dramatiq's priority).
PRIORITY = {Lane.LIVE: 0, Lane.REPAIR: 10, Lane.BACKFILL: 20}
#: A doorbell's work is bounded by its stage; this is the last fence against a hang.
_TIME_LIMIT_MS = 900_000
#: More than this many doorbells of a lane waiting means that nobody needs another.
_ENOUGH = 64
#: Written once; its absence tells that the broker was wiped.
_SENTINEL = "fieldpost:sentinel"


def make_broker(
    url: str, *, poll: Poll = nothing, silence: Silence | None = None, metrics: Metrics | None = None
) -> DoorbellBroker:
    """Return a broker without Retries, AgeLimit, delays or results: the ledger owns all of these.

    Nothing waits long for it: a doorbell that is late is no better than one that the next sweep rings. While it is
    away, those who listen hear what `poll` finds. Brokers of one process share one `silence`.
    """
    try:
        client = Redis.from_url(
            url, socket_timeout=2, socket_connect_timeout=1, health_check_interval=15, retry=Retry(NoBackoff(), 0)
        )
    except ValueError as error:
        raise UserError(
            f"REDIS_URL is not usable: {error}. Expected redis://host:6379/0 or unix:///path/to.sock"
        ) from None
    return DoorbellBroker(
        client,
        poll=poll,
        silence=silence,
        metrics=metrics,
        middleware=[TimeLimit(time_limit=_TIME_LIMIT_MS)],
        heartbeat_timeout=30_000,
        maintenance_chance=100_000,
        dead_message_ttl=3_600_000,
    )


def declare(broker: DoorbellBroker, answer: Callable[[Line], int]) -> None:
    """Make one actor per lane, each on a queue of its own, all answering through `answer`."""

    def actor_for(lane: Lane) -> None:
        def ring(stage: str) -> None:
            try:
                answer(Line(stage, lane))
            except Exception as error:
                # What it could not claim waits in the ledger; a database that is away needs no traceback each time.
                if not is_passing(error):
                    raise
                get_logger().warning("doorbell.unanswered", stage=stage, lane=lane.value, error=short(error))

        declared = dramatiq.actor(actor_name=lane.value, queue_name=lane.value, priority=PRIORITY[lane], broker=broker)
        declared(ring)

    for lane in Lane:
        actor_for(lane)


class Bells:
    """Rings doorbells and notices when nobody could hear them. Losing one loses nothing: rows wait in the ledger."""

    def __init__(self, broker: DoorbellBroker, metrics: Metrics) -> None:
        self._broker, self._metrics = broker, metrics

    @property
    def are_heard(self) -> bool:
        """False while the broker is away; work is found by polling then."""
        return not self._broker.silence.is_on

    def ring(self, lines: set[Line]) -> None:
        """Ring once for each line; never raises."""
        for line in sorted(lines, key=lambda line: PRIORITY[line.lane]):
            if not self.are_heard:
                return
            self._send(line)

    def ring_unless_enough(self, lines: set[Line]) -> None:
        """Ring for lines whose queue is not already full of doorbells; used by sweepers."""
        self.ring({line for line in lines if self._waiting(line.lane) < _ENOUGH})

    def was_wiped(self) -> bool:
        """Say whether the broker forgot everything since the last look, and leave a mark for the next one."""
        try:
            return bool(self._broker.client.set(_SENTINEL, "1", nx=True))
        except RedisError:
            self._rest()
            return False

    def _waiting(self, lane: Lane) -> int:
        try:
            return int(self._broker.client.llen(f"{self._broker.namespace}:{lane.value}"))
        except RedisError:
            self._rest()
            return _ENOUGH

    def _send(self, line: Line) -> None:
        try:
            self._broker.enqueue(doorbell(line.lane.value, line.stage))
            self._metrics.doorbells.labels("rung").inc()
        except (RedisError, dramatiq.errors.BrokerConnectionError):
            self._rest()
            self._metrics.doorbells.labels("lost").inc()

    def _rest(self) -> None:
        self._broker.silence.begin()
