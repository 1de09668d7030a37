"""How many calls of a mailbox are under way together, across every process: session locks of the database."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from pipeline.runtime.db import Database

_TAKE = text("""
    SELECT slot FROM unnest(CAST(:slots AS int[])) AS t(slot)
     WHERE pg_try_advisory_lock(CAST(:key AS bigint) + slot) LIMIT :wanted
""")
_GIVE = text("SELECT pg_advisory_unlock(CAST(:key AS bigint) + slot) FROM unnest(CAST(:slots AS int[])) AS t(slot)")


class SlotKeeper:
    """Takes and gives back the numbered slots of mailboxes; one per process, safe to share by threads.

    All are locks of one session, so that those of a process that dies are free at once. A session may lock the same
    thing twice: what this process holds is therefore counted here.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._guard = threading.Lock()
        self._held: dict[UUID, set[int]] = defaultdict(set)
        self._connection: Connection | None = None

    def take(self, mailbox_id: UUID, slots: Sequence[int], wanted: int) -> list[int]:
        """Return up to `wanted` of the slots, now this process's own; none when all are taken. Never waits."""
        with self._guard:
            free = [slot for slot in slots if slot not in self._held[mailbox_id]]
            if not free:
                return []
            values = {"key": _key(mailbox_id), "slots": free, "wanted": wanted}
            try:
                taken = [row.slot for row in self._session().execute(_TAKE, values)]
            except DBAPIError:
                self._drop()
                raise
            self._held[mailbox_id].update(taken)
            return taken

    def give(self, mailbox_id: UUID, slots: Sequence[int]) -> None:
        """Give slots back; never raises: with the session gone they are free already."""
        with self._guard:
            self._held[mailbox_id].difference_update(slots)
            if not self._held[mailbox_id]:
                del self._held[mailbox_id]
            if self._connection is None:
                return
            try:
                self._connection.execute(_GIVE, {"key": _key(mailbox_id), "slots": list(slots)}).all()
            except DBAPIError:
                self._drop()

    def close(self) -> None:
        """End the session."""
        with self._guard:
            self._drop()

    def _session(self) -> Connection:
        if self._connection is None:
            self._connection = self._db.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()


def _key(mailbox_id: UUID) -> int:
    """Return the lock of slot 0: the random end of the id, with room for the slots."""
    return int.from_bytes(mailbox_id.bytes[8:], signed=True) & ~0xFF
