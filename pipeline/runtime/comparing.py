"""Comparisons of mailboxes with their providers as rows, and the gaps they find and close."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text

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
_AGAIN = text("""
    UPDATE reconciles SET scope = :scope, since = :since, cursor = NULL, label = '', labels_left = '{}',
                          labels_read = '{}', pages = 0, listed = 0, listed_at = NULL, started_at = now() + :delay
     WHERE id = :id
""")
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
_FILLED = text("""
    UPDATE gaps SET state = 'filled', filled_at = now(), filled_by = coalesce(filled_by, :by),
                    missing = coalesce(missing, :missing)
     WHERE mailbox_id = :mailbox AND state = 'filling'
       AND (CAST(:since AS timestamptz) IS NULL OR from_at >= CAST(:since AS timestamptz))
""")
_EXPIRED_LATELY = text("""
    SELECT count(*) FROM gaps
     WHERE mailbox_id = :mailbox AND cause = 'history_expired' AND found_at > now() - interval '1 hour'
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

    That one lists anew when it reached less far, or with `is_anew`: what it listed before now does not count.
    """
    values = {"id": mailbox_id, "scope": wanted.scope.value, "since": wanted.since, "by": asked_by, "delay": delay}
    found: UUID | None = connection.execute(_INSERT, values).scalar_one_or_none()
    if found is not None:
        return found
    row = connection.execute(_RUNNING, {"id": mailbox_id}).one()
    running = Comparison(ReconcileScope(row.scope), row.since)
    if is_anew or not reaches(running, wanted):
        both = joined(running, wanted)
        connection.execute(_AGAIN, {"id": row.id, "scope": both.scope.value, "since": both.since, "delay": delay})
        connection.execute(_FORGET, {"id": row.id})
    reconcile_id: UUID = row.id
    return reconcile_id


def note_expiry(connection: Connection, mailbox: Mailbox) -> UUID:
    """Note that the provider forgot the cursor: a gap that a bounded comparison fills by itself.

    One that forgets again and again, as some do with idle mailboxes, is compared at growing distances: listing without
    end would help nobody (mission-peers, finding 5).
    """
    last = mailbox.last_incremental_sync_at
    since = None if last is None else last - OVERLAP
    mailbox_id = mailbox.ref.mailbox_id
    lately = int(connection.execute(_EXPIRED_LATELY, {"mailbox": mailbox_id}).scalar_one())
    note_gap(connection, mailbox, GapCause.HISTORY_EXPIRED, GapState.FILLING, from_at=since)
    scope = ReconcileScope.FULL if since is None else ReconcileScope.RESYNC
    distance = backoff.delay(max(0, lately - _EXPIRIES_AT_ONCE), base=_FIRST_DISTANCE, cap=_LONGEST_DISTANCE)
    return ask(connection, mailbox_id, Comparison(scope, since), "history", delay=distance, is_anew=True)


def note_gap(
    connection: Connection,
    mailbox: Mailbox,
    cause: GapCause,
    state: GapState,
    *,
    from_at: datetime | None,
    missing: Sequence[str] | None = None,
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
            "missing": None if missing is None else len(missing),
            "samples": list(missing or ())[:_SAMPLES],
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
