"""How far mailboxes are being read: the listings under way with their windows, and the messages still to come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

_LISTINGS = text("""
    SELECT b.mailbox_id, b.since, b.listed, b.fresh, b.estimate, b.started_at,
           w.number, w.after_at, w.before_at, w.pages, w.listed AS in_window, all_of.done, all_of.restarts
      FROM backfills b
      LEFT JOIN backfill_windows w ON w.backfill_id = b.id AND w.state = 'open'
     CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE state = 'done') AS done, coalesce(sum(restarts), 0) AS restarts
                           FROM backfill_windows WHERE backfill_id = b.id) AS all_of
     WHERE b.state = 'running' AND (CAST(:ids AS uuid[]) IS NULL OR b.mailbox_id = ANY(CAST(:ids AS uuid[])))
""")
#: One job of these is one message; parked and dead ones do not go on by themselves.
_LEFT = text("""
    SELECT mailbox_id, count(*) FILTER (WHERE stage = 'fetch') AS fetches, count(*) AS messages
      FROM jobs
     WHERE stage IN ('fetch', 'parse', 'stitch', 'routing') AND state IN ('ready', 'held', 'running', 'waiting')
       AND mailbox_id IS NOT NULL
     GROUP BY 1
""")


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """The stretch of time that a listing is in (None: open on that side), and how much of it was read."""

    number: int
    after_at: datetime | None
    before_at: datetime | None
    pages: int
    listed: int


@dataclass(frozen=True, slots=True)
class Listing:
    """A backfill that is still listing: ids named so far, those the ledger lacked, the provider's estimate of all.

    `since` is how far back it reads; None: everything. `restarts` counts page tokens that the provider forgot. `window`
    is None before the first page.
    """

    mailbox_id: UUID
    since: datetime | None
    listed: int
    fresh: int
    estimate: int | None
    started_at: datetime
    windows_done: int
    restarts: int
    window: OpenWindow | None

    @property
    def unlisted(self) -> int:
        """Return how many ids the provider is thought to hold back still; 0 without an estimate."""
        return max(0, (self.estimate or 0) - self.listed)


@dataclass(frozen=True, slots=True)
class Left:
    """Messages of a mailbox that are on their way: those to be fetched yet, and all of them."""

    fetches: int = 0
    messages: int = 0


def listings(connection: Connection, mailbox_ids: Sequence[UUID] | None = None) -> dict[UUID, Listing]:
    """Return the listings that are going on, by mailbox."""
    ids = None if mailbox_ids is None else list(mailbox_ids)
    return {row.mailbox_id: _listing(row) for row in connection.execute(_LISTINGS, {"ids": ids})}


def left(connection: Connection) -> dict[UUID, Left]:
    """Return what is on its way, by mailbox; one that has nothing is missing from the answer."""
    return {row.mailbox_id: Left(row.fetches, row.messages) for row in connection.execute(_LEFT)}


def _listing(row: Row[Any]) -> Listing:
    window = OpenWindow(row.number, row.after_at, row.before_at, row.pages, row.in_window)
    return Listing(
        mailbox_id=row.mailbox_id,
        since=row.since,
        listed=row.listed,
        fresh=row.fresh,
        estimate=row.estimate,
        started_at=row.started_at,
        windows_done=row.done,
        restarts=int(row.restarts),
        window=None if row.number is None else window,
    )
