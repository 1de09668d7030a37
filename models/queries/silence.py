"""Jobs and mailboxes that stand still although nothing holds them: what is owed, since when, and one example.

Every query reads the jobs that are on their way and the mailboxes, through their indexes; none reads the archive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Lane

#: A due job is taken, a wait ended and a lost job brought back within a second or two; a minute without it is told
#: (reliability, section 8, G17).
PATIENCE = timedelta(minutes=1)
#: A sweep each half second brings back what was lost, but for 5 s after PostgreSQL started.
LOST = timedelta(seconds=10)
#: A mailbox is given this many of its intervals, and never less than this time, before it counts as not read.
_INTERVALS, _LEAST_UNREAD = 3, timedelta(minutes=5)
#: Mailboxes with held fetches that are looked at in one reading.
_STEPS = 1_000


class Why(StrEnum):
    """What is wrong with a job that is overdue."""

    READY = "ready"  #: due, and nobody takes it
    RUNNING = "running"  #: its worker renews its lease and does not come to an end
    LEASE = "lease"  #: its lease is over, and nobody brought it back
    WAITING = "waiting"  #: its time has passed, and nobody made it ready
    HELD = "held"  #: its mailbox's budget would pay for it, and nobody lets it go
    BLOCKED = "blocked"  #: parked until a person acts on a mailbox that needs nobody
    DEAD = "dead"  #: no open dead letter tells of it: nobody can replay it


@dataclass(frozen=True, slots=True)
class Allowance:
    """How long a job of one stage and lane may be due before it is taken, and how long its run may take."""

    stage: str
    lane: Lane
    due: timedelta
    run: timedelta


@dataclass(frozen=True, slots=True)
class Overdue:
    """Jobs of one stage and lane that are late for the same reason; `seconds` is the age of the oldest."""

    why: Why
    stage: str
    lane: Lane
    jobs: int
    seconds: float
    example: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """Held fetches of a mailbox that may be read and of which none is let go; `seconds` since it might have been."""

    mailbox_id: UUID
    stage: str
    lane: Lane
    jobs: int
    seconds: float
    example: str


@dataclass(frozen=True, slots=True)
class Reading:
    """How long ago a mailbox that should be read was read last, and how long that may be, in seconds.

    One that was never read counts from when it was added. `is_listed_first`: it is being listed, and its provider names
    no cursor before the end, so that the listing's own job is what is watched.
    """

    mailbox_id: UUID
    address: str
    seconds: float
    allowed_seconds: float
    is_new: bool
    is_listed_first: bool

    @property
    def is_overdue(self) -> bool:
        """Say whether nobody has read it for longer than is allowed."""
        return self.seconds > self.allowed_seconds and not self.is_listed_first


#: One branch per state, so that each goes by the partial index of its state. The example is the job that came first.
_OVERDUE = text("""
    WITH allowed AS (
        SELECT * FROM unnest(CAST(:stages AS text[]), CAST(:lanes AS text[]), CAST(:dues AS interval[]),
                             CAST(:runs AS interval[])) AS t(stage, lane, due, run)
    ), late AS (
        SELECT 'ready' AS why, j.stage, j.lane, j.id, j.run_at AS since
          FROM jobs j LEFT JOIN allowed a ON a.stage = j.stage AND a.lane = j.lane
         WHERE j.state = 'ready' AND j.run_at < now() - coalesce(a.due, :patience)
        UNION ALL
        SELECT CASE WHEN j.lease_until < now() - :lost THEN 'lease' ELSE 'running' END, j.stage, j.lane, j.id,
               CASE WHEN j.lease_until < now() - :lost THEN j.lease_until ELSE j.run_at END
          FROM jobs j LEFT JOIN allowed a ON a.stage = j.stage AND a.lane = j.lane
         WHERE j.state = 'running'
           AND CASE WHEN j.lease_until < now() - :lost THEN pg_postmaster_start_time() < now() - :lost
                    ELSE j.run_at < now() - coalesce(a.due + a.run, :patience) END
        UNION ALL
        SELECT 'waiting', stage, lane, id, run_at FROM jobs WHERE state = 'waiting' AND run_at < now() - :patience
        UNION ALL
        SELECT 'blocked', j.stage, j.lane, j.id, j.run_at FROM jobs j LEFT JOIN mailboxes m ON m.id = j.mailbox_id
         WHERE j.state = 'blocked' AND (m.id IS NULL OR m.state = 'active') AND j.run_at < now() - :patience
        UNION ALL
        SELECT 'dead', j.stage, j.lane, j.id, j.run_at FROM jobs j
         WHERE j.state = 'dead' AND j.run_at < now() - :patience
           AND NOT EXISTS (SELECT FROM dead_letters d WHERE d.job_id = j.id AND d.resolution IS NULL)
    ), counted AS (
        SELECT why, stage, lane, count(*) AS jobs, extract(epoch FROM now() - min(since)) AS seconds, min(id) AS first
          FROM late GROUP BY why, stage, lane
    )
    SELECT c.why, c.stage, c.lane, c.jobs, CAST(c.seconds AS float8) AS seconds, j.key AS example
      FROM counted c JOIN jobs j ON j.id = c.first ORDER BY c.why, c.stage, c.lane
