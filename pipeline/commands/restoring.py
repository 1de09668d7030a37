"""What a database that was restored to an earlier moment must be told before anybody works on it.

Between that moment and the loss the world went on: mail left, numbers were told, workers held jobs. Nothing of it may
happen twice. Everything here is harmless to a database that was not restored, and when it is done again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row, text

from models.enums import Lane, OccurrenceState
from pipeline.runtime import ledger
from pipeline.runtime.db import copy_rows
from pipeline.runtime.errors import UserError
from pipeline.runtime.jobs import Emit

#: What stands in the history of each organization; mail that came before it is not answered automatically any more.
EVENT = "installation.restored"
_SAID = "the database was restored: it may have left after the moment that was restored"
#: Who lacks more than one blob of so many has mostly named the wrong folder, or its disk is not there.
_FEW = 20

#: Whole tables are counted and rewritten, and nobody else is there.
_NO_LIMITS = text("""
    SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true)
""")

#: A number that was told after that moment must not be told again of something else. Ids go on at the next thousand
#: millions, which no installation reaches in between; numbers that people read aloud at ten thousand, or four weeks
#: of work, further; those of workers turn round at their end.
_SKIP = text("""
    SELECT count(setval(format('%I.%I', schemaname, sequencename),
           CASE WHEN sequencename = 'work_order_numbers'
                THEN (coalesce(last_value, 0) + greatest(10000, 4 * (SELECT count(*) FROM work_orders
                                                         WHERE created_at > now() - interval '7 days')) + 9999)
                     / 10000 * 10000
                WHEN max_value < 10000000000 THEN (coalesce(last_value, 0) + 100000) % (max_value - 1) + 1
                ELSE ((coalesce(last_value, 0) + 500000000) / 1000000000 + 1) * 1000000000 END))
      FROM pg_sequences WHERE schemaname = current_schema()
""")
#: The fence: whoever still holds a job of the lost time finds another attempt.
_FENCE = text("""
    UPDATE jobs SET attempt = attempt + 1000, state = CASE WHEN state = 'running' THEN 'ready' ELSE state END,
                    lease_until = NULL, worker = NULL, is_wanted = false, is_suspect = false, company = 0
""")
_NO_WORKERS = text("DELETE FROM workers")
#: As if it had been handed over just now: it is looked up before it may be handed over again (decision 0015).
_DOUBT = text("""
    UPDATE outbound SET state = 'sending', handed_over = greatest(handed_over, 1), handed_over_at = clock_timestamp(),
                        last_error = :said
     WHERE state IN ('queued', 'sending') RETURNING id
""")
#: A person who sends these again should look first.
_WARN = text("""
    UPDATE outbound SET last_error = concat_ws('; ', CAST(:said AS text), last_error)
     WHERE state IN ('failed', 'unknown') AND NOT starts_with(coalesce(last_error, ''), CAST(:said AS text))
""")
#: Polls and watches at once; what a budget had left was perhaps spent since.
_HURRY = text("UPDATE mailboxes SET poll_at = now()")
_WATCH = text("UPDATE watches SET renew_at = now()")
_SPENT = text("UPDATE budgets SET level = 0, level_at = now(), probe_until = NULL")
#: A wish about many dead letters may have been stopped since: a person asks again.
_LEAVE_ITEMS = text("""
    UPDATE bulk_items SET state = 'skipped', ended_at = now(), note = :said WHERE state IN ('waiting', 'released')
""")
_LEAVE_WISHES = text("""
    UPDATE bulks SET state = 'cancelled', finished_at = now(), ended_because = :said WHERE finished_at IS NULL
    RETURNING id, org_id
