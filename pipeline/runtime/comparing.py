"""Comparisons of mailboxes with their providers as rows, and the gaps they find and close."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import GapCause, GapState, ReconcileScope
from pipeline.core import backoff
from pipeline.core.comparison import Comparison, joined, reaches
from pipeline.runtime.mailboxes import Mailbox

#: How far before the last good sync a resync reads again (reliability, 3.2).
OVERLAP = timedelta(days=2)

_RUNNING = text("SELECT id, scope, since FROM reconciles WHERE mailbox_id = :id AND state = 'running' FOR UPDATE")
_INSERT = text("""
    INSERT INTO reconciles (mailbox_id, scope, since, asked_by, started_at)
    VALUES (:id, :scope, :since, :by, now() + :delay)
        ON CONFLICT (mailbox_id) WHERE state = 'running' DO NOTHING RETURNING id
""")
#: What is to begin is never put off by those who ask again.
_AGAIN = text("""
    UPDATE reconciles SET scope = :scope, since = :since, cursor = NULL, label = '', labels_left = '{}',
                          labels_read = '{}', pages = 0, listed = 0, listed_at = NULL,
                          waits_until = NULL, restarts = 0, is_wanted_again = false,
                          started_at = CASE WHEN started_at > now() THEN least(started_at, now() + :delay)
                                            ELSE now() + :delay END
     WHERE id = :id
""")
_SOONER = text("UPDATE reconciles SET started_at = least(started_at, now() + :delay) WHERE id = :id AND pages = 0")
_ONCE_MORE = text("UPDATE reconciles SET is_wanted_again = true WHERE id = :id AND (pages > 0 OR started_at <= now())")
_FORGET = text("DELETE FROM reconcile_ids WHERE reconcile_id = :id")
_KNOWS_BETTER = text("""
    UPDATE reconcile_ids i SET labels = NULL FROM reconciles r
     WHERE r.mailbox_id = :mailbox AND r.state = 'running' AND i.reconcile_id = r.id
       AND i.provider_id = ANY(CAST(:provider_ids AS text[]))
""")
_GAP = text("""
    INSERT INTO gaps (org_id, mailbox_id, cause, state, from_at, to_at, missing, sample_ids)
    VALUES (:org, :mailbox, :cause, :state, :from_at, clock_timestamp(), :missing, CAST(:samples AS text[]))
""")
#: A cursor that is forgotten again before the gap of the last time is filled widens that gap.
_WIDEN = text("""
    UPDATE gaps SET to_at = clock_timestamp(), expiries = expiries + 1,
                    from_at = CASE WHEN from_at IS NULL OR CAST(:from_at AS timestamptz) IS NULL THEN NULL
                                   ELSE least(from_at, CAST(:from_at AS timestamptz)) END
     WHERE mailbox_id = :mailbox AND cause = 'history_expired' AND state = 'filling'
""")
_FILLED = text("""
    UPDATE gaps SET state = 'filled', filled_at = now(), filled_by = coalesce(filled_by, :by),
                    missing = greatest(missing, :missing)
     WHERE mailbox_id = :mailbox AND state = 'filling'
       AND (CAST(:since AS timestamptz) IS NULL OR from_at >= CAST(:since AS timestamptz))
""")
_EXPIRED_LATELY = text("""
    SELECT coalesce(sum(expiries), 0) FROM gaps
     WHERE mailbox_id = :mailbox AND cause = 'history_expired' AND to_at > now() - interval '1 hour'
""")
#: How far back a mailbox was ever asked to be read.
_REACH = text("""
    SELECT CASE WHEN bool_and(since IS NOT NULL) THEN min(since) END FROM backfills WHERE mailbox_id = :mailbox
