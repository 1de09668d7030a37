"""How the provider's announcements of each watched mailbox stand, in figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import WatchState

_PULSES = text("""
    SELECT w.mailbox_id, w.state, CAST(extract(epoch FROM w.expires_at - now()) AS float8) AS expires_in,
           CAST(greatest(extract(epoch FROM now() - w.pushed_at), 0) AS float8) AS push_age
      FROM watches w JOIN mailboxes m ON m.id = w.mailbox_id
     WHERE m.state = 'active' ORDER BY w.mailbox_id
""")
_STANDINGS = text("""
    SELECT mailbox_id, state, expires_at, pushed_at, error FROM watches
     WHERE CAST(:ids AS uuid[]) IS NULL OR mailbox_id = ANY(CAST(:ids AS uuid[]))
""")


@dataclass(frozen=True, slots=True)
class WatchPulse:
    """One mailbox's watch; the seconds are None when it never stood, or was never announced on."""

    mailbox_id: UUID
    state: WatchState
    #: Negative once it has expired.
    expires_in_seconds: float | None
    push_age_seconds: float | None


def watch_pulses(connection: Connection) -> list[WatchPulse]:
    """Return every mailbox that is read and is, or was to be, watched; a paused one is not missed."""
    return [
        WatchPulse(row.mailbox_id, WatchState(row.state), row.expires_in, row.push_age)
        for row in connection.execute(_PULSES)
    ]


@dataclass(frozen=True, slots=True)
class WatchStanding:
    """One mailbox's watch as people ask about it: until when it lasts, and when it last announced something."""

    mailbox_id: UUID
    state: WatchState
    expires_at: datetime | None
    pushed_at: datetime | None
    error: str | None


def standings(connection: Connection, mailbox_ids: Sequence[UUID] | None = None) -> dict[UUID, WatchStanding]:
    """Return the watches of the given mailboxes (None: all); one that is not watched is missing from the answer."""
    ids = None if mailbox_ids is None else list(mailbox_ids)
    return {
        row.mailbox_id: WatchStanding(row.mailbox_id, WatchState(row.state), row.expires_at, row.pushed_at, row.error)
        for row in connection.execute(_STANDINGS, {"ids": ids})
    }
