"""The pump: lets fetches go that wait for their mailbox's budget, as many as it can pay for in the next moment.

Hundred thousands of fetches of one mailbox stand held: no claim looks at them, and a rest of hours rewrites nothing.
A window of them is let go; when some are through, the next ones follow, repair before backfill, in order of place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Lane
from pipeline.core.budget import LONGEST, Ask, Held, draw
from pipeline.core.quota import MINUTE
from pipeline.runtime import budgets
from pipeline.runtime.ledger import Line
from pipeline.runtime.locks import PUMP

#: What is let go keeps the mailbox busy this long at its pace, and is never less than this.
_AHEAD, _LEAST = timedelta(seconds=1.5), 4
#: Of a mailbox whose calls are not counted: as much as one batch takes.
_UNCOUNTED = 100
#: A window is not filled for calls that would find no unit within the patience of their meter.
_SOON = timedelta(seconds=1)
#: Mailboxes that are pumped at a time, and how many are looked at to find them: a sweep must stay short.
_MOST, _STEPS = 200, 1_000
_FIRST = UUID(int=0)

#: A mailbox that may not be read keeps what it holds, and so does one that rests, or whose project does.
_MAY_GO = """
    m.state = 'active' AND NOT EXISTS (
        SELECT FROM budgets b WHERE b.scope IN ('mailbox:' || m.id, 'project:' || m.project)
           AND (b.rest_until > now() AND b.rest_until <= now() + :longest
                OR b.bytes_rest_until > now() AND b.bytes_rest_until <= now() + :longest))
"""
#: One step of the index per mailbox, however many fetches it holds; `last` is the one to go on after, None at the end.
_NEXT = text(f"""
    WITH RECURSIVE boxes(id, step) AS (
        (SELECT mailbox_id, 1 FROM jobs WHERE state = 'held' AND mailbox_id > :after ORDER BY mailbox_id LIMIT 1)
        UNION ALL
        SELECT (SELECT mailbox_id FROM jobs WHERE state = 'held' AND mailbox_id > boxes.id ORDER BY mailbox_id LIMIT 1),
               boxes.step + 1
          FROM boxes WHERE boxes.id IS NOT NULL AND boxes.step < :steps
    ), chosen AS (
        SELECT m.id, boxes.step FROM boxes JOIN mailboxes m ON m.id = boxes.id WHERE {_MAY_GO}
         ORDER BY boxes.step LIMIT :most
    )
    SELECT (SELECT coalesce(array_agg(id ORDER BY step), '{{}}') FROM chosen) AS ids,
           CASE WHEN (SELECT count(*) FROM chosen) = :most THEN (SELECT id FROM chosen ORDER BY step DESC LIMIT 1)
                ELSE (SELECT id FROM boxes WHERE step = :steps) END AS last
""")  # noqa: S608 - a condition from above
_SOME = text(f"""
    SELECT id FROM mailboxes m
     WHERE id = ANY(CAST(:ids AS uuid[])) AND {_MAY_GO}
       AND EXISTS (SELECT FROM jobs WHERE mailbox_id = m.id AND state = 'held')
""")  # noqa: S608 - a condition from above
_TAKE_LOCKS = text("""
    SELECT id FROM unnest(CAST(:ids AS uuid[])) AS t(id)
     WHERE pg_try_advisory_xact_lock(:class, hashtext(CAST(id AS text)))
