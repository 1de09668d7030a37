"""The ledger: jobs are rows, claimed in batches under a fence and settled in the transaction of their effects.

        put ──────────────► ready ──── claim (attempt + 1) ────► running ──── settle ────► (row leaves)
         │                    ▲  ▲                                 │ │ │
         │    promote, at due │  │ reclaim: lease over, worker gone│ │ └── bury ────► dead ── revive ──► ready
         │                    │  └─────────────────────────────────┘ │
         │                 waiting ◄──────── failed, again ──────────┤
         │                 blocked ◄──────── a person must act ──────┤
         └──────────────►   held   ◄──────── out of budget ──────────┘
                              └── let go by the pump (`pipeline.runtime.pump`) ──► ready

A finished row leaves the table: the domain rows are the memory, so the cost per message stays flat as the archive
grows. All times are the database's. The fence is `(id, attempt, worker)`: a late twin finds another attempt and
changes nothing. A batch whose process died comes back as suspects, claimed ten at a time; those that die again come
one at a time, so that only the guilty row gathers crashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row, text

from models.enums import JobState, Lane
from pipeline.runtime import locks
from pipeline.runtime.jobs import Emit, Job

#: Three deaths while alone with its process make a job a dead letter.
CRASH_LIMIT = 3
#: So many suspects of one batch are tried together: a batch of a hundred is through in ten claims and not in a hundred
#: (kill -9 of a loaded worker: its last job was held again after 13.7 s one by one), for one more death of the guilty.
SUSPECTS = 10
#: After a restart of PostgreSQL every advisory lock is gone and leases may be over though their workers live: those
#: need a moment to take their locks again and to settle what they hold.
LOCK_GRACE = timedelta(seconds=5)
#: Class of the advisory locks that prove a worker is alive.
WORKER_LOCK = locks.WORKER

_JOB_COLUMNS = "id, stage, key, org_id, mailbox_id, lane, place, attempt, failures, crashes, args, trace_id, is_suspect"

_PUT = text("""
    INSERT INTO jobs (stage, key, org_id, mailbox_id, lane, place, trace_id, args, state, run_at)
    SELECT stage, key, org_id, mailbox_id, lane, place, trace_id, args,
           CASE WHEN delay > 0 THEN 'waiting' WHEN is_held THEN 'held' ELSE 'ready' END,
           now() + make_interval(secs => delay)
      FROM unnest(CAST(:stages AS text[]), CAST(:keys AS text[]), CAST(:orgs AS uuid[]), CAST(:mailboxes AS uuid[]),
                  CAST(:lanes AS text[]), CAST(:places AS bigint[]), CAST(:traces AS text[]), CAST(:args AS jsonb[]),
                  CAST(:delays AS float8[]), CAST(:held AS bool[]))
        AS t(stage, key, org_id, mailbox_id, lane, place, trace_id, args, delay, is_held)
     ORDER BY stage, key
        ON CONFLICT (stage, key) DO UPDATE
           SET is_wanted = true,
               run_at = CASE WHEN jobs.is_wanted THEN least(jobs.run_at, excluded.run_at) ELSE excluded.run_at END
         WHERE jobs.state = 'running'
    RETURNING stage, lane, state
""")

_TAKE = f"""
    UPDATE jobs SET state = 'running', attempt = attempt + 1, worker = :worker, is_wanted = false,
                    company = (SELECT count(*) FROM chosen), lease_until = now() + make_interval(secs => :lease)
      FROM chosen WHERE jobs.id = chosen.id
    RETURNING {", ".join("jobs." + name for name in _JOB_COLUMNS.split(", "))},
              CAST(greatest(extract(epoch FROM now() - jobs.run_at), 0) AS float8) AS waited
"""  # noqa: S608 - column names from above

_CLAIM = text(f"""
    WITH chosen AS (
        SELECT id FROM jobs
         WHERE stage = :stage AND lane = :lane AND state = 'ready' AND NOT is_suspect
         ORDER BY place, id LIMIT :batch FOR UPDATE SKIP LOCKED
    )
    {_TAKE}
