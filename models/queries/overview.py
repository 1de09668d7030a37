"""How everything stands in figures: one organization's overview, and the gauges of the whole installation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Cause, JobState, Lane, MailboxState, OccurrenceState, Provider

_ORGANIZATION = text("SELECT name FROM organizations WHERE id = :org")
_MAILBOXES = text("""
    SELECT id, address, provider, state, state_reason, paused_until, paused_by, created_at
      FROM mailboxes WHERE org_id = :org ORDER BY address
""")
_OWNED = text("SELECT EXISTS (SELECT FROM mailboxes WHERE id = :mailbox AND org_id = :org)")
_OPEN_LETTER = text("SELECT id FROM dead_letters WHERE job_id = :job AND org_id = :org AND resolution IS NULL")

_OVERVIEW = text("""
    WITH work AS (
        SELECT count(*) FILTER (WHERE state IN ('ready', 'held', 'waiting', 'blocked')) AS queued,
               count(*) FILTER (WHERE state = 'running') AS running
          FROM jobs WHERE org_id = :org
    ), letters AS (
        SELECT count(*) FILTER (WHERE buried_at > now() - interval '24 hours') AS failed,
               count(*) FILTER (WHERE resolution IS NULL) AS unresolved
          FROM dead_letters WHERE org_id = :org
    ), boxes AS (
        SELECT count(*) AS mailboxes, count(*) FILTER (WHERE state IN ('paused', 'suspended', 'probing')) AS paused,
               CAST(avg(greatest(extract(epoch FROM now() - last_incremental_sync_at), 0)) AS float8) AS lag
          FROM mailboxes WHERE org_id = :org
    )
    SELECT * FROM work, letters, boxes
""")

_DEPTHS = text("""
    SELECT stage, lane, state, count(*) AS jobs,
           CAST(greatest(extract(epoch FROM now() - min(run_at)), 0) AS float8) AS age
      FROM jobs GROUP BY stage, lane, state
""")
_OPEN_LETTERS = text("""
    SELECT stage, cause, count(*) AS letters FROM dead_letters WHERE resolution IS NULL GROUP BY stage, cause
""")
_LAGS = text("""
    SELECT id, state = 'active' AS is_up,
           CAST(greatest(extract(epoch FROM now() - last_incremental_sync_at), 0) AS float8) AS lag
      FROM mailboxes
""")
_WORKERS = text("""
    SELECT count(*) FROM pg_locks
     WHERE locktype = 'advisory' AND classid = CAST(:class AS oid) AND objsubid = 2 AND granted
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
""")
_PAGE = text("""
    WITH page AS (
        SELECT id, mailbox_id, state,
               CASE state WHEN 'seen' THEN 'fetch' WHEN 'fetched' THEN 'parse' WHEN 'parsed' THEN 'stitch'
                          WHEN 'stitched' THEN 'routing' END AS next_stage
          FROM occurrences WHERE id > :after ORDER BY id LIMIT :limit
    )
    SELECT page.mailbox_id, page.state, count(*) AS occurrences, max(page.id) AS last_id,
           count(*) FILTER (WHERE next_stage IS NOT NULL AND jobs.id IS NULL) AS stranded
      FROM page LEFT JOIN jobs ON jobs.stage = page.next_stage AND jobs.key = CAST(page.id AS text)
     GROUP BY page.mailbox_id, page.state
""")


@dataclass(frozen=True, slots=True)
class OwnMailbox:
    """One mailbox of an organization, without anything of its credentials."""

    mailbox_id: UUID
    address: str
    provider: Provider
    state: MailboxState
    state_reason: str | None
    paused_until: datetime | None
    paused_by: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Overview:
    """One organization's figures (contract 001, `ops/metrics/overview`); the lag is None before any history sync."""

    queued_jobs: int
    running_jobs: int
    failed_jobs_24h: int
    open_dead_letters: int
    mailbox_count: int
    paused_mailbox_count: int
    avg_sync_lag_seconds: float | None


