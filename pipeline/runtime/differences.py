"""What a comparison found: ids the ledger lacks, ids the provider lacks, labels that differ; told, and corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import GapCause, GapState, Lane
from pipeline.core.comparison import Comparison
from pipeline.ports import Listed
from pipeline.runtime import comparing
from pipeline.runtime.jobs import Emit
from pipeline.runtime.mailboxes import Mailbox
from pipeline.runtime.occurrences import ENOUGH, record, relabel, settle_vanished, vanish

#: Near its end a bounded listing may or may not name an id, for providers cut days differently.
_MARGIN = timedelta(days=1)

_MISSING = text("""
    SELECT i.provider_id, i.thread_id, i.locator, coalesce(i.labels, '{}') AS labels FROM reconcile_ids i
     WHERE i.reconcile_id = :id
       AND NOT EXISTS (SELECT FROM occurrences o WHERE o.mailbox_id = :mailbox AND o.provider_id = i.provider_id)
     ORDER BY i.provider_id
""")
#: Listed again though it was thought gone.
_BACK = text("""
    SELECT i.provider_id, i.thread_id, i.locator, i.labels FROM reconcile_ids i
      JOIN occurrences o ON o.mailbox_id = :mailbox AND o.provider_id = i.provider_id
     WHERE i.reconcile_id = :id AND i.labels IS NOT NULL
       AND (o.state = 'gone' OR o.vanished_at < (SELECT started_at FROM reconciles WHERE id = :id))
     ORDER BY i.provider_id
""")
_VANISHED = text("""
    SELECT o.provider_id, o.absences FROM occurrences o
     WHERE o.mailbox_id = :mailbox AND o.deleted_at IS NULL AND o.state <> 'gone' AND o.absences < :enough
       AND o.created_at < (SELECT started_at FROM reconciles WHERE id = :id)
       AND (CAST(:since AS timestamptz) IS NULL
            OR (o.created_at >= CAST(:since AS timestamptz) AND o.internal_at >= CAST(:since AS timestamptz) + :margin))
       AND NOT EXISTS (SELECT FROM reconcile_ids i WHERE i.reconcile_id = :id AND i.provider_id = o.provider_id)
     ORDER BY o.provider_id
""")
_RELABELLED = text("""
    SELECT o.provider_id, o.labels, i.labels AS told FROM reconcile_ids i
      JOIN occurrences o ON o.mailbox_id = :mailbox AND o.provider_id = i.provider_id
     WHERE i.reconcile_id = :id AND i.labels IS NOT NULL
       AND (o.raw_sha256 IS NOT NULL OR o.state = 'ignored')
       AND NOT (ARRAY(SELECT unnest(o.labels) INTERSECT SELECT unnest(CAST(:read AS text[]))) <@ i.labels
                AND i.labels <@ o.labels)
""")


@dataclass(frozen=True, slots=True)
class Differences:
    """How many ids differed, the fetches that follow, and whether a second listing must confirm what vanished."""

    missing: int = 0
    vanished: int = 0
    relabelled: int = 0
    is_unsure: bool = False
    emits: list[Emit] = field(default_factory=list)


def settle(
    connection: Connection, mailbox: Mailbox, reconcile_id: UUID, comparison: Comparison, labels_read: Sequence[str]
) -> Differences:
    """Compare what was told with the ledger; correct the ledger, or only note the gap for an audit.

    Ids that nobody knew are fetched in the repair lane. Ids that were not listed are gone when a second listing agrees.
    Labels are corrected among those that were listed to their end, unless history told of the message meanwhile.
    """
    values = {"id": reconcile_id, "mailbox": mailbox.ref.mailbox_id}
    missing = connection.execute(_MISSING, values).all()
    bounds = {"since": comparison.since, "margin": _MARGIN, "enough": ENOUGH}
    vanished = connection.execute(_VANISHED, values | bounds).all()
    changed = connection.execute(_RELABELLED, values | {"read": list(labels_read)}).all() if labels_read else []
    if missing:
        _note_gap(connection, mailbox, comparison, [row.provider_id for row in missing])
    found = Differences(len(missing), len(vanished), len(changed))
    if not comparison.changes_something:
        return found
    back = connection.execute(_BACK, values).all()
    vanish(connection, mailbox, [row.provider_id for row in vanished], weight=1)
    recorded = record(connection, mailbox, [_listed(row) for row in (*missing, *back)], lane=Lane.REPAIR)
    reopened = relabel(connection, mailbox, _labels(changed, labels_read), lane=Lane.REPAIR)
    settle_vanished(connection, mailbox.ref.mailbox_id)
    is_unsure = any(row.absences + 1 < ENOUGH for row in vanished)
    return replace(found, is_unsure=is_unsure, emits=[*recorded.emits, *reopened])


def _note_gap(connection: Connection, mailbox: Mailbox, comparison: Comparison, missing: Sequence[str]) -> None:
    fills = comparison.changes_something
    comparing.note_gap(
        connection,
        mailbox,
        GapCause.RECONCILE if fills else GapCause.AUDIT,
        GapState.FILLING if fills else GapState.OPEN,
        from_at=comparison.since,
        missing=missing,
    )


def _listed(row: Row[Any]) -> Listed:
    return Listed(row.provider_id, row.thread_id, row.locator, tuple(row.labels))


def _labels(changed: Sequence[Row[Any]], labels_read: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Return the labels as they are now: those that were listed as told, the others as they were."""
    listed = set(labels_read)
    return {row.provider_id: [*(label for label in row.labels if label not in listed), *row.told] for row in changed}
