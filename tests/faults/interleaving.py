"""One thread, many actors: each is a greenlet that stops before every statement and commit until it has its turn.

Real transactions on real connections stay open while others have their turns. A statement that would wait for a lock
is given up after some milliseconds and tried again when any transaction has ended; actors that all wait for each other
are a circle. Statements in text go to the driver directly, which is four times as fast as by way of SQLAlchemy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

import psycopg
from greenlet import getcurrent, greenlet
from psycopg.errors import LockNotAvailable
from psycopg.rows import namedtuple_row
from sqlalchemy import Engine, TextClause
from sqlalchemy.dialects.postgresql.psycopg import dialect
from sqlalchemy.exc import DBAPIError

from tests.faults import mutations

#: A statement that waits this long waits for a transaction that cannot end before it has its turn.
_LOCK_TIMEOUT = "3ms"


class Killed(BaseException):
    """Stands for a process that dies: its transaction is rolled back, nothing else of it happens."""


class Circle(AssertionError):
    """Whoever holds a lock waits for another one."""


class Answer:
    """What a statement answered, with as much of SQLAlchemy's `Result` as the ledger asks for."""

    def __init__(self, rows: Sequence[Any], rowcount: int) -> None:
        self._rows, self.rowcount = rows, rowcount

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def all(self) -> Sequence[Any]:
        """Return all rows, or all values after `scalars`."""
        return self._rows

    def one(self) -> Any:
        """Return the only row."""
        (row,) = self._rows
        return row

    def one_or_none(self) -> Any:
        """Return the only row, or None."""
        return self.one() if self._rows else None

    def scalars(self) -> Answer:
        """Return the first values of the rows."""
        return Answer([row[0] for row in self._rows], self.rowcount)

    def scalar_one(self) -> Any:
        """Return the first value of the only row."""
        return self.one()[0]

    def scalar_one_or_none(self) -> Any:
        """Return the first value of the only row, or None."""
        return self.one()[0] if self._rows else None


class Actor:
    """One process with one connection; quacks as `Database` and as its `Connection` for what it runs."""

    def __init__(self, stage: Stagecraft, name: str) -> None:
        self._stage, self.name = stage, name
        self._slow = stage.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        driver: Any = self._slow.connection.driver_connection
        self._cursor: psycopg.Cursor[Any] = driver.cursor(row_factory=namedtuple_row)
        self._cursor.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT}'; SET synchronous_commit = off")
        self._task: greenlet | None = None
        #: Statements of the open transaction: with one or more it may hold locks.
        self.statements = 0
        self.next = ""
        self.is_blocked = self.is_frozen = self._is_cut = self._loses_answer = False
        self._on_commit: list[Callable[[], None]] = []

    @property
    def is_busy(self) -> bool:
        """Whether something it runs is not at its end."""
        return self._task is not None

    @property
    def is_ready(self) -> bool:
        """Whether it can have the next turn."""
        return self._task is not None and not self.is_frozen and not self.is_blocked

    def start(self, what: str, run: Callable[[], object]) -> None:
        """Let it run something from its next turn on."""
        assert self._task is None
        self._task, self.next = greenlet(run), what

    def go_on(self) -> None:
        """Give it a turn: until its next statement or commit. Raises whatever what it runs raises."""
        self._stage.note(self.name, self.next)
        task = self._task
        assert task is not None
        try:
            task.switch()
        finally:
            if task.dead:
                self._task = None

    def kill(self) -> None:
        """End what it runs, as SIGKILL would."""
        if self._task is not None:
            self._stage.note(self.name, f"killed before {self.next}")
            with suppress(Killed):
                self._task.throw(Killed)
            assert self._task.dead
        self._task, self.is_frozen, self.is_blocked = None, False, False

    def freeze(self, *, thaw: bool = False) -> None:
        """Let it stand still, as SIGSTOP would, until thawed."""
        self._stage.note(self.name, f"{'thawed' if thaw else 'frozen'} before {self.next}")
        self.is_frozen = not thaw

    def cut(self) -> None:
        """End its session's transaction from outside: its next statement or commit fails."""
        self._stage.note(self.name, f"transaction ended by the server before {self.next}")
        self._cursor.execute("ROLLBACK")
        self._is_cut = True
        self._ended()

    def lose_the_next_answer(self) -> None:
        """Let its next commit happen, and the answer to it be lost."""
        self._loses_answer = True

    def heal(self) -> None:
        """Let it go on without what was done to it."""
        self.is_frozen = self.is_blocked = self._loses_answer = False

    def upon_commit(self, then: Callable[[], None]) -> None:
        """Do something if and when the open transaction commits, whatever the actor hears of it."""
        self._on_commit.append(then)

    def close(self) -> None:
        """End what it runs and its connection."""
        self.kill()
        self._slow.close()

    @contextmanager
    def begin(self) -> Iterator[Any]:
        """Open one transaction, as `Database.begin` does."""
        self._is_cut, self._on_commit = False, []
        try:
            yield self
            self.turn("commit")
            self._fail_when_cut()
            if self.statements:
                self._cursor.execute("COMMIT")
        except BaseException:
            if self.statements and not self._is_cut:
                self._cursor.execute("ROLLBACK")
            self._ended()
            raise
        self._ended()
        for then in self._on_commit:
            then()
        if self._loses_answer:
            self._loses_answer = False
            self._stage.note(self.name, "the answer to its commit is lost")
            raise psycopg.OperationalError("the connection is lost")

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        """Execute as `Connection.execute` does, once it has its turn and no lock is in the way."""
        while True:
            self.turn(getattr(statement, "text", "a query"))
            self._fail_when_cut()
            if not self.statements:
                self._cursor.execute("BEGIN")
            if (answer := self._try(statement, parameters)) is not None:
                self.statements += 1
                return answer
            self._stage.note(self.name, "waits for a lock")
            self.is_blocked = True

    def get_execution_options(self) -> dict[str, Any]:
        """Return what a connection was told of itself: nothing, so it is behind no barrier."""
        return {}

    def turn(self, what: str) -> None:
        """Stop until this actor has its next turn."""
        self.next = what
        parent = getcurrent().parent
        assert parent is not None, "only an actor's task has turns"
        parent.switch()

    def _try(self, statement: Any, parameters: Any) -> Any:
        """Return the answer, or None when a lock is in the way; what the transaction did before is kept."""
        is_guarded = self.statements > 0 and _may_wait(statement) and self._stage.others_hold(self)
        if is_guarded:
            self._cursor.execute("SAVEPOINT before")
        try:
            return self._send(statement, parameters)
        except BaseException as error:
            waits = isinstance(getattr(error, "orig", error), LockNotAvailable)
            if not waits or (self.statements and not is_guarded):
                self.statements += 1
                raise
        self._cursor.execute("ROLLBACK TO SAVEPOINT before" if is_guarded else "ROLLBACK")
        return None

    def _send(self, statement: Any, parameters: Any) -> Any:
        if not isinstance(statement, TextClause):
            return self._slow.execute(statement, parameters)
        try:
            self._cursor.execute(_written(statement), parameters, prepare=True)
        except psycopg.Error as error:
            raise DBAPIError.instance(statement.text, parameters, error, psycopg.Error) from error
        rows = self._cursor.fetchall() if self._cursor.description else ()
        return Answer(rows, self._cursor.rowcount)

    def _fail_when_cut(self) -> None:
        if self._is_cut:
            raise psycopg.OperationalError("the server ended this transaction")

    def _ended(self) -> None:
        self.statements = 0
        self._stage.unblock()


