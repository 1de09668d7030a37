"""How many rows the statements of a test went through, told by PostgreSQL itself (auto_explain)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from psycopg.errors import Diagnostic
from sqlalchemy import Connection, event

from pipeline.runtime.db import Database

_ON = (
    "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_analyze = on;"
    " SET auto_explain.log_timing = off; SET auto_explain.log_format = json; SET auto_explain.log_level = notice"
)
_REMOVED = ("Rows Removed by Filter", "Rows Removed by Join Filter", "Rows Removed by Index Recheck")


@contextmanager
def walked(db: Database) -> Iterator[dict[str, int]]:
    """Yield, by the beginning of each statement, how many rows the steps of its plan met at most."""
    found: dict[str, int] = {}

    def note(diagnostic: Diagnostic) -> None:
        said = diagnostic.message_primary or ""
        if "plan:" in said:
            told = json.loads(said.split("plan:", 1)[1])
            name = " ".join(told["Query Text"].split())[:60]
            found[name] = max(found.get(name, 0), _met(told["Plan"]))

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(_ON)
        connection.connection.driver_connection.add_notice_handler(note)  # type: ignore[union-attr]

    def end(connection: Connection) -> None:
        connection.connection.driver_connection.remove_notice_handler(note)  # type: ignore[union-attr]

    events = (("begin", begin), ("commit", end), ("rollback", end))
    for name, listener in events:
        event.listen(db.engine, name, listener)
    try:
        yield found
    finally:
        for name, listener in events:
            event.remove(db.engine, name, listener)


def _met(plan: Mapping[str, Any]) -> int:
    mine = plan.get("Actual Rows", 0) + sum(plan.get(name, 0) for name in _REMOVED)
    return int(mine * plan.get("Actual Loops", 0)) + sum(_met(below) for below in plan.get("Plans", ()))