""")
_ORGANIZATIONS = text("SELECT id FROM organizations")
#: Bytes that the restored store lacks are read from the provider again, attachments from the bytes; what was made of
#: them is made again, and found to be there.
_AGAIN = text("""
    WITH lost AS (
        SELECT b.org_id, b.kind, b.sha256 FROM blobs b
         WHERE b.erased_at IS NULL
           AND NOT EXISTS (SELECT FROM stored_blobs s WHERE s.kind = b.kind AND s.sha256 = b.sha256)
    ), named AS (
        SELECT o.id FROM occurrences o JOIN lost ON lost.org_id = o.org_id AND lost.kind = 'raw'
                                                AND lost.sha256 = o.raw_sha256
        UNION
        SELECT r.occurrence_id FROM attachments a
          JOIN lost ON lost.org_id = a.org_id AND lost.kind = a.kind AND lost.sha256 = a.sha256
          JOIN occurrence_recipients r ON r.message_id = a.message_id
    ), hit AS (
        SELECT o.* FROM occurrences o JOIN named ON named.id = o.id
         WHERE o.state IN ('fetched', 'parsed', 'stitched', 'routed')
    ), evidence AS (
        DELETE FROM occurrence_recipients r USING hit WHERE r.occurrence_id = hit.id
    )
    UPDATE occurrences o
       SET message_id = NULL,
           state = CASE WHEN raw.is_lost THEN 'seen' ELSE 'fetched' END,
           raw_sha256 = CASE WHEN raw.is_lost THEN NULL ELSE o.raw_sha256 END
      FROM (SELECT hit.id, EXISTS (SELECT FROM lost WHERE lost.org_id = hit.org_id AND lost.kind = 'raw'
                                                      AND lost.sha256 = hit.raw_sha256) AS is_lost FROM hit) AS raw,
           mailboxes m
     WHERE o.id = raw.id AND m.id = o.mailbox_id
    RETURNING o.id, o.org_id, o.mailbox_id, o.state, o.state = 'seen' AND m.provider <> 'files' AS is_metered
""")
#: A dead letter of a mail whose bytes are lost: a replay begins with the fetch. What was set aside for another reason
#: has its message, and goes on without the bytes.
_ANEW = text("""
    WITH hit AS (
        SELECT o.id FROM occurrences o
          JOIN blobs b ON b.org_id = o.org_id AND b.kind = 'raw' AND b.sha256 = o.raw_sha256
               AND b.erased_at IS NULL
         WHERE o.state = 'quarantined'
           AND NOT EXISTS (SELECT FROM stored_blobs s WHERE s.kind = b.kind AND s.sha256 = b.sha256)
           AND NOT EXISTS (SELECT FROM quarantines q WHERE q.occurrence_id = o.id AND q.released_at IS NULL)
    ), letter AS (
        UPDATE dead_letters d SET stage = 'fetch' FROM hit
         WHERE d.key = CAST(hit.id AS text) AND d.stage IN ('parse', 'stitch', 'routing')
           AND d.resolution IS DISTINCT FROM 'replayed'
           AND NOT EXISTS (SELECT FROM jobs j WHERE j.stage = 'fetch' AND j.key = d.key)
        RETURNING d.job_id, hit.id
    ), job AS (
        UPDATE jobs SET stage = 'fetch' FROM letter WHERE jobs.id = letter.job_id AND jobs.state = 'dead'
    ), evidence AS (
        DELETE FROM occurrence_recipients r USING letter WHERE r.occurrence_id = letter.id
    )
    UPDATE occurrences o SET message_id = NULL, raw_sha256 = NULL FROM (SELECT DISTINCT id FROM letter) AS named
     WHERE o.id = named.id
""")
_NAMED = text("SELECT count(*) FROM blobs")
_LOST = text("""
    SELECT count(*) FROM blobs b
     WHERE b.erased_at IS NULL AND NOT EXISTS (SELECT FROM stored_blobs s WHERE s.kind = b.kind AND s.sha256 = b.sha256)
