"""The schedule: asks for the history of every mailbox that has a cursor, again and again; any number may run."""

from __future__ import annotations

import secrets
import threading
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from models.enums import Lane
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.jobs import Emit
from pipeline.runtime.logs import get_logger

_DUE = text("""
    SELECT m.id, m.org_id FROM mailboxes m
     WHERE m.state = 'active' AND m.provider <> 'files'
       AND (m.history_id IS NOT NULL
            OR (m.last_full_sync_at IS NOT NULL
                AND NOT EXISTS (SELECT FROM backfills b WHERE b.mailbox_id = m.id AND b.state = 'running')))
       AND coalesce(m.last_incremental_sync_at, '-infinity') < now() - :interval
       AND NOT EXISTS (SELECT FROM jobs j WHERE j.stage = 'history' AND j.key = CAST(m.id AS text))
     ORDER BY m.last_incremental_sync_at NULLS FIRST LIMIT 1000
""")


class Schedule:
    """Puts a history job for each due mailbox; the ledger's unique key keeps several schedules from doubling it."""

    def __init__(self, db: Database, interval: timedelta) -> None:
        self._db, self._interval = db, interval
        self._stop = threading.Event()
        self._log = get_logger()
        self._thread = threading.Thread(target=self._go, name="schedule", daemon=True)

    def start(self) -> None:
        """Begin in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """End after the round under way."""
        self._stop.set()
        self._thread.join(timeout=10)

    def tick(self) -> int:
        """Ask once for the history of every mailbox that is due; return how many."""
        with self._db.begin() as connection:
            emits = [
                Emit("history", str(row.id), row.org_id, row.id, Lane.LIVE, 0, secrets.token_hex(16))
                for row in connection.execute(_DUE, {"interval": self._interval})
            ]
            ledger.put(connection, emits)
        return len(emits)

    def _go(self) -> None:
        pause = min(1.0, self._interval.total_seconds() / 2)
        while not self._stop.wait(pause):
            try:
                self.tick()
            except SQLAlchemyError as error:
                self._log.warning("schedule.failed", error=str(getattr(error, "orig", error)).splitlines()[0][:200])
