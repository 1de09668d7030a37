"""The circuit breaker of a mailbox: opens after failures in a row, is half open for one probe, closes on success.

active ── 5 failed batches in a row ──► paused (by breaker, 1 min, doubled up to 15 min)
  ▲                                         │ until is over
  └──── history succeeds ──── probing ◄─────┘            suspended (1 h) ──► probing
                                └──── history fails ──► paused
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Lane, MailboxState
from pipeline.runtime import ledger
from pipeline.runtime.jobs import Emit
from pipeline.runtime.mailboxes import Mailbox

#: Who paused a mailbox that nobody paused.
BREAKER = "breaker"
#: Failed batches in a row that open the breaker (reliability, 3.2: 5 in a row, 60 s, half open).
MOST_FAILURES = 5
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(minutes=15)
#: How long a suspended mailbox is left alone before it is asked again with one call.
SUSPENSION = timedelta(hours=1)

_FAIL = text("""
    UPDATE mailboxes m
       SET failures_in_row = least(failures_in_row + 1, 30000), last_sync_error = t.error,
           state = CASE WHEN opens THEN 'paused' ELSE m.state END,
           state_reason = CASE WHEN opens THEN 'failed ' || failures_in_row + 1 || ' times in a row: ' || t.error
                               ELSE state_reason END,
           paused_at = CASE WHEN opens THEN now() ELSE paused_at END,
           paused_by = CASE WHEN opens THEN :breaker ELSE paused_by END,
           paused_until = CASE WHEN opens THEN now() + least(:first * power(2, least(trips, 10)), :longest)
                               ELSE paused_until END,
           trips = CASE WHEN opens THEN least(trips + 1, 30000) ELSE trips END
      FROM (SELECT id, t.error, state = 'probing' OR (state = 'active' AND failures_in_row + 1 >= :most) AS opens
              FROM unnest(CAST(:ids AS uuid[]), CAST(:errors AS text[])) AS t(id, error)
              JOIN mailboxes USING (id)
             WHERE provider <> 'files' ORDER BY id FOR UPDATE OF mailboxes) AS t
     WHERE m.id = t.id RETURNING m.id, m.address, opens, m.paused_until
""")
_CLOSE = text("""
    UPDATE mailboxes
       SET failures_in_row = 0, trips = 0, last_sync_error = NULL,
           state = CASE WHEN state = 'probing' THEN 'active' ELSE state END,
           state_reason = CASE WHEN state = 'probing' THEN NULL ELSE state_reason END,
           paused_until = CASE WHEN state = 'probing' THEN NULL ELSE paused_until END,
           paused_by = CASE WHEN state = 'probing' THEN NULL ELSE paused_by END,
           paused_at = CASE WHEN state = 'probing' THEN NULL ELSE paused_at END
     WHERE id = :id AND (failures_in_row > 0 OR trips > 0 OR state = 'probing')
""")
_SUSPEND = text("""
    UPDATE mailboxes SET state = 'suspended', state_reason = t.reason, last_sync_error = t.reason,
                         paused_at = coalesce(paused_at, now()), paused_by = :breaker, paused_until = now() + :duration
      FROM unnest(CAST(:ids AS uuid[]), CAST(:reasons AS text[])) AS t(id, reason)
     WHERE mailboxes.id = t.id AND state IN ('active', 'probing', 'suspended')
""")
#: A person's pause ends by itself; the breaker's and the provider's end with a probe, where there is anything to read.
_WAKE = text("""
    WITH due AS (
        SELECT id, paused_by = :breaker AND (sync_cursor IS NOT NULL OR is_listed) AS is_tried,
               sync_cursor IS NOT NULL AS has_cursor, is_listed
          FROM mailboxes CROSS JOIN LATERAL (
              SELECT EXISTS (SELECT FROM backfills b WHERE b.mailbox_id = mailboxes.id AND b.state = 'running')
          ) AS l(is_listed)
         WHERE state IN ('paused', 'suspended') AND paused_until <= now()
         ORDER BY id FOR NO KEY UPDATE OF mailboxes SKIP LOCKED
    )
    UPDATE mailboxes m
       SET state = CASE WHEN is_tried THEN 'probing' ELSE 'active' END,
           state_reason = CASE WHEN is_tried THEN state_reason END, paused_until = NULL,
           paused_by = CASE WHEN is_tried THEN m.paused_by END, paused_at = CASE WHEN is_tried THEN m.paused_at END
      FROM due WHERE m.id = due.id
    RETURNING m.id, m.org_id, m.provider, is_tried, has_cursor, is_listed
""")


def fail(connection: Connection, errors: Mapping[UUID, str]) -> list[UUID]:
    """Count a failed batch of each mailbox, with what was said; return the mailboxes that are paused because of it."""
    if not errors:
        return []
    rows = connection.execute(
        _FAIL,
        {
            "ids": list(errors),
            "errors": list(errors.values()),
            "most": MOST_FAILURES,
            "first": FIRST_PAUSE,
            "longest": LONGEST_PAUSE,
            "breaker": BREAKER,
        },
    )
    return [row.id for row in rows if row.opens]


def close(connection: Connection, mailbox: Mailbox) -> None:
    """Note that a mailbox was read: its failures are forgotten, and what waited for the probe goes on at once."""
    mailbox_id = mailbox.ref.mailbox_id
    connection.execute(_CLOSE, {"id": mailbox_id})
    if mailbox.state is MailboxState.PROBING:
        ledger.unblock(connection, mailbox_id)
        ledger.hasten(connection, mailbox_id)


def suspend(connection: Connection, reasons: Mapping[UUID, str]) -> None:
    """Note that the provider closed mailboxes; they are asked again after `SUSPENSION`."""
    if reasons:
        values = {"ids": list(reasons), "reasons": list(reasons.values())}
        connection.execute(_SUSPEND, values | {"duration": SUSPENSION, "breaker": BREAKER})


def wake(connection: Connection) -> int:
    """Let go on whose pause is over, and ask for the history of each, or for the listing under way; return how many."""
    rows = connection.execute(_WAKE, {"breaker": BREAKER}).all()
    for row in rows:
        ledger.unblock(connection, row.id)
        if not row.is_tried:
            ledger.hasten(connection, row.id)
    for stage, lane, chosen in (
        ("history", Lane.LIVE, [row for row in rows if row.has_cursor]),
        ("backfill", Lane.BACKFILL, [row for row in rows if row.is_listed and not row.has_cursor]),
    ):
        emits = [Emit(stage, str(row.id), row.org_id, row.id, lane, 0, secrets.token_hex(16)) for row in chosen]
        ledger.put(connection, emits)
        ledger.hasten_stage(connection, stage, [row.id for row in chosen])
    return len(rows)
