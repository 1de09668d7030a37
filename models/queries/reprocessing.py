"""Repetitions: how they stand, and what they would change or have changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import ReprocessKind, ReprocessState

_FIND = text("""
    SELECT r.id, r.org_id, r.mailbox_id, m.address AS mailbox, r.kind, r.state, r.version, r.total, r.seen, r.changed,
           r.applied, r.failed, r.started_by, r.applied_by, r.created_at, r.finished_at,
           (SELECT count(*) FROM reprocessed d WHERE d.reprocessing_id = r.id AND d.refused IS NOT NULL) AS refused
      FROM reprocessings r LEFT JOIN mailboxes m ON m.id = r.mailbox_id
     WHERE (CAST(:org AS uuid) IS NULL OR r.org_id = :org) AND (CAST(:id AS bigint) IS NULL OR r.id = :id)
       AND (CAST(:before AS bigint) IS NULL OR r.id < :before)
     ORDER BY r.id DESC LIMIT :limit
""")
_FIELDS = text("""
    SELECT f.field, count(*) AS subjects FROM reprocessed d, jsonb_object_keys(d.changes) AS f(field)
     WHERE d.reprocessing_id = :id GROUP BY f.field ORDER BY subjects DESC, f.field
""")
_DIFFERENCES = text("""
    SELECT subject, changes, applied_at, refused FROM reprocessed
     WHERE reprocessing_id = :id AND (CAST(:field AS text) IS NULL OR changes ? :field)
       AND (CAST(:after AS text) IS NULL OR subject > :after)
     ORDER BY subject LIMIT :limit
""")
_IS_DEAD = text("SELECT EXISTS (SELECT FROM jobs WHERE stage = 'reprocess' AND key = :key AND state = 'dead')")


@dataclass(frozen=True, slots=True)
class Reprocessing:
    """One repetition; `refused` counts what failed as well as what was left as it is when applying."""

    reprocessing_id: int
    org_id: UUID
    mailbox_id: UUID | None
    mailbox: str | None
    kind: ReprocessKind
    state: ReprocessState
    version: int
    total: int
    seen: int
    changed: int
    applied: int
    failed: int
    refused: int
    started_by: str
    applied_by: str | None
    started_at: datetime
    finished_at: datetime | None

    @property
    def is_running(self) -> bool:
        """True while it goes on by itself."""
        return self.state in (ReprocessState.COMPARING, ReprocessState.APPLYING)


@dataclass(frozen=True, slots=True)
class Difference:
    """What would change, or has changed, of one message or ticket: by field [as stored, as it would be]."""

    subject: str
    changes: Mapping[str, Sequence[Any]]
    applied_at: datetime | None
    refused: str | None


def recent(
    connection: Connection, org_id: UUID, *, limit: int = 50, before_id: int | None = None
) -> list[Reprocessing]:
    """Return an organization's repetitions, the newest first."""
    rows = connection.execute(_FIND, {"org": org_id, "id": None, "before": before_id, "limit": limit})
    return [_reprocessing(row) for row in rows]


def find(connection: Connection, org_id: UUID | None, reprocessing_id: int) -> Reprocessing | None:
    """Return one repetition of an organization, of any with None."""
    row = connection.execute(_FIND, {"org": org_id, "id": reprocessing_id, "before": None, "limit": 1}).one_or_none()
    return None if row is None else _reprocessing(row)


def fields(connection: Connection, reprocessing_id: int) -> dict[str, int]:
    """Return how many messages or tickets differ in each field, the most frequent first."""
    return {row.field: row.subjects for row in connection.execute(_FIELDS, {"id": reprocessing_id})}


def differences(
    connection: Connection, reprocessing_id: int, *, limit: int, after: str | None = None, field: str | None = None
) -> list[Difference]:
    """Return the differences in the order of their subjects, from after one of them; only those in a field."""
    values = {"id": reprocessing_id, "after": after, "field": field, "limit": limit}
    rows = connection.execute(_DIFFERENCES, values)
    return [Difference(row.subject, row.changes, row.applied_at, row.refused) for row in rows]


def is_dead(connection: Connection, reprocessing_id: int) -> bool:
    """Say whether a repetition's job is a dead letter, so that it goes on only when a person replays it."""
    return bool(connection.execute(_IS_DEAD, {"key": str(reprocessing_id)}).scalar_one())


def _reprocessing(row: Any) -> Reprocessing:
    return Reprocessing(
        row.id,
        row.org_id,
        row.mailbox_id,
        row.mailbox,
        ReprocessKind(row.kind),
        ReprocessState(row.state),
        row.version,
        row.total,
        row.seen,
        row.changed,
        row.applied,
        row.failed,
        row.refused,
        row.started_by,
        row.applied_by,
        row.created_at,
        row.finished_at,
    )
