"""The tick of bulk replays: judge what was let go, stop by itself, let the next letters go.

        waiting ── let go, in order ──► released ── its job left the ledger ───────► passed
           │                               └─────── died again; a canary: failed once ─► failed
           └── not open any more, or its bulk or an earlier one of its ticket failed ──► skipped

Any number of sweepers call it, one at a time goes on: which tickets are on their way is told exactly only by one. All
times are the database's, and what a tick costs depends on the bulks that go on, never on what was resolved before.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from dlq import letters
from dlq.bulks import ITSELF, NOT_OPEN
from pipeline.runtime.ledger import Line
from pipeline.runtime.locks import BULK_TICK

#: A bulk has at most so many letters on their way, whatever others do. Those without a pace have few together that a
#: worker could take now: one batch, that keeps one worker busy for part of a tick, so that another is free for live
#: mail.
ON_THEIR_WAY, IN_LINE = 2_000, 50
#: Among so many of its next waiting letters a bulk looks for those that may go.
_SIGHT = 2_000
#: A bulk stops by itself when so many have ended and more than half of them failed again.
ENOUGH_TO_JUDGE = 20

_TAKE_TURN = text(f"""
    SELECT pg_try_advisory_xact_lock({BULK_TICK}, 0)
     WHERE EXISTS (SELECT FROM bulks WHERE finished_at IS NULL)
        OR EXISTS (SELECT FROM bulk_items WHERE state IN ('waiting', 'released'))
""")  # noqa: S608 - a number of ours
#: Those under way, and those that are over but have letters on their way: found by hops along the index of the items
#: that are under way. The first tick comes at once, and a clock that was set back keeps nobody waiting.
_LOCK = text("""
    WITH RECURSIVE busy(id) AS (
        (SELECT bulk_id FROM bulk_items WHERE state IN ('waiting', 'released') ORDER BY bulk_id LIMIT 1)
        UNION ALL
        SELECT (SELECT i.bulk_id FROM bulk_items i WHERE i.state IN ('waiting', 'released') AND i.bulk_id > busy.id
                 ORDER BY i.bulk_id LIMIT 1)
          FROM busy WHERE busy.id IS NOT NULL
    )
    SELECT id FROM bulks
     WHERE id IN (SELECT id FROM busy UNION ALL SELECT id FROM bulks WHERE finished_at IS NULL)
       AND (topped_up_at <= now() - :pause OR topped_up_at > now() OR topped_up_at = created_at)
     ORDER BY id FOR UPDATE SKIP LOCKED
""")
#: A job that left the ledger is through; one that was asked for again while it ran goes on in its row, its former
#: error forgotten. The letter of its next death is found by its trace, open or not: people may have been quick.
_JUDGE = text("""
    WITH let_go AS (
        SELECT i.bulk_id, i.place, i.letter_id, i.job_id, b.state = 'canary' AS is_canary
          FROM bulk_items i JOIN bulks b ON b.id = i.bulk_id
         WHERE i.bulk_id = ANY(CAST(:bulks AS bigint[])) AND i.state = 'released'
    ), judged AS (
        SELECT l.bulk_id, l.place, again.id AS again_id,
               CASE WHEN again.id IS NOT NULL THEN 'failed'
                    WHEN j.id IS NULL OR (j.last_error IS NULL AND j.attempt > d.attempts) THEN 'passed'
                    WHEN l.is_canary AND j.failures > 0 THEN 'failed' END AS verdict,
               CASE WHEN again.id IS NOT NULL
                    THEN again.error_class || ': ' || split_part(again.error_text, chr(10), 1)
                    WHEN j.failures > 0
                    THEN 'failed once more: ' || (j.last_error ->> 'class') || ': '
                         || split_part(j.last_error ->> 'text', chr(10), 1) END AS said
          FROM let_go l
          JOIN dead_letters d ON d.id = l.letter_id
          LEFT JOIN jobs j ON j.id = l.job_id
          LEFT JOIN LATERAL (
               SELECT a.id, a.error_class, a.error_text FROM dead_letters a
                WHERE a.trace_id = d.trace_id AND a.job_id = l.job_id AND a.id > l.letter_id
                  AND (j.id IS NULL OR j.attempt > d.attempts)
                ORDER BY a.id LIMIT 1) AS again ON true
    ), ended AS (
        UPDATE bulk_items SET state = verdict, ended_at = now(), again_id = judged.again_id,
                              note = CASE WHEN verdict = 'failed' THEN left(said, 500) END
          FROM judged
         WHERE verdict IS NOT NULL AND bulk_items.bulk_id = judged.bulk_id AND bulk_items.place = judged.place
        RETURNING bulk_items.bulk_id, bulk_items.order_key, bulk_items.state
    ), broken AS (
        SELECT DISTINCT bulk_id, order_key FROM ended WHERE state = 'failed' AND order_key IS NOT NULL
    )
    UPDATE bulk_items SET state = 'skipped', ended_at = now(), note = 'an earlier one of its ticket failed again'
     WHERE EXISTS (SELECT FROM broken) AND bulk_id = ANY(CAST(:bulks AS bigint[])) AND state = 'waiting'
       AND ((bulk_id, order_key) IN (SELECT bulk_id, order_key FROM broken)) IS TRUE
