"""The plans of what a piece of code asks the database, and which tables and indexes they read how."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

_SCAN = re.compile(r"(Seq Scan|Index Only Scan|Index Scan|Bitmap Index Scan)(?: Backward)?(?: using (\w+))? on (\w+)")


@contextmanager
def explained(engine: Engine) -> Iterator[list[str]]:
    """Gather the plan of every statement that reads a table while the block runs, made just before it runs."""
    plans: list[str] = []

    def explain(*asked: Any) -> None:
        connection, _, statement, values, *_ = asked
        if "FROM" in statement and not statement.lstrip().startswith(("UPDATE", "INSERT", "DELETE")):
            with connection.connection.driver_connection.cursor() as cursor:
                rows = cursor.execute(f"EXPLAIN (COSTS OFF) {statement}", values).fetchall()
            plans.append("\n".join(row[0] for row in rows))

    event.listen(engine, "before_cursor_execute", explain)
    try:
        yield plans
    finally:
        event.remove(engine, "before_cursor_execute", explain)


def scans(plans: list[str]) -> list[str]:
    """Return each way in which something is read, once: the index's name, or `Seq Scan` with the table's."""
    found = (match.groups() for plan in plans for match in _SCAN.finditer(plan))
    return sorted({f"{kind} on {table}" if kind == "Seq Scan" else index or table for kind, index, table in found})
