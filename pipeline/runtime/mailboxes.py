"""Mailboxes as stages see them: opened through the sources, or held back while paused or without authorization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import MailboxState
from pipeline.ports import MailboxRef

_LOAD = text("""
    SELECT id, org_id, address, provider, state, state_reason, paused_until, source, credentials, project,
           sync_cursor IS NOT NULL AS has_cursor, CASE WHEN :with_cursor THEN sync_cursor END AS sync_cursor,
           last_incremental_sync_at, now() AS now
      FROM mailboxes WHERE id = ANY(CAST(:ids AS uuid[]))
""")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One mailbox: how to open it, and whether it may be opened now.

    `cursor` is loaded for who moves it only: that of an IMAP server with stable ids may be a megabyte.
    """

    ref: MailboxRef
    org_id: UUID
    state: MailboxState
    state_reason: str | None
    paused_until: datetime | None
    has_cursor: bool
    cursor: str | None
    last_incremental_sync_at: datetime | None
    now: datetime


def load_mailboxes(connection: Connection, ids: Sequence[UUID], *, with_cursor: bool = False) -> dict[UUID, Mailbox]:
    """Return the mailboxes by id; an unknown id is missing from the answer."""
    rows = connection.execute(_LOAD, {"ids": list(set(ids)), "with_cursor": with_cursor})
    return {row.id: _mailbox(row) for row in rows}


def _mailbox(row: Row[Any]) -> Mailbox:
    return Mailbox(
        ref=MailboxRef(row.id, row.address, row.provider, row.source, row.credentials, row.project),
        org_id=row.org_id,
        state=MailboxState(row.state),
        state_reason=row.state_reason,
        paused_until=row.paused_until,
        has_cursor=row.has_cursor,
        cursor=row.sync_cursor,
        last_incremental_sync_at=row.last_incremental_sync_at,
        now=row.now,
    )
