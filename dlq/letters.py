"""Dead letters: burying a job that cannot go on, and the two ways back: replay and discard."""

from __future__ import annotations

import hashlib
import re
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, text

from models.enums import Cause, Lane
from pipeline.runtime.jobs import Job
from pipeline.runtime.ledger import Line

_TEXT_LIMIT = 2_000
_TRACE_LIMIT = 4_000
#: What differs between two errors of one kind: quoted values, addresses, UUIDs, hashes, numbers.
_VARIABLE = re.compile(
    r"'[^']*'|\"[^\"]*\"|[^\s<>()]+@[^\s<>(),;:]+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|0x[0-9a-f]+|[0-9a-f]{8,}|\d+",
    re.IGNORECASE,
)

_BURY = text("""
    WITH buried AS (
        UPDATE jobs SET state = 'dead', lease_until = NULL, worker = NULL, is_wanted = false, last_error = bad.error
          FROM unnest(CAST(:ids AS bigint[]), CAST(:errors AS jsonb[])) AS bad(id, error)
         WHERE jobs.id = bad.id AND jobs.state <> 'dead'
        RETURNING jobs.*
    )
    INSERT INTO dead_letters (job_id, org_id, mailbox_id, stage, key, lane, cause, error_class, error_text,
                              error_trace, error_group, attempts, failures, crashes, args, trace_id, queued_at)
    SELECT id, org_id, mailbox_id, stage, key, lane, last_error ->> 'cause', last_error ->> 'class',
           last_error ->> 'text', last_error ->> 'trace', last_error ->> 'group', attempt, failures, crashes, args,
           trace_id, created_at
      FROM buried
""")

_QUARANTINE = text("""
    UPDATE occurrences SET state = 'quarantined'
     WHERE id = ANY(CAST(:ids AS bigint[])) AND state NOT IN ('routed', 'gone', 'ignored', 'quarantined')
""")


@dataclass(frozen=True, slots=True)
class Death:
    """A job that cannot go on, and why; `by_occurrence` says that its key is an occurrence's id."""

    job: Job
    cause: Cause
    error: BaseException | None
    by_occurrence: bool


def describe(error: BaseException | None, cause: Cause) -> dict[str, str]:
    """Return what is kept of an error: class, bounded text, bounded trace, and the group of its like."""
    name = type(error).__name__ if error else "WorkerDied"
    said = str(error) if error else "the worker process died every time it ran this job alone"
    said = said.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()[:_TEXT_LIMIT] or name
    trace = "".join(traceback.format_tb(error.__traceback__))[-_TRACE_LIMIT:] if error else ""
    shape = f"{name}:{_VARIABLE.sub('#', said.splitlines()[0])}"
    group = hashlib.sha256(shape.encode()).hexdigest()[:12]
    return {"cause": cause.value, "class": name, "text": said, "trace": trace.replace("\x00", "\ufffd"), "group": group}


def bury(connection: Connection, deaths: Sequence[Death]) -> None:
    """Make held jobs dead letters, in the runner's transaction; their occurrences stand quarantined, raw kept."""
    if not deaths:
        return
    connection.execute(
        _BURY,
        {
            "ids": [death.job.job_id for death in deaths],
            "errors": [orjson.dumps(describe(death.error, death.cause)).decode() for death in deaths],
        },
    )
    occurrences = [int(death.job.key) for death in deaths if death.by_occurrence]
    if occurrences:
        connection.execute(_QUARANTINE, {"ids": occurrences})


_REPLAY = text("""
    WITH chosen AS (
        SELECT id, job_id FROM dead_letters WHERE id = ANY(CAST(:ids AS bigint[])) AND resolution IS NULL
         ORDER BY id FOR UPDATE
    ), revived AS (
        UPDATE jobs SET state = 'ready', lane = 'repair', run_at = now(), failures = 0, crashes = 0,
                        is_suspect = false, is_wanted = false
          FROM chosen WHERE jobs.id = chosen.job_id AND jobs.state = 'dead'
        RETURNING jobs.id, jobs.stage
    ), marked AS (
        UPDATE dead_letters SET resolution = 'replayed', resolved_at = now(), resolved_by = :actor,
                                resolved_reason = :reason
          FROM chosen JOIN revived ON revived.id = chosen.job_id WHERE dead_letters.id = chosen.id
        RETURNING dead_letters.id
    )
    SELECT (SELECT array_agg(id) FROM marked) AS ids, (SELECT array_agg(DISTINCT stage) FROM revived) AS stages
""")

_DISCARD = text("""
    WITH chosen AS (
        SELECT id, job_id FROM dead_letters WHERE id = ANY(CAST(:ids AS bigint[])) AND resolution IS NULL
         ORDER BY id FOR UPDATE
    ), dropped AS (
        DELETE FROM jobs USING chosen WHERE jobs.id = chosen.job_id AND jobs.state = 'dead' RETURNING jobs.id
    )
    UPDATE dead_letters SET resolution = 'discarded', resolved_at = now(), resolved_by = :actor,
                            resolved_reason = :reason
      FROM chosen WHERE dead_letters.id = chosen.id
    RETURNING dead_letters.id
""")


@dataclass(frozen=True, slots=True)
class Replayed:
    """The letters that were replayed, and the lines their jobs now stand in: ring these after the commit."""

    letter_ids: tuple[int, ...]
    lines: frozenset[Line]


def replay(connection: Connection, letter_ids: Sequence[int], *, actor: str, reason: str) -> Replayed:
    """Give open letters a fresh budget in the repair lane. The fence is kept: a twin of the old attempt stays out.

    Idempotent: of parallel equal calls one replays, the others find nothing open.
    """
    row = connection.execute(_REPLAY, {"ids": list(letter_ids), "actor": actor, "reason": reason}).one()
    lines = frozenset(Line(stage, Lane.REPAIR) for stage in row.stages or ())
    return Replayed(tuple(sorted(row.ids or ())), lines)


def discard(connection: Connection, letter_ids: Sequence[int], *, actor: str, reason: str) -> tuple[int, ...]:
    """End open letters without running them; their occurrences stay quarantined and accounted for."""
    rows = connection.execute(_DISCARD, {"ids": list(letter_ids), "actor": actor, "reason": reason})
    return tuple(sorted(row.id for row in rows))
