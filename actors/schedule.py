"""The schedule: polls each mailbox at its own pace, and takes the slots of every routine; any number may run."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar

from sqlalchemy import text

from actors.schedules import READABLE, history_of
from actors.verdicts import short
from models.enums import SlotOutcome
from pipeline.core.polling import STANDARD
from pipeline.runtime import ledger, slots
from pipeline.runtime.db import Database
from pipeline.runtime.logs import get_logger
from pipeline.runtime.metrics import Metrics
from pipeline.runtime.slots import Routine, Slot

#: Moving `poll_at` is what takes a poll. The lock lets rows that refer to the mailbox be written meanwhile.
_POLL = text(f"""
    WITH due AS (
        SELECT m.id FROM mailboxes m
         WHERE {READABLE} AND m.poll_at <= now()
           AND coalesce(m.last_incremental_sync_at, '-infinity') <= now() - :pace
         ORDER BY m.poll_at LIMIT 1000 FOR NO KEY UPDATE OF m SKIP LOCKED
    )
    UPDATE mailboxes SET poll_at = now() + mailboxes.poll_interval * :scale FROM due WHERE mailboxes.id = due.id
    RETURNING mailboxes.id, mailboxes.org_id
""")  # noqa: S608 - conditions of the net below

_Found = TypeVar("_Found")


class Schedule:
    """One tick after another until stopped; `pace` is the distance between two polls of a busy mailbox."""

    def __init__(self, db: Database, pace: timedelta, routines: Sequence[Routine] = (), metrics: Metrics | None = None):
        self._db, self._pace, self._routines = db, pace, routines
        self._metrics = metrics or Metrics()
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._stop = threading.Event()
        self._log = get_logger()
        self._thread = threading.Thread(target=self._go, name="schedule", daemon=True)

    def start(self) -> None:
        """Begin in a thread of its own."""
        self._thread.start()

    def end(self) -> None:
        """Begin no other round; returns at once."""
        self._stop.set()

    def stop(self, timeout: timedelta = timedelta(seconds=10)) -> None:
        """End after the round under way; gives up waiting for it after `timeout`."""
        self.end()
        self._thread.join(timeout.total_seconds())

    def tick(self) -> None:
        """Poll and take what is due; trouble with one thing is logged, and the others go on."""
        self._guarded("poll", self.poll)
        for routine in self._guarded("look", self._due) or ():
            self._guarded(routine.name, partial(self.take, routine))

    def poll(self) -> int:
        """Ask once for the history of every mailbox that is due; return how many."""
        with self._db.begin() as connection:
            rows = connection.execute(_POLL, {"pace": self._pace, "scale": self._pace / STANDARD})
            emits = [history_of(row.id, row.org_id) for row in rows]
            ledger.put(connection, emits)
        return len(emits)

    def take(self, routine: Routine) -> list[Slot]:
        """Take the slots of one routine that are due."""
        with self._db.begin() as connection:
            taken = slots.take(connection, routine, self._name)
        for slot in taken:
            self._metrics.slots.labels(routine.name, slot.outcome.value).inc()
        if taken:
            self._tell(routine, taken)
        return taken

    def _tell(self, routine: Routine, taken: Sequence[Slot]) -> None:
        skipped = sum(slot.outcome is SlotOutcome.SKIPPED for slot in taken)
        self._log.info(
            "slots.taken",
            schedule=routine.name,
            last_at=taken[-1].slot_at.isoformat(),
            ran=len(taken) - skipped,
            skipped=skipped,
            jobs=sum(slot.jobs for slot in taken),
        )

    def _due(self) -> list[Routine]:
        with self._db.begin() as connection:
            return slots.due(connection, self._routines)

    def _guarded(self, what: str, action: Callable[[], _Found]) -> _Found | None:
        try:
            return action()
        except Exception as error:  # noqa: BLE001 - whatever one thing raises, the others go on, and it comes again
            self._log.warning("schedule.failed", what=what, error=short(error))
            return None

    def _go(self) -> None:
        pause = min(1.0, self._pace.total_seconds() / 2)
        while not self._stop.wait(pause):
            self.tick()
