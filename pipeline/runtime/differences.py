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
#: Missing ids that one transaction records, and unlisted ids that are asked for before a listing is believed.
_PIECE, _PROOFS = 5_000, 5

_MISSING = text("""
    SELECT i.provider_id, i.thread_id, i.locator, coalesce(i.labels, '{}') AS labels FROM reconcile_ids i
     WHERE i.reconcile_id = :id
       AND NOT EXISTS (SELECT FROM occurrences o WHERE o.mailbox_id = :mailbox AND o.provider_id = i.provider_id)
     ORDER BY i.provider_id LIMIT :most
""")
_HOW_MANY_MISSING = text("""
    SELECT count(*) FROM reconcile_ids i
     WHERE i.reconcile_id = :id
       AND NOT EXISTS (SELECT FROM occurrences o WHERE o.mailbox_id = :mailbox AND o.provider_id = i.provider_id)
""")
#: Listed again though it was thought gone.
_BACK = text("""
    SELECT i.provider_id, i.thread_id, i.locator, i.labels FROM reconcile_ids i
      JOIN occurrences o ON o.mailbox_id = :mailbox AND o.provider_id = i.provider_id
     WHERE i.reconcile_id = :id AND i.labels IS NOT NULL
       AND (o.state = 'gone' OR o.vanished_at < (SELECT started_at FROM reconciles WHERE id = :id))
     ORDER BY i.provider_id
""")
#: What the comparison before recorded as it asked for this one is as old as this one, and was there to be listed.
_VANISHED = """
    SELECT o.provider_id, o.absences, o.thread_id, o.locator FROM occurrences o
     WHERE o.mailbox_id = :mailbox AND o.deleted_at IS NULL AND o.state <> 'gone' AND o.absences < :enough
       AND o.created_at <= (SELECT started_at FROM reconciles WHERE id = :id)
       AND (CAST(:since AS timestamptz) IS NULL
            OR (o.created_at >= CAST(:since AS timestamptz) AND o.internal_at >= CAST(:since AS timestamptz) + :margin))
       AND NOT EXISTS (SELECT FROM reconcile_ids i WHERE i.reconcile_id = :id AND i.provider_id = o.provider_id)
"""
_ALL_VANISHED = text(_VANISHED + " ORDER BY o.provider_id")
#: Any of them will do, and not always the same.
_SOME_VANISHED = text(_VANISHED + " ORDER BY md5(o.provider_id || CAST(:id AS text)) LIMIT :most")
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
    #: More is missing than is recorded at a time: the rest follows.
    is_partial: bool = False
    emits: list[Emit] = field(default_factory=list)


def unlisted(connection: Connection, mailbox: Mailbox, reconcile_id: UUID, comparison: Comparison) -> list[Listed]:
    """Return a few of the known ids that were not listed, for a proof that they are gone."""
    rows = connection.execute(_SOME_VANISHED, _bounds(mailbox, reconcile_id, comparison) | {"most": _PROOFS})
    return [Listed(row.provider_id, row.thread_id, row.locator) for row in rows]


def settle(
    connection: Connection,
    mailbox: Mailbox,
    reconcile_id: UUID,
    comparison: Comparison,
    labels_read: Sequence[str],
    *,
    is_doubted: bool,
) -> Differences:
    """Compare what was told with the ledger; correct the ledger, or only note the gap for an audit.

    Ids that nobody knew are fetched in the repair lane, some thousand at a time. Ids that were not listed are gone when
    a second listing agrees, unless this one is doubted. Labels are corrected among those that were listed to their end,
    unless history told of the message meanwhile.
    """
    values = _bounds(mailbox, reconcile_id, comparison)
    changes = comparison.changes_something
    missing = connection.execute(_MISSING, values | {"most": _PIECE if changes else _PROOFS}).all()
    if changes and len(missing) == _PIECE:
        recorded = record(connection, mailbox, [_listed(row) for row in missing], lane=Lane.REPAIR)
        return Differences(missing=recorded.fresh, is_partial=True, emits=recorded.emits)
    vanished = [] if is_doubted else connection.execute(_ALL_VANISHED, values).all()
    changed = connection.execute(_RELABELLED, values | {"read": list(labels_read)}).all() if labels_read else []
    number = len(missing) if changes else int(connection.execute(_HOW_MANY_MISSING, values).scalar_one())
    if missing:
        _note_gap(connection, mailbox, comparison, [row.provider_id for row in missing], number)
    found = Differences(number, len(vanished), len(changed))
    if not changes:
        return found
    back = connection.execute(_BACK, values).all()
    vanish(connection, mailbox, [row.provider_id for row in vanished], weight=1)
    recorded = record(connection, mailbox, [_listed(row) for row in (*missing, *back)], lane=Lane.REPAIR)
    reopened = relabel(connection, mailbox, _labels(changed, labels_read), lane=Lane.REPAIR)
    settle_vanished(connection, mailbox.ref.mailbox_id)
    is_unsure = any(row.absences + 1 < ENOUGH for row in vanished)
    return replace(found, is_unsure=is_unsure, emits=[*recorded.emits, *reopened])


def _bounds(mailbox: Mailbox, reconcile_id: UUID, comparison: Comparison) -> dict[str, Any]:
    bounds = {"since": comparison.since, "margin": _MARGIN, "enough": ENOUGH}
    return {"id": reconcile_id, "mailbox": mailbox.ref.mailbox_id} | bounds


def _note_gap(
    connection: Connection, mailbox: Mailbox, comparison: Comparison, samples: Sequence[str], missing: int
) -> None:
    fills = comparison.changes_something
    comparing.note_gap(
        connection,
        mailbox,
        GapCause.RECONCILE if fills else GapCause.AUDIT,
        GapState.FILLING if fills else GapState.OPEN,
        from_at=comparison.since,
        missing=missing,
        samples=samples,
    )


def _listed(row: Row[Any]) -> Listed:
    return Listed(row.provider_id, row.thread_id, row.locator, tuple(row.labels))


def _labels(changed: Sequence[Row[Any]], labels_read: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Return the labels as they are now: those that were listed as told, the others as they were."""
    listed = set(labels_read)
    return {row.provider_id: [*(label for label in row.labels if label not in listed), *row.told] for row in changed}
