"""Backfills as rows: one listing per mailbox at a time, and the ledger of its windows."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

#: A listing that is running reaches further back when asked: its windows go on down to the new end.
_ASK = text("""
    INSERT INTO backfills (mailbox_id, since) VALUES (:id, :since)
        ON CONFLICT (mailbox_id) WHERE state = 'running'
        DO UPDATE SET since = CASE WHEN backfills.since IS NULL OR excluded.since IS NULL THEN NULL
                                   ELSE least(backfills.since, excluded.since) END
""")
_BEGIN = text("""
    INSERT INTO backfills (mailbox_id) VALUES (:id)
        ON CONFLICT (mailbox_id) WHERE state = 'running' DO NOTHING
""")


def ask(connection: Connection, mailbox_id: UUID, *, since: datetime | None) -> None:
    """Write that a mailbox is to be listed back to `since` (None: all of it); joins a listing that is running."""
    connection.execute(_ASK, {"id": mailbox_id, "since": since})


def begin(connection: Connection, mailbox_id: UUID) -> None:
    """Write that a mailbox is to be listed, unless it is being listed already, however far back."""
    connection.execute(_BEGIN, {"id": mailbox_id})
