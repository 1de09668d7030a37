"""Dramatiq's Redis broker made to fit doorbells: they carry no facts, so junk is taken out and no failure stops it.

Left to itself, a consumer that meets something undecodable or a broken connection drops what it had at hand and rests
for three seconds; a message of a strange queue ends the thread that ran it; an acknowledgement that fails keeps its
thread for as long as the broker is away (reliability, section 1.2: D6, D9, D11). None of that is needed here.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, islice
from uuid import uuid4

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import dq_name
from redis import Redis
from redis.exceptions import RedisError

from models.enums import Lane
from pipeline.runtime.logs import get_logger
from pipeline.runtime.metrics import Metrics

#: No doorbell is longer; what is need not be decoded.
_LONGEST = 4096
#: After a failure the broker is taken to be away this long, unless somebody hears it before.
_REST_SECONDS = 4.0
#: How often the listening posts, which have nothing else to do, look whether it is back.
_PROBE_SECONDS = 0.25
#: Junk comes in heaps; the log hears of it this often.
_SAY_SECONDS = 10.0

_LANES = {lane.value: lane for lane in Lane}
_POSTS = {dq_name(lane.value) for lane in Lane}

#: Return the stages of a lane that have ready rows: how work is found while the broker is away.
Poll = Callable[[Lane], Sequence[str]]


class Silence:
    """Whether the broker is taken to be away; one for a process, so that whoever learns it tells the others."""

    def __init__(self) -> None:
        self._until = 0.0

    @property
    def is_on(self) -> bool:
        """True for a while after each failure."""
        return time.monotonic() < self._until

    def begin(self) -> None:
        """Leave the broker alone for a while."""
        self._until = time.monotonic() + _REST_SECONDS

    def end(self) -> None:
        """The broker was heard."""
        self._until = 0.0


def nothing(_: Lane) -> Sequence[str]:
    """Poll nothing: for who only rings."""
    return ()


class DoorbellBroker(RedisBroker):
    """A broker whose consumers never fail, never hold junk and, while it is away, hear the bells that polling makes."""

    def __init__(
        self, client: Redis, *, poll: Poll = nothing, silence: Silence | None = None, metrics: Metrics | None = None,
        **options: object,
    ) -> None:  # fmt: skip
        """Prepare; nothing connects yet. `options` are those of Dramatiq's broker."""
        super().__init__(client=client, **options)  # type: ignore[no-untyped-call]
        self.silence = silence or Silence()
        self._poll, self._metrics = poll, metrics
        #: Queues of which we may hold ids that nobody knows of: a reply or an acknowledgement was lost.
        self._doubtful: set[str] = set()
        self._said_at = -_SAY_SECONDS
        self._log = get_logger()

    def do_fetch(self, queue_name: str, count: int) -> list[bytes]:
        """Return up to `count` doorbells of a queue; never raises for a broker that is away."""
        if queue_name in _POSTS:
            # Nothing is ever delayed: the threads that wait for it listen whether the broker is there.
            time.sleep(_PROBE_SECONDS)
        elif self.silence.is_on:
            return self._polled(queue_name, count)
        try:
            found = self._fetched(queue_name, count)
        except RedisError as error:
            self._fell_silent(queue_name, error)
            return []
        self.silence.end()
        return found

    def do_ack(self, queue_name: str, message_id: str) -> None:
        """Forget a doorbell that was answered; one that cannot be forgotten now is later."""
        self._try("ack", queue_name, [message_id])

    def do_nack(self, queue_name: str, message_id: str) -> None:
        """Forget a doorbell that nobody could answer, too: it is no dead letter."""
        self._try("ack", queue_name, [message_id])

    def do_requeue(self, queue_name: str, *message_ids: str) -> None:
        """Put doorbells back that nobody has answered."""
        self._try("requeue", queue_name, message_ids)

    def _fetched(self, queue_name: str, count: int) -> list[bytes]:
        """Fetch until there is a doorbell or nothing at all."""
        if queue_name in self._doubtful:
            self._forget(queue_name, self.client.smembers(self._held(queue_name)))
            self._doubtful.discard(queue_name)
        while found := self._call("fetch", queue_name, count):
            good = [data for data in found if is_doorbell(data, queue_name)]
            if len(good) < len(found):
                self._take_out_junk(queue_name, len(found) - len(good))
            if good:
                return good
        return []

    def _call(self, command: str, *arguments: object) -> list[bytes]:
        found: list[bytes] = self._dispatch(command)(*arguments)  # type: ignore[no-untyped-call]
        return found

    def _polled(self, queue_name: str, count: int) -> list[bytes]:
        stages = self._poll(_LANES[queue_name]) if queue_name in _LANES else ()
        return [doorbell(queue_name, stage).encode() for stage in islice(cycle(stages), count)]

    def _try(self, command: str, queue_name: str, message_ids: Sequence[str]) -> None:
        if self.silence.is_on:
            self._doubtful.add(queue_name)
            return
        try:
            self._call(command, queue_name, *message_ids)
        except RedisError as error:
            self._fell_silent(queue_name, error)

    def _fell_silent(self, queue_name: str, error: RedisError) -> None:
        if not self.silence.is_on:
            self._log.warning("broker.silent", queue=queue_name, error=str(error)[:200])
        self._doubtful.add(queue_name)
        self.silence.begin()

    def _take_out_junk(self, queue_name: str, count: int) -> None:
        held = list(self.client.smembers(self._held(queue_name)))
        contents = self.client.hmget(self._contents(queue_name), held) if held else []
        junk = [one for one, data in zip(held, contents, strict=True) if not is_doorbell(data, queue_name)]
        self._forget(queue_name, junk)
        if self._metrics is not None:
            self._metrics.doorbells.labels("junk").inc(count)
        if time.monotonic() - self._said_at >= _SAY_SECONDS:
            self._said_at = time.monotonic()
            self._log.warning("broker.junk", queue=queue_name, messages=count)

    def _forget(self, queue_name: str, message_ids: Iterable[bytes | str]) -> None:
        """Let go of what this broker took from a queue; a row still waiting is rung for by the next sweep."""
        if ids := list(message_ids):
            self.client.hdel(self._contents(queue_name), *ids)
            self.client.srem(self._held(queue_name), *ids)

    def _held(self, queue_name: str) -> str:
        return f"{self.namespace}:__acks__.{self.broker_id}.{queue_name}"

    def _contents(self, queue_name: str) -> str:
        return f"{self.namespace}:{queue_name}.msgs"