""")
#: The allowance holds what one second brings, and at least one letter: what a pause of all sweepers saved up is lost.
_GO_ON = text("""
    WITH standing AS (
        SELECT i.bulk_id, count(*) FILTER (WHERE i.state = 'passed') AS passed,
               count(*) FILTER (WHERE i.state = 'failed') AS failed,
               count(*) FILTER (WHERE i.state = 'released') AS released,
               count(*) FILTER (WHERE i.state = 'waiting') AS waiting
          FROM bulk_items i JOIN bulks b ON b.id = i.bulk_id
         WHERE i.bulk_id = ANY(CAST(:bulks AS bigint[])) AND b.finished_at IS NULL
         GROUP BY i.bulk_id
    ), next AS (
        SELECT b.id, s.*,
               CASE WHEN b.state = 'canary' AND s.failed > 0
                      OR s.passed + s.failed >= :enough AND s.failed > s.passed AND s.waiting > 0 THEN 'stopped'
                    WHEN s.waiting + s.released = 0 THEN 'done'
                    WHEN b.state = 'canary' AND s.released = 0 AND s.passed >= b.canaries THEN 'running'
                    ELSE b.state END AS state
          FROM bulks b JOIN standing s ON s.bulk_id = b.id
    ), gone_on AS (
        UPDATE bulks SET state = next.state, topped_up_at = now(),
                         allowance = least(greatest(1, per_second), allowance + per_second
                                           * greatest(0, extract(epoch FROM now() - topped_up_at))),
                         finished_at = CASE WHEN next.state IN ('stopped', 'done') THEN now() END,
                         ended_because = CASE WHEN next.state = 'stopped' THEN
                             next.failed || ' of ' || next.passed + next.failed
                             || CASE WHEN bulks.state = 'canary' THEN ' canaries' ELSE '' END || ' failed again: '
                             || (SELECT regexp_replace(i.note, '^failed once more: ', '') FROM bulk_items i
                                  WHERE i.bulk_id = next.id AND i.state = 'failed'
                                  ORDER BY i.ended_at DESC, i.place LIMIT 1) END
          FROM next WHERE bulks.id = next.id
        RETURNING bulks.id, bulks.org_id, bulks.total, bulks.state, bulks.ended_because, bulks.actor, bulks.reason,
                  bulks.per_second IS NOT NULL AS has_pace,
                  CASE WHEN bulks.per_second IS NULL THEN :in_line ELSE CAST(floor(bulks.allowance) AS int) END
                      AS allowed,
                  CASE WHEN bulks.state = 'canary' THEN bulks.canaries - next.passed - next.released END AS untried
    ), left_out AS (
        UPDATE bulk_items SET state = 'skipped', ended_at = now(), note = 'the bulk stopped by itself'
          FROM gone_on WHERE gone_on.state = 'stopped' AND bulk_items.bulk_id = gone_on.id
           AND bulk_items.state = 'waiting'
    ), noted AS (
        INSERT INTO letter_actions (org_id, bulk_id, action, actor, reason, data)
        SELECT org_id, id, 'bulk_' || state, :itself, coalesce(ended_because, 'nothing is left of it'),
               jsonb_build_object('letters', total)
          FROM gone_on WHERE state IN ('stopped', 'done')
    )
    SELECT id, actor, reason, has_pace, least(allowed, untried) AS most
      FROM gone_on WHERE state IN ('canary', 'running')
