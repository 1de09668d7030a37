"""Waits at IMAP servers for news of their mailboxes: one waiter per mailbox over all processes, by advisory locks."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from actors.verdicts import short
from models.enums import MailboxState
from pipeline.commands.push import news
from pipeline.core import backoff
from pipeline.ports import Sources
from pipeline.runtime.db import Database
from pipeline.runtime.errors import Permanent
from pipeline.runtime.ledger import Line
from pipeline.runtime.locks import LISTENER
from pipeline.runtime.logs import get_logger
from pipeline.runtime.mailboxes import load_mailboxes

#: Waiters of one process: each is a thread and a connection to a mail server.
MOST = 20
_ROUND = timedelta(seconds=2)
#: Between two looks at the mailbox's row; the source may keep its own connection open longer.
_TURN = timedelta(minutes=1)
#: Between two waits: what comes within it makes one job anyway, and a source that does not wait makes no storm.
_BREATH = timedelta(milliseconds=500)
_FIRST_REST, _LONGEST_REST = timedelta(seconds=2), timedelta(minutes=5)
#: A server that cannot be waited on is tried again this much later: it may have learnt to.
_DEAF_REST = timedelta(hours=1)
_PATIENCE = timedelta(seconds=1)

_MAILBOXES = text("""
    SELECT id FROM mailboxes WHERE provider = 'imap' AND state = 'active' AND sync_cursor IS NOT NULL ORDER BY id
