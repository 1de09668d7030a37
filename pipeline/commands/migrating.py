"""Migrations while everything runs: they wait for a lock only briefly, give way, and come again.

A statement that changes a table waits for every transaction that uses it, and everybody who comes later waits behind
that statement. So it waits for `LOCK_WAIT` at most: one long transaction delays the migration, and nobody else.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random

from models import schema
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError

#: How long others may have to wait behind a migration that waits (goal G12: a deploy pauses nobody for 2 s).
LOCK_WAIT = timedelta(milliseconds=500)
#: So long it comes again; who holds it up then is for a person to decide.
PATIENCE = timedelta(minutes=15)
#: Between two tries everybody who waited gets through.
_PAUSE = (0.5, 2.0)
#: SQLSTATE of a lock that was not to be had in time, and of a deadlock.
_GIVES_WAY = frozenset({"55P03", "40P01"})

_SET = text("""
    SELECT set_config('lock_timeout', :wait, true), set_config('statement_timeout', '0', true),
           set_config('idle_in_transaction_session_timeout', '0', true)
""")
_HOLDERS = text("""
    SELECT pid, application_name, CAST(extract(epoch FROM now() - xact_start) AS bigint) AS seconds
      FROM pg_stat_activity
     WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
       AND backend_type = 'client backend'
     ORDER BY xact_start LIMIT 3
""")


def bring_up(
    db: Database, told: Callable[[str], None], *, revision: str = "head", patience: timedelta = PATIENCE
) -> str | None:
    """Apply every missing migration, all in one transaction; return the revision the database is at then.

    Several may run at once. `told` hears in words when the migration must wait. Raises `UserError` that names the
    longest transactions when a table is not to be had for `patience`.
    """

    def tell(state: RetryCallState) -> None:
        if state.attempt_number == 1:
            told("the migration waits for a transaction that uses a table of its; nobody waits for it meanwhile")

    trying = Retrying(
        retry=retry_if_exception(_is_in_the_way),
        wait=wait_random(*_PAUSE),
        stop=stop_after_delay(patience),
        before_sleep=tell,
        reraise=True,
    )
    try:
        found: str | None = trying(_once, db, revision)
    except DBAPIError as error:
        if not _is_in_the_way(error):
            raise
        raise UserError(_held_up(db, patience)) from None
    return found


def _once(db: Database, revision: str) -> str | None:
    with db.begin() as connection:
        connection.execute(_SET, {"wait": f"{LOCK_WAIT // timedelta(milliseconds=1)}ms"})
        schema.migrate(connection, revision)
        return schema.current(connection)


def _is_in_the_way(error: BaseException) -> bool:
    origin: Any = error.orig if isinstance(error, DBAPIError) else None
    return getattr(origin, "sqlstate", None) in _GIVES_WAY


def _held_up(db: Database, patience: timedelta) -> str:
    with db.begin() as connection:
        holders = [f"{row.pid} ({row.application_name}, {row.seconds} s)" for row in connection.execute(_HOLDERS)]
    return (
        f"a table was in use for {patience.total_seconds():.0f} s, nothing was changed; the longest transactions are "
        f"those of {', '.join(holders) or 'that have just ended'}: end them, and run this again"
    )
