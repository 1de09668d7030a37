"""The listener: hears of changes from a Pub/Sub subscription and from IMAP servers; any number may run."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol

from actors.idling import Idlers
from actors.verdicts import short
from pipeline.adapters.pubsub import Received, open_subscription
from pipeline.commands.push import announce
from pipeline.core import backoff
from pipeline.core.announcements import in_message
from pipeline.ports import Sources
from pipeline.runtime.db import Database
from pipeline.runtime.ledger import Line
from pipeline.runtime.logs import get_logger
from pipeline.runtime.metrics import Metrics
from pipeline.runtime.settings import Settings

Ring = Callable[[set[Line]], None]

_BATCH = 100
#: After a pull that found nothing: not every Pub/Sub waits, emulators answer at once.
_BREATH = timedelta(milliseconds=200)
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=1), timedelta(minutes=1)
#: Stopping waits this long for a pull under way; what it held comes again to somebody else.
_PATIENCE, _NUDGE = timedelta(seconds=1), timedelta(milliseconds=50)
_LONGEST_STOP = timedelta(seconds=11)


class Subscription(Protocol):
    """What is pulled from (`pipeline.adapters.pubsub`)."""

    def pull(self, limit: int) -> Sequence[Received]:
        """Wait for messages."""

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """Let messages go for ever."""

    def interrupt(self) -> None:
        """End a pull that waits, from another thread."""

    def close(self) -> None:
        """Close the connection."""


class Puller:
    """Pulls announcements and acknowledges each only when what it asks for is committed: at least once, never less."""

    def __init__(self, db: Database, subscription: Subscription, ring: Ring, metrics: Metrics) -> None:
        self._db, self._subscription, self._ring, self._metrics = db, subscription, ring, metrics
        self._stop = threading.Event()
        self._log = get_logger()
        self._thread = threading.Thread(target=self._go, name="pubsub", daemon=True)

    def start(self) -> None:
        """Begin in a thread of its own."""
        self._thread.start()

    def end(self) -> None:
        """Begin no other pull, and cut off one that waits; returns at once."""
        self._stop.set()
        self._subscription.interrupt()

    def stop(self, timeout: timedelta = _PATIENCE) -> None:
        """End within about a second; a pull that waits is cut off."""
        self._stop.set()
        for _ in range(min(timeout, _PATIENCE) // _NUDGE):
            self._subscription.interrupt()
            self._thread.join(timeout=_NUDGE.total_seconds())
            if not self._thread.is_alive():
                break
        self._subscription.close()

    def pull_once(self) -> int:
        """Take what is there, announce it, acknowledge it; return how many messages that were."""
        received = self._subscription.pull(_BATCH)
        if not received:
            return 0
        named = [in_message(one.data) for one in received]
        with self._db.begin() as connection:
            found = announce(connection, {address for address in named if address is not None})
        self._ring(set(found.lines))
        self._subscription.acknowledge([one.ack_id for one in received])
        for label, count in (("mailbox", found.known), ("unknown", found.unknown), ("nothing", named.count(None))):
            self._metrics.announcements.labels(label).inc(count)
        return len(received)

    def _go(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                pause = timedelta(0) if self.pull_once() else _BREATH
                failures = 0
            except Exception as error:  # noqa: BLE001 - whatever one pull raises, the next one comes
                if self._stop.is_set():
                    return
                failures += 1
                jitter = random.random()  # noqa: S311 - spreads retries, guards nothing
                pause = backoff.delay(failures, base=_FIRST_PAUSE, cap=_LONGEST_PAUSE, jitter=jitter / 2)
                self._log.warning("pubsub.failed", error=short(error), failures=failures)
            self._stop.wait(pause.total_seconds())


class Listener:
    """Everything one process listens to; `start`, then `stop`."""

    def __init__(self, settings: Settings, db: Database, sources: Sources, ring: Ring, metrics: Metrics) -> None:
        """Prepare; nothing connects yet. Raises `UserError` for a subscription without usable credentials."""
        subscription = open_subscription(settings)
        self._puller = None if subscription is None else Puller(db, subscription, ring, metrics)
        self._idlers = Idlers(db, sources, ring)

    def start(self) -> None:
        """Begin to listen in threads of its own."""
        if self._puller is not None:
            self._puller.start()
        self._idlers.start()

    def end(self) -> None:
        """Begin to listen to nothing else; returns at once."""
        if self._puller is not None:
            self._puller.end()
        self._idlers.end()

    def stop(self, timeout: timedelta = _LONGEST_STOP) -> None:
        """Stop listening within two seconds or so, or `timeout` when the database hangs."""
        began = time.monotonic()
        if self._puller is not None:
            self._puller.stop(timeout)
        self._idlers.stop(max(timeout - timedelta(seconds=time.monotonic() - began), timedelta(0)))
