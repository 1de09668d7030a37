"""Notes what readings of a mailbox say about its watch: mail that nobody announced makes it silent in the end."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.core import silence

_HEARD = text("""
    SELECT renewed_at, pushed_at, unannounced_since, now() AS now
      FROM watches WHERE mailbox_id = :id AND state = 'active'
""")
#: An announcement that came meanwhile knows better.
_NOTE = text("""
    UPDATE watches SET unannounced_since = :since, state = CASE WHEN :is_silent THEN 'silent' ELSE state END
     WHERE mailbox_id = :id AND state = 'active' AND pushed_at IS NOT DISTINCT FROM CAST(:pushed_at AS timestamptz)
""")


def note_found(connection: Connection, mailbox_id: UUID, *, found_new: bool, previous_at: datetime | None) -> None:
    """Note a reading of changes after it was recorded, new mail or none; `previous_at` is the reading before it.

    Does nothing for a mailbox without an active watch. An announcement makes a silent watch active again.
    """
    row = connection.execute(_HEARD, {"id": mailbox_id}).one_or_none()
    if row is None:
        return
    heard = silence.Heard(row.renewed_at, row.pushed_at, row.unannounced_since)
    judged = silence.judge(heard, found_new=found_new, previous_at=previous_at, now=row.now)
    if judged.is_silent or judged.unannounced_since != row.unannounced_since:
        connection.execute(
            _NOTE,
            {
                "id": mailbox_id,
                "since": judged.unannounced_since,
                "is_silent": judged.is_silent,
                "pushed_at": row.pushed_at,
            },
        )