""")  # noqa: S608 - as above

#: The oldest decides: of a large batch its like come with it, else it comes alone.
_CLAIM_SUSPECTS = text(f"""
    WITH picked AS (
        SELECT id, company > :group AS is_of_many FROM jobs
         WHERE stage = :stage AND lane = :lane AND state = 'ready' AND is_suspect
         ORDER BY id LIMIT :group FOR UPDATE SKIP LOCKED
    ), ranked AS (
        SELECT id, is_of_many AND bool_and(is_of_many) OVER (ORDER BY id) AS is_together,
               row_number() OVER (ORDER BY id) AS number
          FROM picked
    ), chosen AS (
        SELECT id FROM ranked WHERE number = 1 OR is_together
    )
    {_TAKE}
""")  # noqa: S608 - as above

#: A key-share lock keeps claimers and sweepers out, which skip locked rows, and lets `put` say "once more" without
#: waiting: it would wait for a transaction that may be waiting for the tickets its own holds.
_HOLD = text("""
    SELECT id, attempt FROM jobs
     WHERE id = ANY(CAST(:ids AS bigint[])) AND state = 'running' AND worker = :worker
     ORDER BY id FOR KEY SHARE
""")

_LEAVE = text("DELETE FROM jobs WHERE id = ANY(CAST(:ids AS bigint[])) AND NOT is_wanted")

#: When it is due said whoever asked for it while it ran, a stage that looks again later among them; by the clock, since
#: they may have begun after this transaction.
_GO_ON = text("""
    UPDATE jobs SET state = CASE WHEN run_at > clock_timestamp() THEN 'waiting' ELSE 'ready' END,
                    run_at = greatest(run_at, now()), is_wanted = false, lease_until = NULL, worker = NULL,
                    failures = 0, crashes = 0, is_suspect = false, last_error = NULL
     WHERE id = ANY(CAST(:ids AS bigint[])) AND is_wanted
    RETURNING stage, lane, state
""")

_POSTPONE = text("""
    UPDATE jobs SET state = 'waiting', lease_until = NULL, worker = NULL, is_wanted = false, is_suspect = false,
                    failures = failures + wait.cost,
                    last_error = coalesce(wait.error || jsonb_build_object('first', coalesce(last_error -> 'first',
                        jsonb_build_object('class', wait.error -> 'class', 'text', wait.error -> 'text', 'at', now()))),
                        last_error),
                    run_at = now() + make_interval(secs => wait.delay)
      FROM unnest(CAST(:ids AS bigint[]), CAST(:delays AS float8[]), CAST(:costs AS int[]), CAST(:errors AS jsonb[]))
        AS wait(id, delay, cost, error)
     WHERE jobs.id = wait.id
""")

_BLOCK = text("""
    UPDATE jobs SET state = 'blocked', lease_until = NULL, worker = NULL, is_wanted = false, is_suspect = false
     WHERE id = ANY(CAST(:ids AS bigint[]))
""")

_HOLD_BACK = text("""
    UPDATE jobs SET state = 'held', lease_until = NULL, worker = NULL, is_wanted = false, is_suspect = false
     WHERE id = ANY(CAST(:ids AS bigint[]))
