"""The table of schedules: what is asked for by itself, and when; one row each."""

from __future__ import annotations

import secrets
from datetime import timedelta
from functools import partial
from uuid import UUID

from sqlalchemy import Connection, text

from dlq import letters, retention
from models.enums import Lane
from pipeline.commands.erasing import request_retention
from pipeline.commands.levels import request_weeks
from pipeline.commands.push import request_watches
from pipeline.commands.quieting import request_quiet
from pipeline.commands.reconcile import request_nightly
from pipeline.core.slots import CatchUp
from pipeline.runtime import (
    audit_seals,
    clock_requests,
    idempotency,
    ledger,
    past_logins,
    resumable_rows,
    slots,
    uploads,
)
from pipeline.runtime.jobs import Emit
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from pipeline.runtime.slots import Routine
from pipeline.table import STAGES

#: A mailbox that polling left alone for this long, for whatever reason, is asked by the net below it.
UNREAD = timedelta(minutes=5)
#: The same mailbox's dead history or backfill is tried again at most this often.
REVIVAL = timedelta(hours=1)

#: What polling and its net have in common: may be read, has something to read from, and nobody is at it.
READABLE = """
    m.state IN ('active', 'probing') AND m.provider <> 'files'
       AND (m.sync_cursor IS NOT NULL
            OR (m.last_full_sync_at IS NOT NULL
                AND NOT EXISTS (SELECT FROM backfills b WHERE b.mailbox_id = m.id AND b.state = 'running')))
       AND NOT EXISTS (SELECT FROM jobs j WHERE j.stage = 'history' AND j.key = CAST(m.id AS text))
"""
_UNREAD = text(f"""
    SELECT m.id, m.org_id FROM mailboxes m
     WHERE {READABLE} AND coalesce(m.last_incremental_sync_at, '-infinity') < now() - :unread
     ORDER BY m.id
""")  # noqa: S608 - conditions from above
_ENDLESS = [stage.name for stage in STAGES.values() if stage.by_mailbox]
_DEAD = text("""
    SELECT d.id FROM dead_letters d JOIN mailboxes m ON m.id = d.mailbox_id
     WHERE d.resolution IS NULL AND d.stage = ANY(CAST(:stages AS text[])) AND m.state IN ('active', 'probing')
       AND NOT EXISTS (SELECT FROM dead_letters e
                        WHERE e.mailbox_id = d.mailbox_id AND e.stage = d.stage AND e.resolved_by = 'schedule'
                          AND e.resolved_at > now() - :pause)
     ORDER BY d.id
""")


def declared(settings: Settings) -> tuple[Routine, ...]:
    """Return the schedules of an installation; their times are UTC."""
    tidy = partial(_tidy, letters_kept=timedelta(days=settings.dead_letters_kept_days))
    unread = max(UNREAD, timedelta(seconds=settings.history_interval_seconds))
    rows = [
        Routine(
            "history",
            "Asks for the changes of mailboxes that polling missed, and revives their dead jobs.",
            settings.history_schedule,
            CatchUp.ONCE,
            partial(ask_for_history, unread=unread),
        ),
        Routine(
            "reconcile",
            "Compares every mailbox with its provider.",
            settings.reconcile_schedule,
            CatchUp.ONCE,
            request_nightly,
        ),
        Routine(
            "clocks",
            "Gives clocks to open tickets that have none, as after an update.",
            "23 * * * *",
            CatchUp.ONCE,
            clock_requests.request_missing,
        ),
        Routine(
            "levels",
            "Judges the weeks of workshops that are over.",
            # Every zone is apart from UTC by quarters of an hour, so each has its 00:05 on a Monday among these.
            "5-59/15 * * * *",
            CatchUp.ONCE,
            request_weeks,
        ),
        Routine(
            "quiet",
            "Closes cases of which nothing was heard for as long as their policy says.",
            "29 3 * * *",
            CatchUp.ONCE,
            request_quiet,
        ),
        Routine(
            "retention",
            "Forgets the mail of tickets that ended longer ago than their organization keeps it.",
            "11 4 * * *",
            CatchUp.ONCE,
            request_retention,
        ),
        Routine(
            "seal",
            "Signs the newest row of each audit trail, and forgets answers kept for requests that come again.",
            "53 * * * *",
            CatchUp.ONCE,
            partial(_seal, keys=None if settings.secret_key is None else Secrets.of(settings)),
        ),
        Routine(
            "tidy",
            "Forgets old slots, resolved letters, logins that are over, refused uploads.",
            "41 3 * * *",
            CatchUp.SKIP,
            tidy,
        ),
    ]
    if settings.push_topic is not None:
        watch = partial(request_watches, topic=settings.push_topic)
        rows.insert(2, Routine("watch", "Renews the provider's announcements.", "7 * * * *", CatchUp.ONCE, watch))
    return tuple(rows)


def ask_for_history(connection: Connection, unread: timedelta = UNREAD) -> int:
    """Ask for the changes of every readable mailbox not read for `unread`, and revive what died; return how many jobs.

    With it the chain of polls never ends: `schedule` replays dead letters, at most once per `REVIVAL` and mailbox.
    """
    rows = connection.execute(_UNREAD, {"unread": unread})
    emits = [history_of(row.id, row.org_id) for row in rows]
    ledger.put(connection, emits)
    dead = list(connection.execute(_DEAD, {"pause": REVIVAL, "stages": _ENDLESS}).scalars())
    revived = letters.replay(connection, dead, actor="schedule", reason="mailboxes are read again by themselves")
    return len(emits) + len(revived.letter_ids)


def history_of(mailbox_id: UUID, org_id: UUID) -> Emit:
    """Return the job that reads a mailbox's changes."""
    return Emit("history", str(mailbox_id), org_id, mailbox_id, Lane.LIVE, 0, secrets.token_hex(16))


def _seal(connection: Connection, keys: Secrets | None) -> int:
    """Seal the heads that moved, where there is a key to sign with."""
    if keys is not None:
        audit_seals.tell(audit_seals.seal(connection, keys))
    idempotency.clean(connection, most=100_000)
    return 0


def _tidy(connection: Connection, letters_kept: timedelta) -> int:
    """Forget what is old; resolved letters, a bounded number a day, after `letters_kept`, or never when that is 0."""
    slots.tidy(connection)
    past_logins.forget(connection)
    resumable_rows.forget(connection)
    uploads.let_go(connection)
    if letters_kept:
        retention.forget(connection, kept=letters_kept)
    return 0
