"""What comparisons of mailboxes with their providers found: the comparisons, the gaps, and the counts by label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import BackfillState, GapCause, GapState, ReconcileScope

_COLUMNS = """
    r.id, r.mailbox_id, r.scope, r.state, r.since, r.asked_by, r.started_at, r.finished_at, r.listed, r.missing,
    r.vanished, r.relabelled, r.is_doubted, r.label, cardinality(r.labels_left) AS labels_left, r.listed_at
"""
_RECENT = text(f"""
    SELECT {_COLUMNS} FROM reconciles r WHERE r.mailbox_id = :id ORDER BY r.started_at DESC LIMIT :limit
""")  # noqa: S608 - column names from above
_ONE = text(f"SELECT {_COLUMNS} FROM reconciles r WHERE r.id = :id")  # noqa: S608 - column names from above
_LAST = text(f"""
    SELECT {_COLUMNS} FROM mailboxes m
     CROSS JOIN LATERAL (SELECT * FROM reconciles WHERE mailbox_id = m.id AND state = 'done'
                          ORDER BY finished_at DESC LIMIT 1) AS r
     WHERE CAST(:ids AS uuid[]) IS NULL OR m.id = ANY(CAST(:ids AS uuid[]))
""")  # noqa: S608 - column names from above
_WHOLE = text(f"""
    SELECT {_COLUMNS} FROM reconciles r
     WHERE r.mailbox_id = :id AND r.state = 'done' AND r.scope IN ('full', 'audit')
     ORDER BY r.finished_at DESC LIMIT 1
""")  # noqa: S608 - column names from above
_GAPS = text("""
    SELECT id, cause, state, from_at, to_at, missing, sample_ids, found_at, filled_at, filled_by
      FROM gaps WHERE mailbox_id = :id ORDER BY found_at DESC LIMIT :limit
""")
#: Comparisons that find the same ids note them twice: the largest number counts.
_UNFILLED = text("""
    SELECT mailbox_id, count(*) FILTER (WHERE state = 'open') AS open,
           count(*) FILTER (WHERE state = 'filling') AS filling,
           coalesce(max(missing), 0) AS missing, min(found_at) AS since
      FROM gaps
     WHERE state <> 'filled' AND (CAST(:ids AS uuid[]) IS NULL OR mailbox_id = ANY(CAST(:ids AS uuid[])))
     GROUP BY 1
""")
_BY_LABEL = text("""
    SELECT label, count(*) AS messages FROM occurrences o, unnest(o.labels) AS label
     WHERE o.mailbox_id = :id AND o.deleted_at IS NULL AND o.state <> 'gone' GROUP BY 1
""")
_PULSES = text("""
    SELECT m.id, m.state, m.trips, m.provider <> 'files' AND m.sync_cursor IS NOT NULL
                                   AND m.state IN ('active', 'probing') AS is_compared,
           EXISTS (SELECT FROM backfills b WHERE b.mailbox_id = m.id AND b.state = 'running') AS is_listed,
           (SELECT count(*) FROM gaps g WHERE g.mailbox_id = m.id AND g.state <> 'filled') AS gaps, last.missing,
           CAST(greatest(extract(epoch FROM now() - coalesce(last.finished_at, m.created_at)), 0) AS float8) AS age
      FROM mailboxes m
      LEFT JOIN LATERAL (SELECT missing, finished_at FROM reconciles
                          WHERE mailbox_id = m.id AND state = 'done' AND scope <> 'resync'
                          ORDER BY finished_at DESC LIMIT 1) AS last ON true
     ORDER BY m.id
""")


@dataclass(frozen=True, slots=True)
class Reconcile:
    """One comparison: who asked for it, how far it reads back (None: everything), and what it found.

    `label` is the label under way, an empty text while everything is listed; `labels_left` come after it. `listed_at`
    is when the last page was read.
    """

    reconcile_id: UUID
    mailbox_id: UUID
    scope: ReconcileScope
    state: BackfillState
    since: datetime | None
    asked_by: str
    started_at: datetime
    finished_at: datetime | None
    listed: int
    missing: int
    vanished: int
    relabelled: int
    #: It lacked messages that are still there, so nothing was marked as gone.
    is_doubted: bool
    label: str
    labels_left: int
    listed_at: datetime | None

    @property
    def is_running(self) -> bool:
        """Whether it is not finished."""
        return self.state is BackfillState.RUNNING


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of time in which ids were, or may have been, missing; `from_at` None: since ever.

    `missing` is None while nobody has counted; `sample_ids` are some of them.
    """

    gap_id: UUID
    cause: GapCause
    state: GapState
    from_at: datetime | None
    to_at: datetime
    missing: int | None
    sample_ids: Sequence[str]
    found_at: datetime
    filled_at: datetime | None
    filled_by: str | None