""")
_SAMPLES = 20
#: Cursors forgotten within an hour before comparisons keep a distance, and how that grows.
_EXPIRIES_AT_ONCE = 2
_FIRST_DISTANCE, _LONGEST_DISTANCE = timedelta(seconds=30), timedelta(minutes=15)


def ask(
    connection: Connection,
    mailbox_id: UUID,
    wanted: Comparison,
    asked_by: str,
    *,
    delay: timedelta = timedelta(0),
    is_anew: bool = False,
) -> UUID:
    """Write that a mailbox is to be compared, `delay` from now; joins a running comparison.

    That one lists anew when it reached less far. With `is_anew` what it listed before now does not count: it is done
    once more afterwards.
    """
    values = {"id": mailbox_id, "scope": wanted.scope.value, "since": wanted.since, "by": asked_by, "delay": delay}
    while True:
        found: UUID | None = connection.execute(_INSERT, values).scalar_one_or_none()
        if found is not None:
            return found
        row = connection.execute(_RUNNING, {"id": mailbox_id}).one_or_none()
        if row is not None:  # else it ended between the two statements
            return _join(connection, row, wanted, delay, is_anew=is_anew)


def _join(connection: Connection, row: Row[Any], wanted: Comparison, delay: timedelta, *, is_anew: bool) -> UUID:
    running = Comparison(ReconcileScope(row.scope), row.since)
    reconcile_id: UUID = row.id
    if not reaches(running, wanted):
        both = joined(running, wanted)
        again = {"id": reconcile_id, "scope": both.scope.value, "since": both.since, "delay": delay}
        connection.execute(_AGAIN, again)
        connection.execute(_FORGET, {"id": reconcile_id})
    elif is_anew:
        # It goes on to its end: one that began anew each time a cursor is forgotten might never end.
        connection.execute(_ONCE_MORE, {"id": reconcile_id})
    else:
        connection.execute(_SOONER, {"id": reconcile_id, "delay": delay})
    return reconcile_id


def whole(connection: Connection, mailbox_id: UUID, scope: ReconcileScope = ReconcileScope.FULL) -> Comparison:
    """Return the comparison of everything that was ever asked for: `--since` bounds it, too."""
    return Comparison(scope, connection.execute(_REACH, {"mailbox": mailbox_id}).scalar_one())


def ask_again(connection: Connection, mailbox_id: UUID, wanted: Comparison) -> None:
    """Ask for a comparison once more because a cursor was forgotten while the last one ran, at a growing distance."""
    ask(connection, mailbox_id, wanted, "history", delay=_distance(connection, mailbox_id))


def _distance(connection: Connection, mailbox_id: UUID) -> timedelta:
    lately = int(connection.execute(_EXPIRED_LATELY, {"mailbox": mailbox_id}).scalar_one())
    return backoff.delay(max(0, lately - _EXPIRIES_AT_ONCE), base=_FIRST_DISTANCE, cap=_LONGEST_DISTANCE)


def note_expiry(connection: Connection, mailbox: Mailbox) -> None:
    """Note that the provider forgot the cursor: a gap that a bounded comparison fills by itself.

    One that forgets again and again, as some do with idle mailboxes, is compared at growing distances: listing without
    end would help nobody (mission-peers, finding 5).
    """
    last = mailbox.last_incremental_sync_at
    since = None if last is None else last - OVERLAP
    mailbox_id = mailbox.ref.mailbox_id
    distance = _distance(connection, mailbox_id)
    if connection.execute(_WIDEN, {"mailbox": mailbox_id, "from_at": since}).rowcount == 0:
        note_gap(connection, mailbox, GapCause.HISTORY_EXPIRED, GapState.FILLING, from_at=since)
    wanted = whole(connection, mailbox_id) if since is None else Comparison(ReconcileScope.RESYNC, since)
    ask(connection, mailbox_id, wanted, "history", delay=distance, is_anew=True)


def note_gap(
    connection: Connection,
    mailbox: Mailbox,
    cause: GapCause,
    state: GapState,
    *,
    from_at: datetime | None,
    missing: int | None = None,
    samples: Sequence[str] = (),
) -> None:
    """Write down a stretch of time in which ids were, or may have been, missing; it ends now."""
    connection.execute(
        _GAP,
        {
            "org": mailbox.org_id,
            "mailbox": mailbox.ref.mailbox_id,
            "cause": cause.value,
            "state": state.value,
            "from_at": from_at,
            "missing": missing,
            "samples": list(samples)[:_SAMPLES],
        },
    )


def note_filled(connection: Connection, mailbox_id: UUID, since: datetime | None, missing: int, filled_by: str) -> None:
    """Close the gaps that a comparison back to `since` has filled."""
    connection.execute(_FILLED, {"mailbox": mailbox_id, "since": since, "missing": missing, "by": filled_by})


def history_knows_better(connection: Connection, mailbox_id: UUID, provider_ids: Sequence[str]) -> None:
    """Keep a running comparison from writing labels that history has told of since it read them."""
    if provider_ids:
        connection.execute(_KNOWS_BETTER, {"mailbox": mailbox_id, "provider_ids": list(provider_ids)})


def forget_ids(connection: Connection, reconcile_id: UUID) -> None:
    """Drop what a comparison was told; its counts stay."""
    connection.execute(_FORGET, {"id": reconcile_id})
