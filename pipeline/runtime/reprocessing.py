"""Steps done again with what is stored: walked in chunks, compared in shadow, applied when a person says so.

    start ─► comparing ─ chunk by chunk ─► compared ─ a person ─► applying ─ chunk by chunk ─► applied
                 └──────────────────────────── cancel ─────────────────┴─► cancelled

Both walks go the same way through the same subjects (messages, or tickets). Each chunk moves the position in the
transaction of its effects, so whoever is killed in between goes on where it was. What a step does to its subjects is
a `Kind`; `pipeline.runtime.repeatable` names them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from models.enums import ReprocessKind, ReprocessState
from pipeline.ports import Ports
from pipeline.runtime.db import copy_rows
from pipeline.runtime.jobs import Emit, Job

#: Subjects of one chunk.
CHUNK = 200
GONE = "it is not there any more"
CHANGED = "it has changed since it was compared"

_RUN = text("""
    SELECT id, org_id, mailbox_id, kind, state, version, position, created_at, applied_by
      FROM reprocessings WHERE id = :id AND state IN ('comparing', 'applying')
""")
#: Guards every effect: a run that was cancelled, or whose chunk another worker has done, is left alone.
_MOVE = text("""
    UPDATE reprocessings SET position = :position
     WHERE id = :id AND state = :state AND position IS NOT DISTINCT FROM :before
""")
_COUNT = text("""
    UPDATE reprocessings SET seen = seen + :seen, changed = changed + :changed, failed = failed + :failed,
                             applied = applied + :applied
     WHERE id = :id
""")
_COMPARED = text("UPDATE reprocessings SET state = 'compared', position = NULL WHERE id = :id")
_APPLIED = text("UPDATE reprocessings SET state = 'applied', finished_at = now() WHERE id = :id")
_RECORDED = text("""
    SELECT subject, changes, applied_at IS NULL AND refused IS NULL AS is_open FROM reprocessed
     WHERE reprocessing_id = :id AND subject = ANY(CAST(:subjects AS text[]))
""")
_DONE = text("""
    UPDATE reprocessed r SET applied_at = CASE WHEN t.refused IS NULL THEN now() END, refused = t.refused
      FROM unnest(CAST(:subjects AS text[]), CAST(:refused AS text[])) AS t(subject, refused)
     WHERE r.reprocessing_id = :id AND r.subject = t.subject AND r.applied_at IS NULL
""")
_LEFT = text("""
    UPDATE reprocessed SET refused = :why WHERE reprocessing_id = :id AND applied_at IS NULL AND refused IS NULL
""")


@dataclass(frozen=True, slots=True)
class Run:
    """One repetition under way; it is about what was there when it was `started_at`."""

    run_id: int
    org_id: UUID
    mailbox_id: UUID | None
    kind: ReprocessKind
    state: ReprocessState
    version: int
    position: str | None
    started_at: datetime
    applied_by: str | None

    @property
    def is_applying(self) -> bool:
        """True when changes are made, and not only looked for."""
        return self.state is ReprocessState.APPLYING


@dataclass(frozen=True, slots=True)
class Subject:
    """One message or ticket by its id, with what its kind read of it."""

    key: str
    loaded: Any


@dataclass(frozen=True, slots=True)
class Again:
    """What the step makes of a subject now: the changes by field, [as stored, as it would be], and how to make them."""

    changes: Mapping[str, list[object]]
    effect: Any = None


@dataclass(frozen=True, slots=True)
class Effects:
    """What became of applying: why some subjects were left as they are, and the steps that the others need."""

    refused: Mapping[str, str] = field(default_factory=dict)
    emits: Sequence[Emit] = ()


class Kind(Protocol):
    """One step that can be done again."""

    @property
    def version(self) -> int:
        """The version of its rules now."""

    def count(self, connection: Connection, org_id: UUID, mailbox_id: UUID | None) -> int:
        """Return how many subjects there are."""

    def load(self, connection: Connection, run: Run, limit: int) -> Sequence[Subject]:
        """Return the next subjects after the run's position, in the kind's own order; none at the end.

        Fewer than `limit` when they are large: a chunk is held in memory.
        """

    def work(
        self, subjects: Sequence[Subject], ports: Ports, *, stores: bool, isolated: bool
    ) -> Sequence[Again | Exception]:
        """Do the step again for each subject, in order, with no transaction open; `stores` when it will be applied.

        `isolated` when this chunk failed or ended its process before: nothing of it may do so again.
        """

    def apply(self, connection: Connection, run: Run, changed: Sequence[tuple[Subject, Again]], job: Job) -> Effects:
        """Make the changes set-wise, of those subjects only that still are as they were loaded."""

    def agree(self, connection: Connection, run: Run, keys: Sequence[str]) -> None:
        """Note the version on subjects that would be the same."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A difference that was found when the run compared; closed ones are applied or refused already."""

    changes: Mapping[str, list[object]]
    is_open: bool