@dataclass(frozen=True, slots=True)
class Unfilled:
    """The gaps of a mailbox that are not filled: waiting for a person, being filled, and how many ids they lack."""

    open: int
    filling: int
    missing: int
    since: datetime


@dataclass(frozen=True, slots=True)
class SyncPulse:
    """A mailbox's synchronisation in figures. `missing` is what the last comparison found, None before the first.

    `comparison_age_seconds` is None for a mailbox that is not compared now; before the first it counts from its adding.
    """

    mailbox_id: UUID
    state: str
    trips: int
    is_listed: bool
    unfilled_gaps: int
    missing: int | None
    comparison_age_seconds: float | None


def recent(connection: Connection, mailbox_id: UUID, limit: int = 5) -> list[Reconcile]:
    """Return the newest comparisons of a mailbox, the one under way first."""
    return [_reconcile(row) for row in connection.execute(_RECENT, {"id": mailbox_id, "limit": limit})]


def find(connection: Connection, reconcile_id: UUID) -> Reconcile:
    """Return a comparison that exists."""
    return _reconcile(connection.execute(_ONE, {"id": reconcile_id}).one())


def last_finished(connection: Connection, mailbox_ids: Sequence[UUID] | None = None) -> dict[UUID, Reconcile]:
    """Return the comparison that finished last, by mailbox."""
    ids = None if mailbox_ids is None else list(mailbox_ids)
    return {row.mailbox_id: _reconcile(row) for row in connection.execute(_LAST, {"ids": ids})}


def last_whole(connection: Connection, mailbox_id: UUID) -> Reconcile | None:
    """Return the comparison that finished last of those that covered every id; None when there was none."""
    row = connection.execute(_WHOLE, {"id": mailbox_id}).one_or_none()
    return None if row is None else _reconcile(row)


def gaps(connection: Connection, mailbox_id: UUID, limit: int = 100) -> list[Gap]:
    """Return the newest gaps of a mailbox, filled ones too."""
    rows = connection.execute(_GAPS, {"id": mailbox_id, "limit": limit})
    return [
        Gap(row.id, GapCause(row.cause), GapState(row.state), row.from_at, row.to_at, row.missing, row.sample_ids,
            row.found_at, row.filled_at, row.filled_by)
        for row in rows
    ]  # fmt: skip


def unfilled(connection: Connection, mailbox_ids: Sequence[UUID] | None = None) -> dict[UUID, Unfilled]:
    """Return the gaps that are not filled, by mailbox; one that has none is missing from the answer."""
    ids = None if mailbox_ids is None else list(mailbox_ids)
    return {
        row.mailbox_id: Unfilled(row.open, row.filling, row.missing, row.since)
        for row in connection.execute(_UNFILLED, {"ids": ids})
    }


def by_label(connection: Connection, mailbox_id: UUID) -> dict[str, int]:
    """Return how many messages of a mailbox that are still there carry each label, as far as they were fetched."""
    return {row.label: row.messages for row in connection.execute(_BY_LABEL, {"id": mailbox_id})}


def sync_pulses(connection: Connection) -> list[SyncPulse]:
    """Return the figures of every mailbox; what a forgotten cursor hid is no finding of a comparison."""
    return [
        SyncPulse(
            row.id, row.state, row.trips, row.is_listed, row.gaps, row.missing, row.age if row.is_compared else None
        )
        for row in connection.execute(_PULSES)
    ]


def _reconcile(row: Row[Any]) -> Reconcile:
    return Reconcile(
        reconcile_id=row.id,
        mailbox_id=row.mailbox_id,
        scope=ReconcileScope(row.scope),
        state=BackfillState(row.state),
        since=row.since,
        asked_by=row.asked_by,
        started_at=row.started_at,
        finished_at=row.finished_at,
        listed=row.listed,
        missing=row.missing,
        vanished=row.vanished,
        relabelled=row.relabelled,
        is_doubted=row.is_doubted,
        label=row.label,
        labels_left=row.labels_left,
        listed_at=row.listed_at,
    )
