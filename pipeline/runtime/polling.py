"""The distance between two readings of a mailbox's changes, as its row keeps it."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.core.polling import next_interval

_PACE = text("""
    SELECT m.poll_interval,
           EXISTS (SELECT FROM watches w WHERE w.mailbox_id = m.id AND w.state = 'active' AND w.expires_at > now()
                                           AND w.pushed_at IS NOT NULL) AS is_pushed
      FROM mailboxes m WHERE m.id = :id
""")
_NOTE = text("""
    UPDATE mailboxes SET poll_interval = :interval, poll_at = CASE WHEN :found THEN now() ELSE poll_at END
     WHERE id = :id
""")


def note_read(connection: Connection, mailbox_id: UUID, *, found: bool) -> None:
    """Keep how soon a mailbox is to be asked again, after a reading that found new mail, or nothing.

    `poll_interval` is measured at `polling.STANDARD`, and the schedule scales it by its own pace. After a find the next
    poll is due as soon as the schedule allows, which is one pace after the reading (`last_incremental_sync_at`).
    """
    row = connection.execute(_PACE, {"id": mailbox_id}).one_or_none()
    if row is not None:
        interval = next_interval(row.poll_interval, found=found, is_pushed=row.is_pushed)
        connection.execute(_NOTE, {"id": mailbox_id, "interval": interval, "found": found})