""")

#: A row that is locked is being settled by its own worker: it needs no longer lease, and nobody waits for it here.
_RENEW = text("""
    WITH held AS (
        SELECT id FROM jobs WHERE id = ANY(CAST(:ids AS bigint[])) AND worker = :worker AND state = 'running'
           FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs SET lease_until = now() + make_interval(secs => :lease) FROM held WHERE jobs.id = held.id
""")

_RELEASE = text("""
    UPDATE jobs SET state = 'ready', lease_until = NULL, worker = NULL
     WHERE worker = :worker AND state = 'running'
    RETURNING stage, lane
""")

_PROMOTE = text("""
    WITH due AS (
        SELECT id FROM jobs WHERE state = 'waiting' AND run_at <= now()
         ORDER BY run_at LIMIT 500 FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs SET state = 'ready' FROM due WHERE jobs.id = due.id RETURNING jobs.stage, jobs.lane
""")

_HAS_SUSPECTS = text("""
    SELECT EXISTS (SELECT FROM jobs WHERE stage = :stage AND lane = :lane AND state = 'ready' AND is_suspect)
""")

#: A death is charged to a row that its worker held alone: beside it nothing else ran in that process.
_RECLAIM = text(f"""
    WITH lost AS (
        SELECT id, NOT EXISTS (SELECT FROM jobs AS beside WHERE beside.state = 'running'
                                  AND beside.worker = jobs.worker AND beside.id <> jobs.id) AS was_alone
          FROM jobs
         WHERE state = 'running' AND pg_postmaster_start_time() < now() - make_interval(secs => :grace)
           AND (lease_until < now()
                OR NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = {WORKER_LOCK}
                                  AND objid = CAST(jobs.worker AS oid) AND objsubid = 2 AND granted
                                  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())))
         ORDER BY id LIMIT 500 FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs SET state = 'ready', lease_until = NULL, worker = NULL, is_suspect = true,
                    crashes = crashes + CASE WHEN company = 1 AND was_alone THEN 1 ELSE 0 END
      FROM lost WHERE jobs.id = lost.id
    RETURNING {", ".join("jobs." + name for name in _JOB_COLUMNS.split(", "))}, CAST(0 AS float8) AS waited
""")  # noqa: S608 - column names from above

_READY = text("""
    SELECT s.stage, l.lane
      FROM unnest(CAST(:stages AS text[])) AS s(stage), unnest(CAST(:lanes AS text[])) AS l(lane)
     WHERE EXISTS (SELECT FROM jobs WHERE jobs.stage = s.stage AND jobs.lane = l.lane AND jobs.state = 'ready')
""")

_UNBLOCK = text("""
    UPDATE jobs SET state = 'ready', run_at = now() WHERE mailbox_id = :mailbox AND state = 'blocked'
    RETURNING stage, lane
""")


_HASTEN = text("UPDATE jobs SET run_at = now() WHERE mailbox_id = :mailbox AND state = 'waiting'")
_HASTEN_STAGE = text("""
    UPDATE jobs SET run_at = now(), state = 'ready'
     WHERE stage = :stage AND key = ANY(CAST(:keys AS text[])) AND state IN ('waiting', 'blocked')
""")


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """One stage's jobs in one lane: what a doorbell names."""

    stage: str
    lane: Lane


@dataclass(frozen=True, slots=True)
class Delay:
    """A job that must wait: how long, whether it counts as a failure, and what was said."""

    job: Job
    delay: timedelta
    is_failure: bool
    error: Mapping[str, Any] | None = None


def _lines(rows: Iterable[Row[Any]]) -> set[Line]:
    return {Line(row.stage, Lane(row.lane)) for row in rows}


def _jobs(rows: Iterable[Row[Any]]) -> list[Job]:
    return [
        Job(
            job_id=row.id,
            stage=row.stage,
            key=row.key,
            org_id=row.org_id,
            mailbox_id=row.mailbox_id,
            lane=Lane(row.lane),
            place=row.place,
            attempt=row.attempt,
            failures=row.failures,
            crashes=row.crashes,
            args=row.args or {},
            trace_id=row.trace_id,
            waited=row.waited,
            is_suspect=row.is_suspect,
        )
        for row in rows
    ]


def put(connection: Connection, emits: Sequence[Emit]) -> set[Line]:
    """Enqueue in the caller's transaction; return the lines that now have ready rows.

    An equal (stage, key) that waits or stands ready already is enough; one that runs is asked to go on afterwards,
    at the earliest time that was asked for; a dead one stays dead until a person replays it.
    """
    if not emits:
        return set()
    unique = {(emit.stage, emit.key): emit for emit in emits}
    values = list(unique.values())
    rows = connection.execute(
        _PUT,
        {
            "stages": [emit.stage for emit in values],
            "keys": [emit.key for emit in values],
            "orgs": [emit.org_id for emit in values],
            "mailboxes": [emit.mailbox_id for emit in values],
            "lanes": [emit.lane.value for emit in values],
            "places": [emit.place for emit in values],
            "traces": [emit.trace_id for emit in values],
            "args": [orjson.dumps(emit.args).decode() if emit.args else None for emit in values],
            "delays": [emit.delay.total_seconds() for emit in values],
            "held": [emit.is_held for emit in values],
        },
    )
    return _lines(row for row in rows if row.state == "ready")


def claim(
    connection: Connection, line: Line, *, batch: int, worker: int, lease: timedelta, suspects: bool = False
) -> list[Job]:
    """Take up to `batch` due rows of a line; or of its `suspects` some of a large batch that died, or a single one.

    Whoever runs suspects runs nothing beside them in the same process: a death must accuse nobody else.
    """
    values = {"stage": line.stage, "lane": line.lane.value, "worker": worker, "lease": lease.total_seconds()}
    if suspects:
        rows = connection.execute(_CLAIM_SUSPECTS, values | {"group": min(batch, SUSPECTS)})
    else:
        rows = connection.execute(_CLAIM, values | {"batch": batch})
    return sorted(_jobs(rows), key=lambda job: (job.place, job.job_id))


def has_suspects(connection: Connection, line: Line) -> bool:
    """Say whether a line has ready rows whose process died, or seemed to, while it held them."""
    return bool(connection.execute(_HAS_SUSPECTS, {"stage": line.stage, "lane": line.lane.value}).scalar_one())


def hold(connection: Connection, jobs: Sequence[Job], worker: int) -> set[int]:
    """Lock the rows of `jobs` that are still held under the same attempt, and return their ids: the fence."""
    attempts = {job.job_id: job.attempt for job in jobs}
    rows = connection.execute(_HOLD, {"ids": list(attempts), "worker": worker})
    return {row.id for row in rows if row.attempt == attempts[row.id]}


def settle(connection: Connection, job_ids: Sequence[int]) -> set[Line]:
    """Let finished rows leave; one that was asked for again while it ran becomes ready, or waits for its time."""
    if not job_ids:
        return set()
    left = connection.execute(_LEAVE, {"ids": list(job_ids)}).rowcount
    if left == len(job_ids):
        return set()
    rows = connection.execute(_GO_ON, {"ids": list(job_ids)})
    return _lines(row for row in rows if row.state == JobState.READY)


def postpone(connection: Connection, delays: Sequence[Delay]) -> None:
    """Make held rows wait; a failure costs one of the stage's attempts, a snooze costs nothing."""
    if delays:
        connection.execute(
            _POSTPONE,
            {
                "ids": [delay.job.job_id for delay in delays],
                "delays": [delay.delay.total_seconds() for delay in delays],
                "costs": [int(delay.is_failure) for delay in delays],
                "errors": [None if delay.error is None else orjson.dumps(delay.error).decode() for delay in delays],
            },
        )


def block(connection: Connection, job_ids: Sequence[int]) -> None:
    """Park held rows until a person acts on their mailbox (`unblock`)."""
    if job_ids:
        connection.execute(_BLOCK, {"ids": list(job_ids)})


def hold_back(connection: Connection, job_ids: Sequence[int]) -> None:
    """Put held rows back behind their mailbox's budget; the pump lets them go again."""
    if job_ids:
        connection.execute(_HOLD_BACK, {"ids": list(job_ids)})


def unblock(connection: Connection, mailbox_id: UUID) -> set[Line]:
    """Make every parked job of a mailbox ready again."""
    return _lines(connection.execute(_UNBLOCK, {"mailbox": mailbox_id}))


def hasten(connection: Connection, mailbox_id: UUID) -> None:
    """Make every waiting job of a mailbox due now."""
    connection.execute(_HASTEN, {"mailbox": mailbox_id})


def hasten_stage(connection: Connection, stage: str, mailbox_ids: Sequence[UUID]) -> None:
    """Make a stage's waiting and parked jobs of some mailboxes due now."""
    if mailbox_ids:
        connection.execute(_HASTEN_STAGE, {"stage": stage, "keys": [str(one) for one in mailbox_ids]})


def renew(connection: Connection, job_ids: Sequence[int], *, worker: int, lease: timedelta) -> None:
    """Push the leases of rows this worker holds."""
    if job_ids:
        connection.execute(_RENEW, {"ids": list(job_ids), "worker": worker, "lease": lease.total_seconds()})


def release(connection: Connection, worker: int) -> set[Line]:
    """Give back what a worker holds when it stops in order; nothing is charged for it."""
    return _lines(connection.execute(_RELEASE, {"worker": worker}))


def promote(connection: Connection) -> set[Line]:
    """Make waiting rows ready whose time has come (up to 500)."""
    return _lines(connection.execute(_PROMOTE))


def reclaim(connection: Connection, grace: timedelta = LOCK_GRACE) -> list[Job]:
    """Take back rows whose lease is over or whose worker is gone (up to 500), as suspects; return them.

    Takes nothing within `grace` of PostgreSQL's start.
    """
    return _jobs(connection.execute(_RECLAIM, {"grace": grace.total_seconds()}))


def ready_lines(connection: Connection, stages: Sequence[str]) -> set[Line]:
    """Return the lines that have at least one ready row."""
    rows = connection.execute(_READY, {"stages": list(stages), "lanes": [lane.value for lane in Lane]})
    return _lines(rows)
