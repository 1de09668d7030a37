"""Forgetting resolved letters after their time, with what hangs on them."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, text

from dlq.reading import BY_OCCURRENCE

#: The oldest first, so that a chain of letters of one job goes from its beginning. Kept is every letter of a bulk that
#: goes on, which judges itself by what became of them, and what is on its way in one that is over; what the history of
#: an open letter begins with; and the discarded letter that says why a mail stands apart.
_OLD = text("""
    SELECT d.id FROM dead_letters d
     WHERE d.resolution IS NOT NULL AND d.resolved_at < now() - :kept
       AND NOT EXISTS (SELECT FROM bulk_items i
                         JOIN bulks b ON b.id = i.bulk_id
                         LEFT JOIN dead_letters again ON again.id = i.again_id
                        WHERE i.letter_id = d.id
                          AND (i.state IN ('waiting', 'released') OR b.finished_at IS NULL
                               OR (i.again_id IS NOT NULL AND again.resolution IS NULL)))
       AND NOT (d.resolution = 'discarded' AND d.stage = ANY(CAST(:by_occurrence AS text[]))
                AND EXISTS (SELECT FROM occurrences o
                             WHERE o.state = 'quarantined'
                               AND o.id = CASE WHEN d.stage = ANY(CAST(:by_occurrence AS text[]))
                                               THEN CAST(d.key AS bigint) END))
     ORDER BY d.resolved_at LIMIT :limit FOR UPDATE OF d SKIP LOCKED
""")
_ITEMS = text("DELETE FROM bulk_items WHERE letter_id = ANY(CAST(:ids AS bigint[])) RETURNING bulk_id")
_AGAIN = text("UPDATE bulk_items SET again_id = NULL WHERE again_id = ANY(CAST(:ids AS bigint[]))")
_ACTIONS = text("DELETE FROM letter_actions WHERE letter_id = ANY(CAST(:ids AS bigint[]))")
_LETTERS = text("DELETE FROM dead_letters WHERE id = ANY(CAST(:ids AS bigint[]))")
_EMPTY = text("""
    SELECT id FROM bulks
     WHERE id = ANY(CAST(:ids AS bigint[])) AND finished_at IS NOT NULL
       AND NOT EXISTS (SELECT FROM bulk_items i WHERE i.bulk_id = bulks.id)
     ORDER BY id FOR UPDATE SKIP LOCKED
""")
_ACTIONS_OF_BULKS = text("DELETE FROM letter_actions WHERE bulk_id = ANY(CAST(:ids AS bigint[]))")
_BULKS = text("DELETE FROM bulks WHERE id = ANY(CAST(:ids AS bigint[]))")


def forget(connection: Connection, *, kept: timedelta, limit: int = 10_000) -> int:
    """Delete up to `limit` letters resolved longer ago than `kept`, the oldest first; return how many.

    With them go what was done to them, their places in bulks that are over, which count them as forgotten, and bulks of
    which no letter is left. Never forgotten is an open letter, one of a bulk that goes on, and one that was discarded
    while its mail is still quarantined.
    """
    old = list(connection.execute(_OLD, {"kept": kept, "limit": limit, "by_occurrence": list(BY_OCCURRENCE)}).scalars())
    if not old:
        return 0
    bulks = sorted(set(connection.execute(_ITEMS, {"ids": old}).scalars()))
    for statement in (_AGAIN, _ACTIONS, _LETTERS):
        connection.execute(statement, {"ids": old})
    _forget_bulks(connection, bulks)
    return len(old)


def _forget_bulks(connection: Connection, bulks: list[int]) -> None:
    empty = list(connection.execute(_EMPTY, {"ids": bulks}).scalars())
    connection.execute(_ACTIONS_OF_BULKS, {"ids": empty})
    connection.execute(_BULKS, {"ids": empty})