""")

#: One step of the index per mailbox, however many fetches it holds. A fetch that waits long after a failure does not
#: count as let go: it leaves its room to others (`pipeline.runtime.pump`).
_STOPPED = text("""
    WITH RECURSIVE boxes(id, step) AS (
        (SELECT mailbox_id, 1 FROM jobs WHERE state = 'held' ORDER BY mailbox_id LIMIT 1)
        UNION ALL
        SELECT (SELECT mailbox_id FROM jobs WHERE state = 'held' AND mailbox_id > boxes.id ORDER BY mailbox_id LIMIT 1),
               boxes.step + 1
          FROM boxes WHERE boxes.id IS NOT NULL AND boxes.step < :steps
    ), stopped AS (
        SELECT m.id, greatest(first.run_at, rest.until) AS since, first.stage, first.lane, first.key
          FROM boxes JOIN mailboxes m ON m.id = boxes.id AND m.state = 'active'
         CROSS JOIN LATERAL (SELECT stage, lane, key, run_at FROM jobs
                              WHERE mailbox_id = m.id AND state = 'held' ORDER BY lane, place, id LIMIT 1) AS first
         CROSS JOIN LATERAL (SELECT max(greatest(rest_until, bytes_rest_until)) AS until FROM budgets
                              WHERE scope IN ('mailbox:' || m.id, 'project:' || m.project)) AS rest
         WHERE NOT EXISTS (SELECT FROM jobs j
                            WHERE j.mailbox_id = m.id AND j.stage = 'fetch' AND j.lane <> 'live'
                              AND j.state IN ('ready', 'running', 'waiting')
                              AND (j.state <> 'waiting' OR j.run_at <= now() + interval '1 second'))
    )
    SELECT id, stage, lane, (SELECT count(*) FROM jobs WHERE mailbox_id = s.id AND state = 'held') AS jobs,
           CAST(extract(epoch FROM now() - since) AS float8) AS seconds, key
      FROM stopped s WHERE since < now() - :patience ORDER BY since
""")

_READINGS = text("""
    SELECT m.id, m.address,
           CAST(extract(epoch FROM now() - greatest(m.last_incremental_sync_at, m.last_full_sync_at, m.created_at))
                AS float8) AS seconds,
           CAST(extract(epoch FROM greatest(:least, m.poll_interval * :scale)) AS float8) AS allowed,
           m.last_incremental_sync_at IS NULL AND m.last_full_sync_at IS NULL AS is_new,
           m.sync_cursor IS NULL AND EXISTS (
               SELECT FROM backfills b WHERE b.mailbox_id = m.id AND b.state = 'running') AS is_listed_first
      FROM mailboxes m
     WHERE m.state IN ('active', 'probing') AND m.provider <> 'files'
       AND (CAST(:ids AS uuid[]) IS NULL OR m.id = ANY(CAST(:ids AS uuid[])))
     ORDER BY m.address
""")


def overdue(connection: Connection, allowances: Sequence[Allowance], *, lost: timedelta = LOST) -> list[Overdue]:
    """Return the jobs that are late, by stage, lane and reason; of stages nobody declared after a minute.

    A lease may be over for `lost` before it is told, and as long after PostgreSQL's start.
    """
    rows = connection.execute(
        _OVERDUE,
        {
            "stages": [allowed.stage for allowed in allowances],
            "lanes": [allowed.lane.value for allowed in allowances],
            "dues": [allowed.due for allowed in allowances],
            "runs": [allowed.run for allowed in allowances],
            "patience": PATIENCE,
            "lost": lost,
        },
    )
    return [Overdue(Why(row.why), row.stage, Lane(row.lane), row.jobs, row.seconds, row.example) for row in rows]


def stopped(connection: Connection) -> list[Stopped]:
    """Return mailboxes that hold fetches, rest not, and have let nothing go; whether they can pay is not looked at."""
    rows = connection.execute(_STOPPED, {"steps": _STEPS, "patience": PATIENCE})
    return [Stopped(row.id, row.stage, Lane(row.lane), row.jobs, row.seconds, row.key) for row in rows]


def readings(connection: Connection, scale: float, mailbox_ids: Sequence[UUID] | None = None) -> list[Reading]:
    """Return when mailboxes that should be read were read last (None: all).

    `scale` is the schedule's pace in units of the one at which their intervals are kept.
    """
    ids = None if mailbox_ids is None else list(mailbox_ids)
    values = {"scale": scale * _INTERVALS, "least": _LEAST_UNREAD, "ids": ids}
    return [Reading(*row) for row in connection.execute(_READINGS, values)]
