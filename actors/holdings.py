"""What this worker holds: its number, the advisory lock that proves it lives, and the leases of its jobs."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from psycopg.errors import QueryCanceled
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from tenacity import RetryCallState, RetryError, Retrying, retry_if_exception, stop_after_delay, wait_fixed

from actors.deadlines import Left
from actors.verdicts import short
from pipeline.runtime import ledger
from pipeline.runtime.db import Database, is_passing
from pipeline.runtime.errors import UserError
from pipeline.runtime.jobs import Job
from pipeline.runtime.ledger import WORKER_LOCK
from pipeline.runtime.logs import get_logger

#: How often the lock is looked after; a lost one is taken again well inside `ledger.LOCK_GRACE`.
_PULSE = timedelta(seconds=1)
#: Whoever is started while the database starts, or recovers, waits so long for it; less than a stop may take.
_PATIENCE, _PAUSE = timedelta(seconds=20), timedelta(milliseconds=250)
#: Giving back: with nobody waiting, at least, and for the answer of a server that ends a statement in time.
_UNHURRIED, _LEAST, _GRACE = timedelta(seconds=20), timedelta(milliseconds=100), timedelta(milliseconds=500)
_Found = TypeVar("_Found")

_REGISTER = text("""
    INSERT INTO workers (number, host, pid, version) VALUES (:number, :host, :pid, :version)
        ON CONFLICT (number) DO UPDATE SET host = :host, pid = :pid, version = :version, seen_at = now()
""")
_SEEN = text("UPDATE workers SET seen_at = now() WHERE number = :number")
_LOCK = text(f"SELECT pg_advisory_lock({WORKER_LOCK}, :number)")
_HURRY = text("""
    SELECT set_config('lock_timeout', CAST(CAST(:left AS int) AS text), true),
           set_config('statement_timeout', CAST(CAST(:left AS int) AS text), true)
""")
_FORGET = text("DELETE FROM workers WHERE number = :number OR seen_at < now() - interval '1 day'")


class Holdings:
    """Proof of life and leases of one worker process; `start` before the first claim, `stop` after the last."""

    def __init__(self, db: Database, version: str) -> None:
        self._db, self._version = db, version
        self._jobs: dict[int, timedelta] = {}
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._lock_connection: Connection | None = None
        self._log = get_logger()
        self.worker = self._patiently(self._draw_number)
        self._thread = threading.Thread(target=self._beat, name="holdings", daemon=True)

    def start(self) -> None:
        """Take the lock that proves this worker lives, and look after it from now on."""
        self._patiently(self._take_lock)
        self._thread.start()

    def stop(self, left: Left = lambda: _UNHURRIED) -> set[ledger.Line]:
        """Give back every job still held, uncharged, and let go of the lock; return the lines to ring.

        With the database away or silent, or the jobs locked for longer than is `left`, nothing is given back: sweepers
        take it, as from a worker that died.
        """
        self._stop.set()
        self._thread.join(left().total_seconds() / 2)  # it may wait for the same lock: giving back comes first
        given: Future[set[ledger.Line]] = Future()
        threading.Thread(target=self._settle, args=(given, left), name="giving-back", daemon=True).start()
        try:
            lines = given.result((left() + _GRACE).total_seconds())
        except (SQLAlchemyError, TimeoutError) as error:
            if not _is_left_to_others(error):
                raise
            # Nobody is told, but the lock goes with this process, and whoever sweeps finds what it held.
            self._log.warning("worker.gave_nothing_back", error=short(error))
            lines = set()
        self._drop_lock()
        return lines

    @contextmanager
    def holding(self, jobs: Sequence[Job], lease: timedelta) -> Iterator[None]:
        """Renew the leases of `jobs` while the block runs."""
        with self._guard:
            self._jobs.update({job.job_id: lease for job in jobs})
        try:
            yield
        finally:
            with self._guard:
                for job in jobs:
                    self._jobs.pop(job.job_id, None)

    def _settle(self, given: Future[set[ledger.Line]], left: Left) -> None:
        """Give back in a thread that may be left behind: a server that says nothing keeps its caller for long."""
        try:
            given.set_result(self._give_back(left))
        except BaseException as error:  # noqa: BLE001 - whoever waits for it raises it
            given.set_exception(error)

    def _give_back(self, left: Left) -> set[ledger.Line]:
        with self._db.begin() as connection:
            _hurry(connection, left)
            lines = ledger.release(connection, self.worker)
            _hurry(connection, left)
            connection.execute(_FORGET, {"number": self.worker})
            return lines

    def _draw_number(self) -> int:
        with self._db.begin() as connection:
            return int(connection.execute(text("SELECT nextval('worker_numbers')")).scalar_one())

    def _patiently(self, attempt: Callable[[], _Found]) -> _Found:
        """Wait for a database that is away for a moment: nothing is held yet, and ending would help nobody."""
        retrying = Retrying(
            retry=retry_if_exception(is_passing), stop=stop_after_delay(_PATIENCE.total_seconds()),
            wait=wait_fixed(_PAUSE.total_seconds()), before_sleep=self._log_wait,
        )  # fmt: skip
        try:
            return retrying(attempt)
        except RetryError as tried:
            error = tried.last_attempt.exception()
            raise UserError(f"the database does not answer: {str(getattr(error, 'orig', error)).strip()}") from error

    def _log_wait(self, state: RetryCallState) -> None:
        if state.attempt_number in {1, 10, 100}:
            self._log.warning("worker.waits_for_database", tries=state.attempt_number)

    def _beat(self) -> None:
        beats = 0
        while not self._stop.wait(_PULSE.total_seconds()):
            beats += 1
            try:
                self._pulse(renew=beats % 8 == 0)
            except SQLAlchemyError as error:
                self._log.warning("worker.lock_lost", error=str(getattr(error, "orig", error)).splitlines()[0][:200])
                self._drop_lock()

    def _pulse(self, *, renew: bool) -> None:
        if self._lock_connection is None:
            self._take_lock()
            renew = True
        assert self._lock_connection is not None
        self._lock_connection.execute(_SEEN, {"number": self.worker})
        self._lock_connection.commit()
        if renew:
            self._renew()

    def _renew(self) -> None:
        with self._guard:
            held = dict(self._jobs)
        for lease in set(held.values()):
            with self._db.begin() as connection:
                ids = [job_id for job_id, its in held.items() if its == lease]
                ledger.renew(connection, ids, worker=self.worker, lease=lease)

    def _take_lock(self) -> None:
        connection = self._db.engine.connect()
        try:
            connection.execute(_LOCK, {"number": self.worker})
            connection.execute(
                _REGISTER,
                {"number": self.worker, "host": socket.gethostname(), "pid": os.getpid(), "version": self._version},
            )
            connection.commit()
        except DBAPIError:
            connection.close()
            raise
        self._lock_connection = connection

    def _drop_lock(self) -> None:
        connection, self._lock_connection = self._lock_connection, None
        if connection is not None:
            try:
                connection.invalidate()
                connection.close()
            except SQLAlchemyError as error:
                self._log.debug("worker.lock_connection_gone", error=type(error).__name__)


def _is_left_to_others(error: Exception) -> bool:
    """Say whether what a worker holds may be left to sweepers: the database is away, silent or locked."""
    return (
        isinstance(error, TimeoutError) or is_passing(error) or isinstance(getattr(error, "orig", None), QueryCanceled)
    )


def _hurry(connection: Connection, left: Left) -> None:
    """Let the next statement take what is left of the time; none would mean for ever."""
    connection.execute(_HURRY, {"left": max(left(), _LEAST) // timedelta(milliseconds=1)})