""")
#: Locks that went with their connection are noticed by it.
_ALIVE = text("SELECT 1")
_LOCK = text(f"SELECT pg_try_advisory_lock({LISTENER}, hashtext(CAST(:id AS text)))")
_UNLOCK = text(f"SELECT pg_advisory_unlock({LISTENER}, hashtext(CAST(:id AS text)))")


@dataclass
class _Waiter:
    """One mailbox that is waited on by a thread of this process."""

    mailbox_id: UUID
    stop: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None
    has_waited: bool = False
    thread: threading.Thread | None = None

    @property
    def has_ended(self) -> bool:
        return self.thread is not None and not self.thread.is_alive()


@dataclass
class _Rest:
    """A mailbox that is left alone until a monotonic time, after so many failures in a row."""

    until: float
    failures: int


class Idlers:
    """Keeps up to `most` waiters, for the mailboxes that no other process waits on."""

    def __init__(self, db: Database, sources: Sources, ring: Callable[[set[Line]], None], *, most: int = MOST) -> None:
        self._db, self._sources, self._ring, self._most = db, sources, ring, most
        self._waiters: dict[UUID, _Waiter] = {}
        self._rests: dict[UUID, _Rest] = {}
        self._locks: Connection | None = None
        self._stop = threading.Event()
        self._log = get_logger()
        self._thread = threading.Thread(target=self._go, name="idlers", daemon=True)

    @property
    def waited_on(self) -> set[UUID]:
        """The mailboxes this process waits on."""
        return {one for one, waiter in list(self._waiters.items()) if not waiter.has_ended}

    def start(self) -> None:
        """Begin in a thread of its own."""
        self._thread.start()

    def end(self) -> None:
        """Begin no other wait; returns at once."""
        self._stop.set()

    def stop(self, timeout: timedelta = timedelta(seconds=10)) -> None:
        """End within about a second, or `timeout` when the database hangs.

        A wait under way is left to end by itself, and has no effect any more.
        """
        self.end()
        until = time.monotonic() + timeout.total_seconds()
        self._thread.join(timeout.total_seconds())
        waiters = list(self._waiters.values())
        for waiter in waiters:
            waiter.stop.set()
        deadline = min(until, time.monotonic() + _PATIENCE.total_seconds())
        for waiter in waiters:
            if waiter.thread is not None:
                waiter.thread.join(timeout=max(0.0, deadline - time.monotonic()))
        self._drop_locks()

    def tend(self) -> None:
        """Let go of waiters that ended, and take mailboxes that nobody waits on."""
        with self._db.begin() as connection:
            wanted = list(connection.execute(_MAILBOXES).scalars())
        self._bury()
        if not wanted and not self._waiters:
            return
        locks = self._locked_connection()
        locks.execute(_ALIVE)
        for mailbox_id in wanted:
            if len(self._waiters) >= self._most:
                return
            if mailbox_id not in self._waiters and not self._rests_still(mailbox_id) and _try(locks, mailbox_id):
                self._begin(mailbox_id)

    def _go(self) -> None:
        while not self._stop.is_set():
            try:
                self.tend()
            except Exception as error:  # noqa: BLE001 - whatever one round raises, the next one comes
                self._log.warning("idlers.failed", error=short(error))
                self._drop_locks()
            self._stop.wait(_ROUND.total_seconds())

    def _begin(self, mailbox_id: UUID) -> None:
        waiter = _Waiter(mailbox_id)
        waiter.thread = threading.Thread(target=self._wait, args=(waiter,), name=f"idle-{mailbox_id}", daemon=True)
        self._waiters[mailbox_id] = waiter
        waiter.thread.start()

    def _bury(self) -> None:
        for mailbox_id, waiter in [(one, waiter) for one, waiter in self._waiters.items() if waiter.has_ended]:
            if self._locks is not None:
                self._locks.execute(_UNLOCK, {"id": mailbox_id})
            del self._waiters[mailbox_id]
            if waiter.error is not None:
                self._rest(waiter)
            else:
                self._rests.pop(mailbox_id, None)

    def _rest(self, waiter: _Waiter) -> None:
        before = self._rests.get(waiter.mailbox_id)
        failures = 1 if before is None or waiter.has_waited else before.failures + 1
        if isinstance(waiter.error, Permanent):
            pause = _DEAF_REST
        else:
            jitter = random.random()  # noqa: S311 - spreads retries, guards nothing
            pause = backoff.delay(failures, base=_FIRST_REST, cap=_LONGEST_REST, jitter=jitter / 2)
        self._rests[waiter.mailbox_id] = _Rest(time.monotonic() + pause.total_seconds(), failures)
        self._log.warning("idle.failed", mailbox=str(waiter.mailbox_id), error=short(waiter.error), failures=failures)

    def _rests_still(self, mailbox_id: UUID) -> bool:
        rest = self._rests.get(mailbox_id)
        return rest is not None and time.monotonic() < rest.until

    def _wait(self, waiter: _Waiter) -> None:
        """Wait for one mailbox until told to stop, until it may not be read, or until something fails."""
        is_news = True  # what came before the first wait was announced to nobody
        try:
            while not (waiter.stop.is_set() or self._stop.is_set()):
                is_news = self._turn(waiter, is_news=is_news)
        except Exception as error:  # noqa: BLE001 - whatever one server does, the others are waited on
            waiter.error = error

    def _turn(self, waiter: _Waiter, *, is_news: bool) -> bool:
        """Ask for the changes if there is news, then wait once; return whether there is news again."""
        with self._db.begin() as connection:
            mailbox = load_mailboxes(connection, [waiter.mailbox_id]).get(waiter.mailbox_id)
            if mailbox is None or mailbox.state is not MailboxState.ACTIVE:
                waiter.stop.set()
                return False
            lines = news(connection, waiter.mailbox_id, mailbox.org_id) if is_news else set()
        self._ring(lines)
        if waiter.has_waited:
            waiter.stop.wait(_BREATH.total_seconds())
        heard = self._sources.open(mailbox.ref).wait_for_news(_TURN)
        waiter.has_waited = True
        return heard

    def _locked_connection(self) -> Connection:
        """Return the connection that holds the locks; a new one takes those of the waiters that run, or stops them."""
        if self._locks is None:
            self._locks = self._db.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            for mailbox_id, waiter in self._waiters.items():
                if not _try(self._locks, mailbox_id):
                    waiter.stop.set()
        return self._locks

    def _drop_locks(self) -> None:
        connection, self._locks = self._locks, None
        if connection is not None:
            try:
                connection.invalidate()
                connection.close()
            except SQLAlchemyError as error:
                self._log.debug("idlers.connection_gone", error=type(error).__name__)


def _try(locks: Connection, mailbox_id: UUID) -> bool:
    return bool(locks.execute(_LOCK, {"id": mailbox_id}).scalar_one())
