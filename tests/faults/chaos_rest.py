"""How a chaos run comes to rest, and how it asks a database that may be away at any moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from pipeline.commands import sync
from pipeline.runtime.db import Database, is_passing
from pipeline.runtime.errors import UserError
from tests.engine import _TIME_PASSES
from tests.faults.chaos_mail import Company, GmailDesks
from tests.faults.chaos_processes import now

T = TypeVar("T")
#: Nothing may stand still for so long once the faults are over, and not all of it may take longer than the second.
_STILL, _DRAIN = 90.0, 900.0
_PENDING = text("""
    SELECT stage, state, count(*) AS number FROM jobs WHERE state <> 'dead' AND stage <> 'history' GROUP BY 1, 2
""")
_UNFINISHED = text("""
    SELECT (SELECT count(*) FROM backfills WHERE state = 'running')
         + (SELECT count(*) FROM reconciles WHERE state = 'running')
         + (SELECT count(*) FROM outbound WHERE state IN ('queued', 'sending'))
         + (SELECT count(*) FROM bulks WHERE finished_at IS NULL)
""")
#: What vanished and is not told as deleted yet: the next reading of history does that.
_HISTORY = text("""
    SELECT m.sync_cursor, EXISTS (
               SELECT FROM occurrences o WHERE o.mailbox_id = m.id AND o.vanished_at IS NOT NULL
                                           AND o.deleted_at IS NULL AND o.absences >= 2) AS is_vanishing
      FROM mailboxes m WHERE m.id = :id
""")
_SEEN = text("SELECT provider_id FROM occurrences WHERE mailbox_id = :id")
_LISTING = text("SELECT EXISTS (SELECT FROM backfills WHERE mailbox_id = :id AND state = 'running')")
#: What was handed over long ago is looked up at once; only while nobody can be sending.
_SENDS_AGE = text("""
    UPDATE outbound SET handed_over_at = handed_over_at - interval '2 minutes'
     WHERE state = 'sending' AND NOT EXISTS (SELECT FROM jobs WHERE stage = 'send' AND state = 'running')
""")
_STOPPED = text("SELECT id FROM mailboxes WHERE state <> 'active'")


def patiently(db: Database, ask: Callable[[Connection], T]) -> T:
    """Ask in a transaction, again while the database is away or a mailbox's letter waits to be replayed."""
    retrying = Retrying(
        retry=retry_if_exception(_passes), stop=stop_after_delay(60), wait=wait_fixed(0.05), reraise=True
    )

    def attempt() -> T:
        with db.begin() as connection:
            return ask(connection)

    return retrying(attempt)


def _passes(error: BaseException) -> bool:
    return is_passing(error) or isinstance(error, OperationalError | UserError)


class Rest:
    """What a run knows of its mail and of what is left to do with it."""

    def __init__(self, db: Database, company: Company, desks: GmailDesks, trace: Callable[[str], None]) -> None:
        self._db, self._company, self._desks, self._trace = db, company, desks, trace

    def mailboxes(self) -> list[tuple[UUID, str]]:
        """Return every mailbox with its address."""
        return [(one, name) for side in (self._company, self._desks) for name, one in side.mailbox_ids.items()]

    def served(self, address: str) -> dict[str, str]:
        """Return the hash of the bytes behind each id that a mailbox ever named."""
        return (self._company if address in self._company.mailbox_ids else self._desks).served(address)

    def expected(self, connection: Connection, mailbox_id: UUID, address: str) -> set[str]:
        """Return the ids that must be known: all there are, and those known of what was deleted meanwhile."""
        if address in self._company.mailbox_ids:
            return set(self._company.served(address))
        known = set(connection.execute(_SEEN, {"id": mailbox_id}).scalars())
        return set(self._desks.boxes[address].ids()) | (known & self._desks.ever[address].keys())

    def come(self) -> list[str]:
        """Wait until nothing is left to do; return what is left when it does not get less."""
        began = moved = now()
        before: list[str] = []
        while left := patiently(self._db, self._left):
            self._trace(f"left: {left}")
            if left != before:
                before, moved = left, now()
            if now() - moved > _STILL or now() - began > _DRAIN:
                return [f"not at rest after {now() - began:.0f} s: {said}" for said in left[:8]]
            patiently(self._db, self._let_time_pass)
            time.sleep(0.25)
        return []

    def _let_time_pass(self, connection: Connection) -> None:
        """Let every wait be over, and open what was closed; listings that came too early are asked for again."""
        for mailbox_id in connection.execute(_STOPPED).scalars().all():
            sync.resume(connection, mailbox_id)
        for statement in _TIME_PASSES:
            connection.execute(text(statement))
        connection.execute(_SENDS_AGE)
        for mailbox_id, address in self.mailboxes():
            is_listing = connection.execute(_LISTING, {"id": mailbox_id}).scalar_one()
            if not is_listing and self._unseen(connection, mailbox_id, address):
                sync.request_backfill(connection, mailbox_id)
        for address in self._behind(connection):
            sync.request_history(connection, self._desks.mailbox_ids[address])

    def _left(self, connection: Connection) -> list[str]:
        self._desks.note_sent()
        jobs = [f"{row.number} {row.stage} jobs {row.state}" for row in connection.execute(_PENDING)]
        rows = connection.execute(_UNFINISHED).scalar_one()
        unseen = [
            f"{len(found)} ids of {address} were never seen, such as {min(found)}"
            for mailbox_id, address in self.mailboxes()
            if (found := self._unseen(connection, mailbox_id, address))
        ]
        behind = [f"changes of {address} are still to be read" for address in self._behind(connection)]
        return [*jobs, *([f"{rows} listings, comparisons, sends or wishes"] if rows else []), *unseen, *behind]

    def _behind(self, connection: Connection) -> list[str]:
        """Return the mailboxes of which a change, or the end of a message, is still to be read."""
        rows = {
            address: connection.execute(_HISTORY, {"id": mailbox_id}).one()
            for address, mailbox_id in self._desks.mailbox_ids.items()
        }
        return [
            address
            for address, row in rows.items()
            if row.is_vanishing or row.sync_cursor != str(self._desks.boxes[address].history_id)
        ]

    def _unseen(self, connection: Connection, mailbox_id: UUID, address: str) -> set[str]:
        return self.expected(connection, mailbox_id, address) - set(
            connection.execute(_SEEN, {"id": mailbox_id}).scalars()
        )