class Polling:
    """Looks which lines are ready, for all lanes of a process at once; a lane hears of each look once.

    So many threads that find nothing to do cost one query each `pause` (seconds).
    """

    def __init__(self, look: Callable[[], Iterable[tuple[str, Lane]]], pause: float = 0.05) -> None:
        """Prepare; `look` returns stages and lanes that have ready rows."""
        self._look, self._pause = look, pause
        self._guard = threading.Lock()
        self._looked_at = float("-inf")
        self._found: dict[Lane, list[str]] = {}
        self._log = get_logger()

    def __call__(self, lane: Lane) -> Sequence[str]:
        """Return the lane's stages that have ready rows, in any order: nobody answers all of them at once."""
        with self._guard:
            if time.monotonic() - self._looked_at >= self._pause:
                self._found = self._looked()
                self._looked_at = time.monotonic()
            stages = self._found.pop(lane, [])
        random.shuffle(stages)
        return stages

    def _looked(self) -> dict[Lane, list[str]]:
        found: dict[Lane, list[str]] = {}
        try:
            for stage, lane in self._look():
                found.setdefault(lane, []).append(stage)
        except Exception as error:  # noqa: BLE001 - the database may be away, too; the next look comes soon
            self._log.debug("polling.failed", error=type(error).__name__)
        return found


def doorbell(lane: str, stage: str) -> dramatiq.Message[None]:
    """Return the doorbell for a stage's jobs in a lane."""
    options = {"redis_message_id": str(uuid4())}
    return dramatiq.Message(queue_name=lane, actor_name=lane, args=(stage,), kwargs={}, options=options)


def is_doorbell(data: bytes | None, queue_name: str) -> bool:
    """Say whether a message is one that we send: its queue's own, of one stage, not to be held back."""
    if data is None or len(data) > _LONGEST or queue_name not in _LANES:
        return False
    try:
        message = dramatiq.Message.decode(data)
        (stage,) = message.args
        known = message.options.get("redis_message_id"), stage, message.message_id
        return (
            (message.queue_name, message.actor_name, message.kwargs) == (queue_name, queue_name, {})
            and all(isinstance(one, str) for one in known)
            and "eta" not in message.options
        )
    except Exception:  # noqa: BLE001 - whatever somebody put there, it is no doorbell
        return False
