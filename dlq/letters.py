"""Dead letters: burying a job that cannot go on; replaying, discarding and editing it, and undoing a discard."""

from __future__ import annotations

import hashlib
import json
import re
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, Row, text

from models.enums import Cause, Lane, Resolution
from pipeline.runtime.errors import UserError
from pipeline.runtime.jobs import Job
from pipeline.runtime.ledger import Line

#: So long a discard can be undone.
UNDO_WITHIN = timedelta(days=3)
#: A job's arguments are a few words of a stage's own, never a mail.
ARGS_LIMIT = 64_000

_TEXT_LIMIT = 2_000
_TRACE_LIMIT = 4_000
#: What differs between two errors of one kind: quoted values, addresses, UUIDs, hashes, numbers.
_VARIABLE = re.compile(
    r"'[^']*'|\"[^\"]*\"|[^\s<>()]+@[^\s<>(),;:]+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|0x[0-9a-f]+|[0-9a-f]{8,}|\d+",
    re.IGNORECASE,
)

#: What a terminal would obey and a column may not hold: all of C0, DEL and C1 but newline and tab.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

#: A NUL in JSON, and not a backslash with letters behind it.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")

#: What it died of is a failure too, unless no stage of ours said it.
_BURY = text("""
    WITH buried AS (
        UPDATE jobs SET state = 'dead', lease_until = NULL, worker = NULL, is_wanted = false,
                        failures = failures
                            + CASE WHEN bad.error ->> 'cause' IN ('crashed', 'unknown_stage') THEN 0 ELSE 1 END,
                        last_error = bad.error || CASE WHEN last_error ? 'first'
                            THEN jsonb_build_object('first', last_error -> 'first') ELSE '{}' END
          FROM unnest(CAST(:ids AS bigint[]), CAST(:errors AS jsonb[])) AS bad(id, error)
         WHERE jobs.id = bad.id AND jobs.state <> 'dead'
        RETURNING jobs.*
    )
    INSERT INTO dead_letters (job_id, org_id, mailbox_id, stage, key, lane, cause, error_class, error_text,
                              error_trace, error_group, attempts, failures, crashes, args, trace_id, queued_at,
                              place, first_error)
    SELECT id, org_id, mailbox_id, stage, key, lane, last_error ->> 'cause', last_error ->> 'class',
           last_error ->> 'text', last_error ->> 'trace', last_error ->> 'group', attempt, failures, crashes, args,
           trace_id, created_at, place, last_error -> 'first'
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
    said = _plain(said).encode("utf-8", "replace").decode()[:_TEXT_LIMIT] or name
    trace = "".join(traceback.format_tb(error.__traceback__))[-_TRACE_LIMIT:] if error else ""
    shape = f"{name}:{_VARIABLE.sub('#', said.splitlines()[0])}"
    group = hashlib.sha256(shape.encode()).hexdigest()[:12]
    return {"cause": cause.value, "class": name, "text": said, "trace": _plain(trace), "group": group}


def _plain(said: str) -> str:
    """Return a text with U+FFFD for each character that a terminal would obey; only newlines and tabs stay."""
    return _CONTROL.sub("\ufffd", said.replace("\r\n", "\n"))


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


#: The statements below take what they change by arrays and look-ups alone. After a sudden flood of letters PostgreSQL
#: takes a few thousand rows for one, and would join them with each other in a loop within a loop.
#: Locked are each letter and then its job, in order of the letters' ids. What killed its process before runs alone from
#: the start. The first error is of the life that is over.
_REPLAY = text("""
    WITH chosen AS (
        SELECT d.id, d.job_id, d.cause, asked.bulk_id, asked.actor, asked.reason
          FROM unnest(CAST(:ids AS bigint[]), CAST(:bulks AS bigint[]), CAST(:actors AS text[]),
                      CAST(:reasons AS text[])) AS asked(id, bulk_id, actor, reason)
         CROSS JOIN LATERAL (SELECT id, job_id, cause, resolution FROM dead_letters
                              WHERE dead_letters.id = asked.id LIMIT 1 FOR UPDATE) AS d
         CROSS JOIN LATERAL (SELECT state FROM jobs WHERE jobs.id = d.job_id LIMIT 1 FOR UPDATE) AS j
         WHERE d.resolution IS NULL AND j.state = 'dead'
    ), revived AS (
        UPDATE jobs SET state = 'ready', lane = 'repair', run_at = now(), failures = 0, crashes = 0, company = 0,
                        is_suspect = id IN (SELECT job_id FROM chosen WHERE cause = 'crashed'), is_wanted = false,
                        last_error = last_error - 'first'
         WHERE id = ANY(ARRAY(SELECT job_id FROM chosen))
        RETURNING id, stage
    ), marked AS (
        UPDATE dead_letters SET resolution = 'replayed', resolved_at = now(), resolved_by = chosen.actor,
                                resolved_reason = chosen.reason
          FROM chosen WHERE dead_letters.id = chosen.id
        RETURNING dead_letters.id, dead_letters.org_id, chosen.bulk_id, chosen.actor, chosen.reason
    ), noted AS (
        INSERT INTO letter_actions (org_id, letter_id, bulk_id, action, actor, reason)
        SELECT org_id, id, bulk_id, 'replayed', actor, reason FROM marked ORDER BY id
    )
    SELECT (SELECT array_agg(id) FROM marked) AS ids, (SELECT array_agg(DISTINCT stage) FROM revived) AS stages
""")

_DISCARD = text("""
    WITH chosen AS (
        SELECT id, job_id FROM dead_letters WHERE id = ANY(CAST(:ids AS bigint[])) AND resolution IS NULL
         ORDER BY id FOR UPDATE
    ), dropped AS (
        DELETE FROM jobs WHERE id = ANY(ARRAY(SELECT job_id FROM chosen)) AND state = 'dead'
    ), marked AS (
        UPDATE dead_letters SET resolution = 'discarded', resolved_at = now(), resolved_by = :actor,
                                resolved_reason = :reason
         WHERE id = ANY(ARRAY(SELECT id FROM chosen))
        RETURNING id, org_id
    ), noted AS (
        INSERT INTO letter_actions (org_id, letter_id, bulk_id, action, actor, reason)
        SELECT org_id, id, CAST(:bulk AS bigint), 'discarded', :actor, :reason FROM marked ORDER BY id
    )
    SELECT id FROM marked
""")

#: The newest letter of a step first: it alone gets the place of its job back. Its attempts keep the fence growing.
_RESTORE = text("""
    WITH chosen AS (
        SELECT * FROM dead_letters
         WHERE id = ANY(CAST(:ids AS bigint[])) AND resolution = 'discarded' AND resolved_at > now() - :within
         ORDER BY id FOR UPDATE
    ), written AS (
        INSERT INTO jobs (id, stage, key, org_id, mailbox_id, lane, state, place, attempt, failures, crashes, args,
                          trace_id, created_at, last_error)
        OVERRIDING SYSTEM VALUE
        SELECT job_id, stage, key, org_id, mailbox_id, lane, 'dead', place, attempts, failures, crashes, args,
               trace_id, queued_at,
               jsonb_build_object('cause', cause, 'class', error_class, 'text', error_text,
                                  'trace', coalesce(error_trace, ''), 'group', error_group)
                   || CASE WHEN first_error IS NULL THEN '{}' ELSE jsonb_build_object('first', first_error) END
          FROM chosen ORDER BY id DESC
            ON CONFLICT DO NOTHING
        RETURNING id
    ), marked AS (
        UPDATE dead_letters SET resolution = NULL, resolved_at = NULL, resolved_by = NULL, resolved_reason = NULL
         WHERE id = ANY(ARRAY(SELECT id FROM chosen WHERE (job_id IN (SELECT id FROM written)) IS TRUE))
        RETURNING id, org_id
    ), noted AS (
        INSERT INTO letter_actions (org_id, letter_id, action, actor, reason)
        SELECT org_id, id, 'restored', :actor, :reason FROM marked ORDER BY id
    )
    SELECT id FROM marked
""")
_WHY_NOT = text("""
    SELECT asked.id, d.id IS NOT NULL AS is_there, d.resolution, d.resolved_at < now() - :within AS is_late
      FROM unnest(CAST(:ids AS bigint[])) AS asked(id) LEFT JOIN dead_letters d ON d.id = asked.id
     ORDER BY asked.id
""")

_BEFORE = text("""
    SELECT d.args FROM dead_letters d JOIN jobs j ON j.id = d.job_id AND j.state = 'dead'
     WHERE d.id = :id AND d.resolution IS NULL FOR UPDATE OF d
""")
_EDIT = text("""
    WITH edited AS (
        UPDATE dead_letters SET args = CAST(:args AS jsonb) WHERE id = :id RETURNING id, org_id, job_id
    ), passed_on AS (
        UPDATE jobs SET args = CAST(:args AS jsonb) FROM edited WHERE jobs.id = edited.job_id
    )
    INSERT INTO letter_actions (org_id, letter_id, action, actor, reason, data)
    SELECT org_id, id, 'edited', :actor, :reason, CAST(:data AS jsonb) FROM edited
""")


@dataclass(frozen=True, slots=True)
class Order:
    """A wish to replay one letter: whose, why, and as part of which bulk."""

    letter_id: int
    actor: str
    reason: str
    bulk_id: int | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """The letters that were replayed, and the lines their jobs now stand in: ring these after the commit."""

    letter_ids: tuple[int, ...]
    lines: frozenset[Line]


@dataclass(frozen=True, slots=True)
class Restored:
    """The letters that are open again, and why others are not, by id."""

    letter_ids: tuple[int, ...]
    refused: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Edited:
    """The arguments of a job before and after a person wrote them anew."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]


def replay(
    connection: Connection, letter_ids: Sequence[int], *, actor: str, reason: str, bulk_id: int | None = None
) -> Replayed:
    """Give open letters a fresh budget in the repair lane. The fence is kept: a twin of the old attempt stays out.

    Idempotent: of parallel equal calls one replays, the others find nothing open.
    """
    return replay_each(connection, [Order(one, actor, reason, bulk_id) for one in letter_ids])


def replay_each(connection: Connection, orders: Sequence[Order]) -> Replayed:
    """Replay letters that several people or bulks asked for, as `replay` does; of orders for one letter one counts."""
    by_id = {order.letter_id: order for order in orders}
    unique = [by_id[letter_id] for letter_id in sorted(by_id)]
    row = connection.execute(
        _REPLAY,
        {
            "ids": [order.letter_id for order in unique],
            "bulks": [order.bulk_id for order in unique],
            "actors": [order.actor for order in unique],
            "reasons": [order.reason for order in unique],
        },
    ).one()
    lines = frozenset(Line(stage, Lane.REPAIR) for stage in row.stages or ())
    return Replayed(tuple(sorted(row.ids or ())), lines)


def discard(
    connection: Connection, letter_ids: Sequence[int], *, actor: str, reason: str, bulk_id: int | None = None
) -> tuple[int, ...]:
    """End open letters without running them; their occurrences stay quarantined and accounted for."""
    values = {"ids": list(letter_ids), "actor": actor, "reason": reason, "bulk": bulk_id}
    return tuple(sorted(connection.execute(_DISCARD, values).scalars()))


def restore(connection: Connection, letter_ids: Sequence[int], *, actor: str, reason: str) -> Restored:
    """Undo discards of the last `UNDO_WITHIN`: each job stands dead again under its old id, its letter is open.

    Refused, in words, is what was discarded too long ago, was not discarded, or has an equal job in line meanwhile.
    """
    values = {"ids": list(letter_ids), "within": UNDO_WITHIN}
    done = set(connection.execute(_RESTORE, values | {"actor": actor, "reason": reason}).scalars())
    rows = connection.execute(_WHY_NOT, values).all() if done != set(letter_ids) else []
    return Restored(tuple(sorted(done)), {row.id: _why_not(row) for row in rows if row.id not in done})


def edit(connection: Connection, letter_id: int, args: Mapping[str, Any], *, actor: str, reason: str) -> Edited | None:
    """Write the arguments of an open letter's job anew, for its next replay; the former ones are kept with the action.

    None when the letter is not open. Raises `UserError` for arguments that cannot be kept.
    """
    written = _written(args)
    row = connection.execute(_BEFORE, {"id": letter_id}).one_or_none()
    if row is None:
        return None
    before = dict(row.args or {})
    data = orjson.dumps({"before": before, "after": args}).decode()
    connection.execute(_EDIT, {"id": letter_id, "args": written, "actor": actor, "reason": reason, "data": data})
    return Edited(before, dict(args))


def _written(args: Mapping[str, Any]) -> str:
    try:
        written = orjson.dumps(args).decode()
        json.dumps(args, allow_nan=False)  # orjson would write null for what is no number
    except (TypeError, ValueError) as error:
        raise UserError(f"these arguments are no JSON: {error}") from None
    if len(written) > ARGS_LIMIT:
        raise UserError(f"these arguments are too long: at most {ARGS_LIMIT} characters of JSON")
    if _NUL.search(written):
        raise UserError("these arguments hold a NUL character, which no row can keep")
    return written


def _why_not(row: Row[Any]) -> str:
    if not row.is_there:
        return "there is no such letter"
    if row.resolution is None:
        return "it is not discarded"
    if row.resolution == Resolution.REPLAYED:
        return "it was replayed, not discarded"
    if row.is_late:
        return f"it was discarded more than {UNDO_WITHIN.days} days ago"
    return "an equal job stands in line meanwhile"
