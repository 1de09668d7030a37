"""Start-time fair queueing: a job's place in its lane, so that a big mailbox never delays a small one's new mail.

Every job of a mailbox gets the start tag `max(V, finish of the mailbox's last job)`, and the finish grows by one per
job; lanes are served in order of the tags. V, the lane's virtual time, is the smallest tag still in line, or the
largest finish when the lane is empty (start-time fair queueing; Goyal, Vin, Cheng 1996).
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Lane

_PLACES = text("""
    WITH line AS (
        SELECT coalesce(
            (SELECT min(place) FROM (
                SELECT (SELECT min(place) FROM jobs WHERE stage = s.stage AND lane = :lane AND state = 'ready') AS place
                  FROM unnest(CAST(:stages AS text[])) AS s(stage)) AS heads),
            (SELECT max(finish) FROM flows WHERE lane = :lane), 0) AS v
    )
    INSERT INTO flows (mailbox_id, lane, finish) SELECT :mailbox, :lane, v + :count FROM line
        ON CONFLICT (mailbox_id, lane) DO UPDATE SET finish = greatest(flows.finish, excluded.finish - :count) + :count
    RETURNING finish
""")


def take_places(connection: Connection, mailbox_id: UUID, lane: Lane, count: int, stages: list[str]) -> range:
    """Reserve `count` consecutive places in a lane for a mailbox; `stages` are those whose lines share it."""
    if count == 0:
        return range(0)
    finish = connection.execute(
        _PLACES, {"mailbox": mailbox_id, "lane": lane.value, "count": count, "stages": stages}
    ).scalar_one()
    return range(finish - count, finish)
