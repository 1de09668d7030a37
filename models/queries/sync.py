"""How the synchronisation of mailboxes stands: the status of contract 001, for one mailbox or for many at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import MailboxState, Provider

_STATUS = text("""
    WITH chosen AS (
        SELECT * FROM mailboxes
         WHERE (CAST(:ids AS uuid[]) IS NULL OR id = ANY(CAST(:ids AS uuid[])))
           AND (CAST(:org AS uuid) IS NULL OR org_id = CAST(:org AS uuid))
    ), counted AS (
        SELECT mailbox_id, stage, state = 'running' AS is_running, count(*) AS jobs
          FROM jobs WHERE mailbox_id IN (SELECT id FROM chosen) AND state <> 'dead' GROUP BY 1, 2, 3
    ), work AS (
        SELECT mailbox_id, jsonb_object_agg(stage, jobs) FILTER (WHERE NOT is_running) AS queued,
               jsonb_object_agg(stage, jobs) FILTER (WHERE is_running) AS running
          FROM counted GROUP BY 1
    ), failed AS (
        SELECT mailbox_id, count(*) AS letters
          FROM dead_letters
         WHERE mailbox_id IN (SELECT id FROM chosen) AND buried_at > now() - interval '24 hours' GROUP BY 1
    )
    SELECT m.id, m.org_id, m.address, m.provider, m.state, m.state_reason, m.paused_until, m.paused_by, m.sync_cursor,
           m.failures_in_row, m.trips, m.last_full_sync_at, m.last_incremental_sync_at, m.last_sync_error,
           CAST(extract(epoch FROM now() - m.last_incremental_sync_at) AS bigint) AS lag,
           coalesce(w.queued, '{}') AS queued, coalesce(w.running, '{}') AS running, coalesce(f.letters, 0) AS failed
      FROM chosen m LEFT JOIN work w ON w.mailbox_id = m.id LEFT JOIN failed f ON f.mailbox_id = m.id
     ORDER BY m.address
""")
#: States that end by themselves.
HELD_BACK = (MailboxState.PAUSED, MailboxState.SUSPENDED, MailboxState.PROBING)
_LOCK_ADDRESS = text("SELECT pg_advisory_xact_lock(hashtextextended(:address, 0))")
_BY_ADDRESS = text("SELECT id, org_id FROM mailboxes WHERE address = :address")


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """One mailbox's synchronisation (contract 001, `sync/status` and `ops/mailboxes/sync`), by the database's clock.

    `is_enabled` is False while a person must act before it can be read. `sync_lag_seconds` counts from the last
    reading of changes and is None before the first. `queued_jobs_by_type` holds what is ready, waits or is parked.
    """

    mailbox_id: UUID
    org_id: UUID
    email: str
    provider: Provider
    state: MailboxState
    is_enabled: bool
    paused_until: datetime | None
    pause_reason: str | None
    paused_by: str | None
    #: The breaker: failed readings in a row, and how often it paused the mailbox in a row.
    failures_in_row: int
    trips: int
    has_cursor: bool
    gmail_history_id: int | None
    last_full_sync_at: datetime | None
    last_incremental_sync_at: datetime | None
    last_sync_error: str | None
    sync_lag_seconds: int | None
    queued_jobs_by_type: Mapping[str, int]
    running_jobs_by_type: Mapping[str, int]
    failed_jobs_last_24h: int


def sync_status(
    connection: Connection, mailbox_ids: Sequence[UUID] | None = None, org_id: UUID | None = None
) -> list[SyncStatus]:
    """Return the status of the given mailboxes (None: all), within one organization when it is given, by address."""
    ids = None if mailbox_ids is None else list(mailbox_ids)
    return [_status(row) for row in connection.execute(_STATUS, {"ids": ids, "org": org_id})]


def reserve_address(connection: Connection, address: str) -> tuple[UUID, UUID] | None:
    """Return (mailbox id, organization id) of a lower-case address, None when it is free.

    Until the transaction ends others who reserve the same address wait, so what is read may be written back changed.
    """
    connection.execute(_LOCK_ADDRESS, {"address": address})
    row = connection.execute(_BY_ADDRESS, {"address": address}).one_or_none()
    return None if row is None else (row.id, row.org_id)


def _status(row: Row[Any]) -> SyncStatus:
    state = MailboxState(row.state)
    return SyncStatus(
        mailbox_id=row.id,
        org_id=row.org_id,
        email=row.address,
        provider=Provider(row.provider),
        state=state,
        is_enabled=state not in (MailboxState.AUTH_REQUIRED, MailboxState.BLOCKED),
        paused_until=row.paused_until,
        pause_reason=row.state_reason if state in HELD_BACK else None,
        paused_by=row.paused_by if state in HELD_BACK else None,
        failures_in_row=row.failures_in_row,
        trips=row.trips,
        has_cursor=row.sync_cursor is not None,
        gmail_history_id=int(row.sync_cursor) if row.provider == Provider.GMAIL and row.sync_cursor else None,
        last_full_sync_at=row.last_full_sync_at,
        last_incremental_sync_at=row.last_incremental_sync_at,
        last_sync_error=row.last_sync_error,
        sync_lag_seconds=None if row.lag is None else max(0, row.lag),
        queued_jobs_by_type=row.queued,
        running_jobs_by_type=row.running,
        failed_jobs_last_24h=row.failed,
    )