def running(connection: Connection, run_id: int) -> Run | None:
    """Return a repetition that goes on by itself; None when it waits for a person, or is over."""
    row = connection.execute(_RUN, {"id": run_id}).one_or_none()
    if row is None:
        return None
    kind, state = ReprocessKind(row.kind), ReprocessState(row.state)
    return Run(
        row.id, row.org_id, row.mailbox_id, kind, state, row.version, row.position, row.created_at, row.applied_by
    )


def recorded(connection: Connection, run: Run, keys: Sequence[str]) -> dict[str, Recorded]:
    """Return what was recorded of each subject when the run compared."""
    rows = connection.execute(_RECORDED, {"id": run.run_id, "subjects": list(keys)})
    return {row.subject: Recorded(row.changes, row.is_open) for row in rows}


def move(connection: Connection, run: Run, position: str | None) -> bool:
    """Move a run on from where it stood; False when that is no longer so, and nothing may be done."""
    values = {"id": run.run_id, "state": run.state.value, "before": run.position, "position": position}
    return connection.execute(_MOVE, values).rowcount == 1


def note(connection: Connection, run: Run, outcomes: Mapping[str, Again | Exception]) -> None:
    """Record the differences of a chunk, and what could not be done; count them."""
    rows: list[tuple[Any, ...]] = []
    failed = 0
    for key, outcome in outcomes.items():
        if isinstance(outcome, Exception):
            failed += 1
            rows.append((run.run_id, key, "{}", _said(outcome)))
        elif outcome.changes:
            rows.append((run.run_id, key, orjson.dumps(outcome.changes).decode(), None))
    copy_rows(connection, "reprocessed", ("reprocessing_id", "subject", "changes", "refused"), rows)
    _count(connection, run, seen=len(outcomes), changed=len(rows) - failed, failed=failed)


def close(connection: Connection, run: Run, refused: Mapping[str, str | None]) -> None:
    """Note of each subject that it was applied, or why not."""
    if refused:
        values = {"id": run.run_id, "subjects": list(refused), "refused": list(refused.values())}
        connection.execute(_DONE, values)
        _count(connection, run, applied=sum(why is None for why in refused.values()))


def end(connection: Connection, run: Run) -> None:
    """Let a run come to its end: compared, it waits for a person; applied, it is over."""
    if run.is_applying:
        connection.execute(_LEFT, {"id": run.run_id, "why": GONE})
        connection.execute(_APPLIED, {"id": run.run_id})
    else:
        connection.execute(_COMPARED, {"id": run.run_id})


def as_json(changes: Mapping[str, list[object]]) -> Any:
    """Return changes as they come back from the database."""
    return orjson.loads(orjson.dumps(changes))


def _count(
    connection: Connection, run: Run, *, seen: int = 0, changed: int = 0, failed: int = 0, applied: int = 0
) -> None:
    values = {"id": run.run_id, "seen": seen, "changed": changed, "failed": failed, "applied": applied}
    connection.execute(_COUNT, values)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".replace("\x00", "")[:500]
