"""The database: one engine per process, and the one boundary that commits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import orjson
import psycopg
from psycopg import Cursor
from psycopg.types.json import set_json_dumps, set_json_loads
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from models import row_security
from pipeline.runtime.errors import UserError

#: SQLSTATE classes and codes that pass by themselves: connection, transaction rollback (deadlock, serialization),
#: too many connections, disk or memory full, lock not available, server shutting down or starting.
_PASSING = ("08", "40", "53", "55P03", "57P01", "57P02", "57P03")

#: A peer that fell silent is given up after about 11 s, by the kernel's own looks (reliability, section 2.2 and F-56).
#: The server looks, too: the lock that proves a worker's life goes with its host. Sockets of this machine know none.
_LOOKS = {"tcp_keepalives_idle": 5, "tcp_keepalives_interval": 3, "tcp_keepalives_count": 3, "tcp_user_timeout": 10_000}

_NOT_USABLE = (
    "FIELDPOST_DATABASE_URL is not usable: Fieldpost needs PostgreSQL, as in postgresql://user:password@host:5432/name"
)


def _dumps(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)


set_json_dumps(_dumps)
set_json_loads(orjson.loads)


def is_passing(error: BaseException) -> bool:
    """Say whether a database error passes by itself; an expired statement timeout does not."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _is_passing_at_driver(error.orig)
    # COPY speaks to the driver directly, so its errors come unwrapped.
    return isinstance(error, PoolTimeout) or _is_passing_at_driver(error)


def constraint_of(error: DBAPIError) -> str | None:
    """Return the name of the constraint, or unique index, that the database held a statement to."""
    found: str | None = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    return found


def _is_passing_at_driver(error: BaseException | None) -> bool:
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate.startswith(_PASSING)


def _with_driver(url: str) -> str:
    for short in ("postgresql://", "postgres://"):
        if url.startswith(short):
            return "postgresql+psycopg://" + url.removeprefix(short)
    return url


class Database:
    """One engine. `begin` is the only way to change anything: it commits at its end or not at all."""

    def __init__(
        self,
        url: str,
        process: str,
        *,
        pool_size: int = 10,
        statement_timeout: timedelta = timedelta(seconds=60),
        by_index: bool = False,
    ) -> None:
        """Prepare the engine; nothing connects yet. Raises `UserError` for a URL that is not PostgreSQL's.

        `by_index` keeps plans from flipping to sequential scans with the statistics of tables that are empty one minute
        and full the next: the fence's lock took 7.7 ms per batch by such a plan and 0.6 ms by the index.
        """
        options = (
            f"-c statement_timeout={int(statement_timeout.total_seconds() * 1000)} -c lock_timeout=20000"
            " -c idle_in_transaction_session_timeout=15000 -c jit=off -c timezone=UTC"
        ) + "".join(f" -c {name}={value}" for name, value in _LOOKS.items())
        options += " -c enable_seqscan=off" if by_index else ""
        try:
            self.engine = create_engine(
                _with_driver(url),
                poolclass=QueuePool,
                pool_size=pool_size,
                max_overflow=2,
                pool_timeout=30,
                # What was used last is used next: few connections know every statement, many would each learn it.
                pool_use_lifo=True,
                hide_parameters=True,  # they hold mail
                json_serializer=lambda value: _dumps(value).decode(),
                json_deserializer=json.loads,
                connect_args={
                    "application_name": f"fieldpost {process}",
                    "connect_timeout": 5,
                    "options": options,
                    "tcp_user_timeout": _LOOKS["tcp_user_timeout"],
                    "keepalives_idle": _LOOKS["tcp_keepalives_idle"],
                    "keepalives_interval": _LOOKS["tcp_keepalives_interval"],
                    "keepalives_count": _LOOKS["tcp_keepalives_count"],
                },
            )
        except (ArgumentError, ModuleNotFoundError):
            raise UserError(_NOT_USABLE) from None
        if self.engine.dialect.driver != "psycopg":
            raise UserError(_NOT_USABLE)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open one transaction; commits when the block ends, rolls back when it raises."""
        with self.engine.begin() as connection:
            yield connection

    def check(self) -> None:
        """Raise `UserError` in words when the database cannot be reached."""
        try:
            with self.begin() as connection:
                connection.execute(text("SELECT 1"))
        except DBAPIError as error:
            raise UserError(f"the database does not answer: {str(error.orig).strip()}") from None

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def cursor(connection: Connection) -> Cursor[Any]:
    """Return a plain psycopg cursor inside the connection's transaction; for COPY."""
    driver = connection.connection.driver_connection
    assert driver is not None
    found: Cursor[Any] = driver.cursor()
    return found


def copy_rows(connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Append rows by COPY, the cheapest way in (perf-anchors, section 3). Values must not conflict.

    Behind the barrier of row-level security, which knows no COPY, they are inserted in one go.
    """
    if not rows:
        return
    if row_security.is_bound(connection):
        _insert_rows(connection, table, columns, rows)
        return
    with (
        cursor(connection) as cur,
        cur.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(row)


def _insert_rows(connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    places = ", ".join(["%s"] * len(columns))
    with cursor(connection) as cur:
        # Sent together, as a pipeline: one wait for all.
        statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608 - names of ours
        cur.executemany(statement, rows)