""")
#: A fetch that waits long after a failure leaves its room to others.
_LET_GO = text("""
    WITH room AS (
        SELECT mailbox_id, greatest(0, size - (
                   SELECT count(*) FROM jobs j
                    WHERE j.mailbox_id = t.mailbox_id AND j.stage = 'fetch' AND j.lane <> 'live'
                      AND j.state IN ('ready', 'running', 'waiting')
                      AND (j.state <> 'waiting' OR j.run_at <= clock_timestamp() + :soon))) AS free
          FROM unnest(CAST(:ids AS uuid[]), CAST(:sizes AS int[])) AS t(mailbox_id, size)
    ), picked AS (
        SELECT chosen.id FROM room CROSS JOIN LATERAL (
            SELECT id, lane, place FROM (
                (SELECT id, lane, place FROM jobs WHERE mailbox_id = room.mailbox_id AND lane = 'repair'
                    AND state = 'held' ORDER BY place, id LIMIT room.free)
                UNION ALL
                (SELECT id, lane, place FROM jobs WHERE mailbox_id = room.mailbox_id AND lane = 'backfill'
                    AND state = 'held' ORDER BY place, id LIMIT room.free)) AS candidates
             ORDER BY lane DESC, place, id LIMIT room.free) AS chosen
    )
    UPDATE jobs SET state = 'ready', run_at = now() FROM picked WHERE jobs.id = picked.id AND jobs.state = 'held'
    RETURNING jobs.stage, jobs.lane
""")


class Pump:
    """Lets go what mailboxes can pay for; keep one per process: it remembers whose turn is next.

    Any number may pump at once: each mailbox is one's at a time.
    """

    def __init__(self, minute: timedelta = MINUTE, *, most: int = _MOST, steps: int = _STEPS) -> None:
        self._minute, self._most, self._steps = minute, most, steps
        self._after = _FIRST

    def release(self, connection: Connection, mailbox_ids: Iterable[UUID] | None = None) -> set[Line]:
        """Let go for the mailboxes that are named, else for the next ones in turn; return the lines to ring.

        Needs a transaction of its own.
        """
        holding = self._next(connection) if mailbox_ids is None else _some(connection, mailbox_ids)
        if not holding:
            return set()
        counted = budgets.standings(connection, holding, self._minute)
        windows = {one: size for one in holding if (size := _window(counted.get(one)))}
        locked = connection.execute(_TAKE_LOCKS, {"ids": sorted(windows), "class": PUMP}).scalars().all()
        return _let_go(connection, {mailbox_id: windows[mailbox_id] for mailbox_id in locked})

    def _next(self, connection: Connection) -> Sequence[UUID]:
        values = {"after": self._after, "most": self._most, "steps": self._steps, "longest": LONGEST}
        row = connection.execute(_NEXT, values).one()
        self._after = row.last or _FIRST
        ids: Sequence[UUID] = row.ids
        return ids


def release(
    connection: Connection, mailbox_ids: Iterable[UUID] | None = None, *, minute: timedelta = MINUTE
) -> set[Line]:
    """Let go once as a new `Pump` does."""
    return Pump(minute).release(connection, mailbox_ids)


def _some(connection: Connection, mailbox_ids: Iterable[UUID]) -> Sequence[UUID]:
    return connection.execute(_SOME, {"ids": list(set(mailbox_ids)), "longest": LONGEST}).scalars().all()


def _let_go(connection: Connection, windows: dict[UUID, int]) -> set[Line]:
    # Counted in a statement after the lock: whoever had it before has committed what he let go.
    values = {"ids": list(windows), "sizes": list(windows.values()), "soon": _SOON}
    return {Line(row.stage, Lane(row.lane)) for row in connection.execute(_LET_GO, values)}


def _window(held: Held | None) -> int:
    """Return how many fetches of a mailbox may be let go and not yet through; 0 while none may go."""
    if held is None:
        return _UNCOUNTED
    cost = held.limits.cost("messages.get")
    grant, _ = draw(held, Ask(cost, 1, is_live=False, brings_bytes=True))
    if grant.is_probe:
        return 1
    if not grant.calls and (grant.wait >= _SOON or _is_unproven(held)):
        return 0
    pace = held.paces()[0].rate * held.mailbox.ramp(held.now, held.minute)
    return max(_LEAST, round(pace * _AHEAD.total_seconds() / cost))


def _is_unproven(held: Held) -> bool:
    return any(budget.needs_probe(brings_bytes=True) for budget in (held.mailbox, held.project))
