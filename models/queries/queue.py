"""What waits, what runs and who works: the ledger's jobs and workers as people ask about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

#: A worker lives while it holds its advisory lock (architecture, section 3); rows alone prove nothing.
_LIVE = text("""
    SELECT w.number, w.host, w.pid, w.version, w.started_at, w.seen_at FROM workers w
     WHERE EXISTS (SELECT FROM pg_locks l
                    WHERE l.locktype = 'advisory' AND l.classid = 77 AND l.objid = CAST(w.number AS oid)
                      AND l.objsubid = 2 AND l.granted
                      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
     ORDER BY w.number
""")
_BUSY = text("""
    SELECT EXISTS (
        SELECT FROM jobs j JOIN mailboxes m ON m.id = j.mailbox_id
         WHERE j.mailbox_id = :id AND j.stage <> 'watch'
           AND (j.state IN ('ready', 'running', 'waiting')
                OR (j.state = 'held' AND m.state NOT IN ('auth_required', 'blocked'))))
""")
_WAITS = text("""
    SELECT mailbox_id, stage, min(last_error ->> 'text') AS error, count(*) AS jobs, min(run_at) AS next_at
      FROM jobs
     WHERE state = 'waiting' AND (CAST(:ids AS uuid[]) IS NULL OR mailbox_id = ANY(CAST(:ids AS uuid[])))
     GROUP BY mailbox_id, stage, last_error ->> 'group' ORDER BY jobs DESC, next_at LIMIT 1000
""")
_BLOCKED = text("""
    SELECT mailbox_id, count(*) AS jobs FROM jobs
     WHERE state = 'blocked' AND (CAST(:ids AS uuid[]) IS NULL OR mailbox_id = ANY(CAST(:ids AS uuid[])))
     GROUP BY 1
""")
_HELD = text("""
    SELECT mailbox_id, count(*) AS jobs FROM jobs
     WHERE state = 'held' AND (CAST(:ids AS uuid[]) IS NULL OR mailbox_id = ANY(CAST(:ids AS uuid[])))
     GROUP BY 1
""")
_OLDEST = text("""
    SELECT stage, lane, extract(epoch FROM clock_timestamp() - run_at) AS seconds
      FROM jobs WHERE state = 'ready' ORDER BY run_at LIMIT 1
""")
#: Ids grow with time, so the newest hundred thousand hold the last minute unless thousands arrive each second.
_PARSED_LATELY = text("""
    SELECT count(*) FROM messages
     WHERE id > (SELECT coalesce(max(id), 0) - 100000 FROM messages) AND created_at > now() - interval '1 minute'
""")


@dataclass(frozen=True, slots=True)
class LiveWorker:
    """A worker process that holds the proof of its life at this moment."""

    number: int
    host: str
    pid: int
    version: str
    started_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Wait:
    """Jobs of one mailbox and stage that wait alike; without an `error` they were asked for patience or are paused.

    Jobs that failed in the same way are one wait, whatever ids their errors name; `error` is one of their texts.
    """

    mailbox_id: UUID | None
    stage: str
    error: str | None
    jobs: int
    next_at: datetime


@dataclass(frozen=True, slots=True)
class OldestReady:
    """The job that has been due longest, and for how many seconds."""

    stage: str
    lane: str
    seconds: float


def live_workers(connection: Connection) -> list[LiveWorker]:
    """Return the workers that live, by number."""
    return [LiveWorker(*row) for row in connection.execute(_LIVE)]


def is_busy(connection: Connection, mailbox_id: UUID) -> bool:
    """Say whether a mailbox has jobs that go on by themselves soon; parked and dead ones do not.

    Nobody waits for the renewal of a watch.
    """
    return bool(connection.execute(_BUSY, {"id": mailbox_id}).scalar_one())


def waits(connection: Connection, mailbox_ids: Sequence[UUID] | None = None) -> list[Wait]:
    """Return why jobs wait and until when the first of each kind does, the most numerous first."""
    ids = None if mailbox_ids is None else list(mailbox_ids)
    return [Wait(*row) for row in connection.execute(_WAITS, {"ids": ids})]


def blocked(connection: Connection, mailbox_ids: Sequence[UUID] | None = None) -> dict[UUID, int]:
    """Return how many jobs are parked until a person acts, by mailbox."""
    ids = None if mailbox_ids is None else list(mailbox_ids)
    return {row.mailbox_id: row.jobs for row in connection.execute(_BLOCKED, {"ids": ids})}


def held(connection: Connection, mailbox_ids: Sequence[UUID] | None = None) -> dict[UUID, int]:
    """Return how many jobs wait for their mailbox's budget, by mailbox."""
    ids = None if mailbox_ids is None else list(mailbox_ids)
    return {row.mailbox_id: row.jobs for row in connection.execute(_HELD, {"ids": ids})}


def oldest_ready(connection: Connection) -> OldestReady | None:
    """Return the job that nobody has taken for the longest time; None when nothing is due."""
    row = connection.execute(_OLDEST).one_or_none()
    return None if row is None else OldestReady(row.stage, row.lane, float(row.seconds))


def parsed_last_minute(connection: Connection) -> int:
    """Return how many new messages all workers together understood within the last minute."""
    return int(connection.execute(_PARSED_LATELY).scalar_one())