@dataclass(frozen=True, slots=True)
class Depth:
    """Jobs of one stage, lane and state; `age_seconds` is how long ago the first of them was due."""

    stage: str
    lane: Lane
    state: JobState
    jobs: int
    age_seconds: float


@dataclass(frozen=True, slots=True)
class OpenLetters:
    """Dead letters that nobody has resolved, of one stage and cause."""

    stage: str
    cause: Cause
    letters: int


@dataclass(frozen=True, slots=True)
class MailboxPulse:
    """Whether a mailbox is read, and how many seconds ago its changes were read; None before the first time."""

    mailbox_id: UUID
    is_up: bool
    lag_seconds: float | None


@dataclass(frozen=True, slots=True)
class OccurrenceCount:
    """Occurrences of one mailbox and state on one page; stranded ones have work left and no job that would do it."""

    mailbox_id: UUID
    state: OccurrenceState
    occurrences: int
    stranded: int
    last_id: int


def organization_name(connection: Connection, org_id: UUID) -> str | None:
    """Return an organization's name; None when there is no such organization."""
    found: str | None = connection.execute(_ORGANIZATION, {"org": org_id}).scalar_one_or_none()
    return found


def mailboxes_of(connection: Connection, org_id: UUID) -> list[OwnMailbox]:
    """Return an organization's mailboxes by address."""
    return [
        OwnMailbox(
            row.id,
            row.address,
            Provider(row.provider),
            MailboxState(row.state),
            row.state_reason,
            row.paused_until,
            row.paused_by,
            row.created_at,
        )
        for row in connection.execute(_MAILBOXES, {"org": org_id})
    ]


def is_own_mailbox(connection: Connection, org_id: UUID, mailbox_id: UUID) -> bool:
    """Say whether the mailbox exists and belongs to the organization."""
    return bool(connection.execute(_OWNED, {"mailbox": mailbox_id, "org": org_id}).scalar_one())


def open_letter_id(connection: Connection, org_id: UUID, job_id: int) -> int | None:
    """Return the open dead letter of a job of the organization; None when the job is not dead, or not theirs."""
    found: int | None = connection.execute(_OPEN_LETTER, {"job": job_id, "org": org_id}).scalar_one_or_none()
    return found


def overview(connection: Connection, org_id: UUID) -> Overview:
    """Return one organization's figures."""
    row = connection.execute(_OVERVIEW, {"org": org_id}).one()
    return Overview(row.queued, row.running, row.failed, row.unresolved, row.mailboxes, row.paused, row.lag)


def queue_depths(connection: Connection) -> list[Depth]:
    """Return how many jobs stand where: one pass over the live jobs, finished ones have left."""
    return [
        Depth(row.stage, Lane(row.lane), JobState(row.state), row.jobs, row.age) for row in connection.execute(_DEPTHS)
    ]


def open_letters(connection: Connection) -> list[OpenLetters]:
    """Return how many dead letters wait for a person, by stage and cause."""
    return [OpenLetters(row.stage, Cause(row.cause), row.letters) for row in connection.execute(_OPEN_LETTERS)]


def mailbox_pulses(connection: Connection) -> list[MailboxPulse]:
    """Return whether and how lately each mailbox was read."""
    return [MailboxPulse(row.id, row.is_up, row.lag) for row in connection.execute(_LAGS)]


def workers_alive(connection: Connection, lock_class: int) -> int:
    """Return how many workers hold the advisory lock of `lock_class` that proves they live."""
    found: int = connection.execute(_WORKERS, {"class": lock_class}).scalar_one()
    return found


def occurrence_page(connection: Connection, after: int, limit: int) -> Sequence[OccurrenceCount]:
    """Count the `limit` occurrences with ids after `after`, at a cost that does not grow with the archive.

    A job and the state it leads to change in one transaction, so what one statement sees as stranded is stranded.
    """
    rows = connection.execute(_PAGE, {"after": after, "limit": limit})
    return [
        OccurrenceCount(row.mailbox_id, OccurrenceState(row.state), row.occurrences, row.stranded, row.last_id)
        for row in rows
    ]