""")


@dataclass(frozen=True, slots=True)
class Settled:
    """What was told: numbers skipped, jobs fenced, mails to be looked up, wishes left, and what is read again.

    `letters` are dead ones whose mail a replay reads again, too.
    """

    sequences: int
    jobs: int
    doubtful: tuple[UUID, ...]
    wishes: int
    lost_blobs: int
    refetched: int
    letters: int


def lift_limits(connection: Connection) -> None:
    """Let this transaction take as long as it takes; only where nobody else works on the database."""
    connection.execute(_NO_LIMITS)


def settle(
    connection: Connection, origin: str, stored: Sequence[tuple[str, str]] | None, *, blobs_are_lost: bool = False
) -> Settled:
    """Make a restored database fit to be worked on, before any worker or API is started; nothing may run.

    `origin` says where it came from, for the record. `stored` are kind and hash of every blob that is there: what the
    rows name beside them is asked for again; None leaves blobs alone. Raises UserError when more than one of twenty is
    not there, unless `blobs_are_lost` says that it is true.
    """
    lift_limits(connection)
    sequences = connection.execute(_SKIP).scalar_one()
    jobs = connection.execute(_FENCE).rowcount
    connection.execute(_NO_WORKERS)
    doubtful = tuple(connection.execute(_DOUBT, {"said": _SAID}).scalars())
    connection.execute(_WARN, {"said": _SAID})
    for statement in (_HURRY, _WATCH, _SPENT):
        connection.execute(statement)
    wishes = _leave_wishes(connection)
    lost, refetched, letters = (0, 0, 0) if stored is None else _refetch(connection, stored, are_lost=blobs_are_lost)
    _tell(connection, {"origin": origin, "doubtful": len(doubtful), "lost_blobs": lost})
    return Settled(sequences, jobs, doubtful, wishes, lost, refetched, letters)


def _leave_wishes(connection: Connection) -> int:
    said = {"said": "the database was restored: ask again"}
    connection.execute(_LEAVE_ITEMS, said)
    rows = connection.execute(_LEAVE_WISHES, said).all()
    actions = [(row.org_id, row.id, "bulk_cancelled", "restore", said["said"]) for row in rows]
    copy_rows(connection, "letter_actions", ("org_id", "bulk_id", "action", "actor", "reason"), actions)
    return len(rows)


def _refetch(connection: Connection, stored: Sequence[tuple[str, str]], *, are_lost: bool) -> tuple[int, int, int]:
    """Ask for what is lost; return how many blobs are, how many mails are read again, and letters that would be."""
    connection.execute(text("CREATE TEMPORARY TABLE stored_blobs (kind text, sha256 bytea) ON COMMIT DROP"))
    copy_rows(connection, "stored_blobs", ("kind", "sha256"), [(kind, bytes.fromhex(name)) for kind, name in stored])
    connection.execute(text("ANALYZE stored_blobs"))
    lost: int = connection.execute(_LOST).scalar_one()
    if not lost:
        return 0, 0, 0
    named: int = connection.execute(_NAMED).scalar_one()
    if lost * _FEW > named and not are_lost:
        raise UserError(
            f"{lost} of the {named} blobs that the database names are not in the blob folder: is its disk there, and "
            "is it the right one? If they are lost for good, say --blobs-are-lost: their mail is read again"
        )
    letters = connection.execute(_ANEW).rowcount
    rows = connection.execute(_AGAIN).all()
    ledger.put(connection, [_again(row) for row in rows])
    return lost, len(rows), letters


def _again(row: Row[Any]) -> Emit:
    stage = "fetch" if row.state == OccurrenceState.SEEN else "parse"
    return Emit(stage, str(row.id), row.org_id, row.mailbox_id, Lane.REPAIR, 0, "restored", is_held=row.is_metered)


def _tell(connection: Connection, data: dict[str, object]) -> None:
    said = orjson.dumps(data).decode()
    rows = [(org_id, EVENT, "restore", said) for org_id in connection.execute(_ORGANIZATIONS).scalars()]
    copy_rows(connection, "events", ("org_id", "kind", "actor", "data"), rows)