class Stagecraft:
    """The actors of a simulation and what they did, in order."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.actors: list[Actor] = []
        self._trace: list[tuple[str, str]] = []

    def actor(self, name: str) -> Actor:
        """Add an actor."""
        self.actors.append(Actor(self, name))
        return self.actors[-1]

    def note(self, who: str, what: str) -> None:
        """Add a line to the trace."""
        self._trace.append((who, what))

    def trace(self) -> str:
        """Return the steps so far, a line each; statements by their beginning."""
        return "\n".join(f"{who}: {' '.join(what.split())[:110]}" for who, what in self._trace)

    def forget(self) -> None:
        """Begin a new trace."""
        self._trace.clear()

    def ready(self) -> Sequence[Actor]:
        """Return who can have the next turn. Raises `Circle` when those who hold locks wait for each other."""
        blocked = [actor for actor in self.actors if actor.is_blocked]
        if blocked and not any(actor.statements and not actor.is_blocked for actor in self.actors):
            said = ", ".join(f"{actor.name} ({' '.join(actor.next.split())[:110]})" for actor in blocked)
            raise Circle(f"{said} wait for each other")
        return [actor for actor in self.actors if actor.is_ready]

    def others_hold(self, one: Actor) -> bool:
        """Say whether anybody else may hold a lock."""
        return any(actor.statements for actor in self.actors if actor is not one)

    def unblock(self) -> None:
        """Let everybody who waits for a lock try again."""
        for actor in self.actors:
            actor.is_blocked = False

    def close(self) -> None:
        """End all of them."""
        for actor in self.actors:
            actor.close()


@lru_cache(maxsize=200)
def _may_wait(statement: Any) -> bool:
    """Say whether a statement may have to wait for a lock: one that only reads does not."""
    said = getattr(statement, "text", "FOR")
    return any(word in said for word in ("FOR", "UPDATE", "INSERT", "DELETE", "_lock"))


@lru_cache(maxsize=200)
def _written(statement: TextClause) -> str:
    """Return a statement as the driver wants it."""
    return mutations.rewritten(str(statement.compile(dialect=dialect())))
