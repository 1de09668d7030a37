"""The whole engine in one thread: real stages, runner, ledger and provider; time passes when the test says so."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from types import TracebackType
from typing import Any, Self

from sqlalchemy import text

from actors.holdings import Holdings
from actors.runner import Runner, Surroundings
from models.enums import Lane
from pipeline.adapters import wiring
from pipeline.adapters.clock import SystemClock
from pipeline.runtime import breaker, ledger, pump
from pipeline.runtime.db import Database
from pipeline.runtime.ledger import Line
from pipeline.runtime.metrics import Metrics
from pipeline.runtime.settings import Settings
from pipeline.table import STAGES
from tests.factories import rows

#: More answered lines in one go mean that something goes round in a circle.
_ENDLESS = 20_000
_PRIORITY = {Lane.LIVE: 0, Lane.REPAIR: 1, Lane.BACKFILL: 2}

#: Whatever waits for a time is due: snoozes, pauses, rests of budgets, second listings, graces.
_TIME_PASSES = (
    "UPDATE jobs SET run_at = now() WHERE state = 'waiting'",
    "UPDATE mailboxes SET paused_until = now() WHERE paused_until > now()",
    "UPDATE reconciles SET started_at = now() WHERE state = 'running' AND started_at > now()",
    "UPDATE reconciles SET waits_until = NULL WHERE state = 'running'",
    "UPDATE backfill_windows SET started_at = now() WHERE state = 'open' AND started_at > now()",
    "UPDATE gaps SET found_at = found_at - interval '2 hours', to_at = to_at - interval '2 hours'",
    # A comparison under way tells by this time whether it listed an id before or after the id vanished.
    """UPDATE occurrences SET vanished_at = vanished_at - interval '10 minutes'
        WHERE vanished_at IS NOT NULL AND NOT EXISTS (SELECT FROM reconciles WHERE state = 'running' AND pages > 0)""",
    """UPDATE budgets SET rest_until = CASE WHEN rest_until > now() THEN now() ELSE rest_until END,
                          bytes_rest_until = CASE WHEN bytes_rest_until > now() THEN now() ELSE bytes_rest_until END,
                          probe_until = CASE WHEN probe_until > now() THEN now() ELSE probe_until END,
                          ramp_at = ramp_at - interval '1 hour', level_at = level_at - interval '1 hour'""",
)


class HurriedClock(SystemClock):
    """A clock on which waiting takes no time: it shows the time as if it had been waited."""

    def __init__(self) -> None:
        self._waited = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self._waited

    def wait(self, duration: timedelta) -> None:
        self._waited += max(0.0, duration.total_seconds())


class _Killed(BaseException):
    """Stands for a process that dies: nothing of it is saved, nothing is given back."""


class Engine:
    """One worker without threads: `answer` a line, `run` until nothing is ready, `pass_time`, `die` and come back."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self.db, self.settings = db, settings
        self.metrics = Metrics()
        self.ports = wiring.make_ports(settings, self.metrics, db, HurriedClock())
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.ports.sources.close()
        self.ports.parser.close()
        self.ports.senders.close()

    def run(self, most: int | None = None) -> int:
        """Answer lines in order of their lanes until nothing is ready, or `most` were answered; return how many."""
        answered = 0
        while answered < (most or _ENDLESS):
            lines = self._ready()
            if not lines:
                return answered
            answered += self.answer(min(lines, key=lambda line: (_PRIORITY[line.lane], line.stage))) > 0
        assert most is not None, f"still going after {_ENDLESS} batches: {self._ready()}"
        return answered

    def pass_time(self) -> None:
        """Let every wait come to its end."""
        for statement in _TIME_PASSES:
            rows(self.db, statement)

    def die_while_running(self, chance: Random) -> bool:
        """Take a batch, work on it, and die before its effects are saved; its jobs come back by their lease.

        Return False when there was nothing to take.
        """
        lines = sorted(self._ready())
        if not lines:
            return False

        def die(*_: object) -> Any:
            raise _Killed

        commit, self._runner._commit = self._runner._commit, die  # type: ignore[method-assign]
        try:
            self._runner.answer(chance.choice(lines))
        except _Killed:
            pass
        finally:
            self._runner._commit = commit  # type: ignore[method-assign]
        rows(self.db, "UPDATE jobs SET lease_until = now() - interval '1 second' WHERE state = 'running'")
        self._start()
        return True

    def _start(self) -> None:
        self._holdings = Holdings(self.db, "test")
        around = Surroundings(self.db, self.ports, self._holdings, lambda _: None, self.metrics, lambda: False)
        self._runner = Runner(STAGES, around)

    def _ready(self) -> set[Line]:
        with self.db.begin() as connection:
            pump.release(connection, minute=timedelta(seconds=self.settings.quota_minute_seconds))
        with self.db.begin() as connection:
            ledger.reclaim(connection, timedelta(0))
            ledger.promote(connection)
            breaker.wake(connection)
            return ledger.ready_lines(connection, list(STAGES))

    def answer(self, line: Line) -> int:
        """Claim one batch of a line, run it and settle it; return how many rows were claimed."""
        # The lock that proves a worker's life is not held here: nobody else reclaims.
        with self.db.engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(77, :number)"), {"number": self._holdings.worker})
            connection.commit()
            try:
                return self._runner.answer(line)
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(77, :number)"), {"number": self._holdings.worker})
                connection.commit()