""")
#: For those that are over, only the pause counts.
_REST = text("UPDATE bulks SET topped_up_at = now() WHERE id = ANY(CAST(:bulks AS bigint[])) AND finished_at < now()")
#: Of a ticket one letter is on its way at a time, whatever bulk it is of. What waits for a budget, for a person or for
#: the end of its mailbox's pause (it failed at nothing) burdens nobody; what failed and comes back, its own bulk alone.
_NEXT = text("""
    WITH let_go AS (
        SELECT bulk_id, order_key, job_id FROM bulk_items WHERE state = 'released'
    ), burden AS (
        SELECT let_go.bulk_id, count(*) AS on_their_way, count(*) FILTER (WHERE j.state <> 'waiting') AS in_line
          FROM let_go
         CROSS JOIN LATERAL (SELECT state, failures FROM jobs WHERE jobs.id = let_go.job_id LIMIT 1) AS j
         WHERE j.state IN ('ready', 'running') OR j.state = 'waiting' AND j.failures > 0
         GROUP BY let_go.bulk_id
    ), ahead AS (
        SELECT b.id AS bulk_id, b.most, b.has_pace, w.place, w.letter_id, w.order_key,
               w.order_key IS NULL OR row_number() OVER (PARTITION BY b.id, w.order_key ORDER BY w.place) = 1
                   AS is_first
          FROM unnest(CAST(:bulks AS bigint[]), CAST(:most AS int[]), CAST(:paced AS bool[])) AS b(id, most, has_pace)
         CROSS JOIN LATERAL (SELECT place, letter_id, order_key FROM bulk_items
                              WHERE bulk_id = b.id AND state = 'waiting' ORDER BY place LIMIT :sight) AS w
    ), free AS (
        SELECT *, row_number() OVER (PARTITION BY bulk_id ORDER BY place) AS number
          FROM ahead
         WHERE is_first
           AND (order_key IS NULL OR order_key NOT IN (SELECT order_key FROM let_go WHERE order_key IS NOT NULL))
    ), paid AS (
        SELECT *, row_number() OVER (ORDER BY number, bulk_id) AS turn,
               order_key IS NULL OR row_number() OVER (PARTITION BY order_key ORDER BY number, bulk_id) = 1 AS is_alone
          FROM free
         WHERE number <= most
           AND number <= :on_their_way - coalesce((SELECT b.on_their_way FROM burden b
                                                    WHERE b.bulk_id = free.bulk_id), 0)
    )
    SELECT bulk_id, place, letter_id FROM paid
     WHERE is_alone AND (has_pace OR turn <= :in_line - (SELECT coalesce(sum(in_line), 0) FROM burden))
     ORDER BY turn
""")
_LET_GO = text("""
    WITH gone AS (
        UPDATE bulk_items SET state = CASE WHEN is_done THEN 'released' ELSE 'skipped' END,
                              released_at = CASE WHEN is_done THEN now() END,
                              ended_at = CASE WHEN NOT is_done THEN now() END,
                              note = CASE WHEN NOT is_done THEN :left_out END
          FROM (SELECT bulk_id AS bulk, place AS at, letter_id = ANY(CAST(:done AS bigint[])) AS is_done
                  FROM unnest(CAST(:bulks AS bigint[]), CAST(:places AS int[]), CAST(:letters AS bigint[]))
                    AS t(bulk_id, place, letter_id)) AS chosen
         WHERE bulk_id = bulk AND place = at
        RETURNING bulk_id, is_done
    ), spent AS (
        SELECT bulk_id, count(*) AS number FROM gone WHERE is_done GROUP BY bulk_id
    )
    UPDATE bulks SET allowance = allowance - spent.number
      FROM spent WHERE bulks.id = spent.bulk_id AND bulks.per_second IS NOT NULL
""")


def advance(connection: Connection, *, pause: timedelta = timedelta(0)) -> set[Line]:
    """Take every replay under way one step on, in the caller's transaction; return the lines to ring after it.

    Does nothing while another transaction is at it. A bulk that went on within `pause` is left alone, so that many
    sweepers together do no more than one.
    """
    if not connection.execute(_TAKE_TURN).scalar_one_or_none():
        return set()
    bulks = list(connection.execute(_LOCK, {"pause": pause}).scalars())
    if not bulks:
        return set()
    connection.execute(_JUDGE, {"bulks": bulks})
    connection.execute(_REST, {"bulks": bulks})
    values = {"bulks": bulks, "enough": ENOUGH_TO_JUDGE, "in_line": IN_LINE, "itself": ITSELF}
    going = [row for row in connection.execute(_GO_ON, values) if row.most > 0]
    return _let_go(connection, going) if going else set()


def _let_go(connection: Connection, going: Sequence[Row[Any]]) -> set[Line]:
    """Replay the next letters of each bulk, as many as it may let go."""
    wishes = {row.id: row for row in going}
    values = {"bulks": list(wishes), "most": [row.most for row in going], "paced": [row.has_pace for row in going]}
    bounds = {"sight": _SIGHT, "on_their_way": ON_THEIR_WAY, "in_line": IN_LINE}
    chosen = connection.execute(_NEXT, values | bounds).all()
    if not chosen:
        return set()
    done = letters.replay_each(
        connection,
        [
            letters.Order(row.letter_id, wishes[row.bulk_id].actor, wishes[row.bulk_id].reason, row.bulk_id)
            for row in chosen
        ],
    )
    connection.execute(
        _LET_GO,
        {
            "bulks": [row.bulk_id for row in chosen],
            "places": [row.place for row in chosen],
            "letters": [row.letter_id for row in chosen],
            "done": list(done.letter_ids),
            "left_out": NOT_OPEN,
        },
    )
    return set(done.lines)
