"""A database without tickets, for tests that begin anew many times: what is kept for ever goes for once."""

from __future__ import annotations

from sqlalchemy import text

from pipeline.runtime.db import Database

#: They refuse to be emptied, and hang on work orders.
_KEPT = ("work_order_events", "work_session_events", "xp_transactions", "level_events", "case_truths")
_TABLES = "tickets, ticket_messages, thread_keys, regroupings, regrouped, held_apart, events"


def forget_tickets(db: Database) -> None:
    """Empty the tables of tickets and all that hangs on them."""
    with db.begin() as connection:
        for table in _KEPT:
            connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        connection.execute(text(f"TRUNCATE {_TABLES} CASCADE"))
        for table in _KEPT:
            connection.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))
