"""Commands of an operator on quarantined messages: releasing them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Lane
from pipeline.runtime import ledger, quarantine
from pipeline.runtime.db import copy_rows
from pipeline.runtime.jobs import Emit
from pipeline.runtime.ledger import Line

#: Other sightings of a released message are the same message: they go on with it.
_RELEASE = text("""
    WITH asked AS (
        SELECT q.org_id, q.occurrence_id, o.message_id FROM quarantines q JOIN occurrences o ON o.id = q.occurrence_id
         WHERE q.id = ANY(CAST(:ids AS bigint[])) AND q.released_at IS NULL
           AND (CAST(:org AS uuid) IS NULL OR q.org_id = :org)
    ), sightings AS (
        SELECT org_id, occurrence_id FROM asked
        UNION SELECT a.org_id, r.occurrence_id FROM asked a JOIN occurrence_recipients r ON r.message_id = a.message_id
    ), chosen AS (
        SELECT q.id FROM quarantines q JOIN sightings s ON s.occurrence_id = q.occurrence_id AND s.org_id = q.org_id
         WHERE q.released_at IS NULL
         ORDER BY q.id FOR UPDATE OF q
    ), freed AS (
        UPDATE quarantines SET released_at = now(), released_by = :actor, released_reason = :reason
          FROM chosen WHERE quarantines.id = chosen.id AND released_at IS NULL
        RETURNING quarantines.*
    )
    SELECT f.id, f.org_id, f.occurrence_id, f.cause, f.stage, o.mailbox_id, l.ticket_id
      FROM freed f JOIN occurrences o ON o.id = f.occurrence_id
      LEFT JOIN ticket_messages l ON l.message_id = o.message_id
     ORDER BY f.id
""")


@dataclass(frozen=True, slots=True)
class Released:
    """The quarantines that were ended, and the lines where their messages wait: ring these after the commit."""

    quarantine_ids: tuple[int, ...]
    lines: frozenset[Line]


def release(
    connection: Connection, quarantine_ids: Sequence[int], *, org_id: UUID | None, actor: str, reason: str
) -> Released:
    """Let messages go on with the step they were held at, in the repair lane, where nothing screens them again.

    `org_id` narrows to one organization. Idempotent: of parallel equal calls one releases, the others find nothing.
    """
    values = {"ids": list(quarantine_ids), "org": org_id, "actor": actor, "reason": reason}
    freed = connection.execute(_RELEASE, values).all()
    traces = [secrets.token_hex(16) for _ in freed]
    emits = [
        Emit(row.stage, str(row.occurrence_id), row.org_id, row.mailbox_id, Lane.REPAIR, 0, trace)
        for row, trace in zip(freed, traces, strict=True)
    ]
    ledger.put(connection, emits)
    rows = [
        (
            row.org_id,
            row.ticket_id,
            "message.released",
            quarantine.said(row.cause, row.occurrence_id, reason),
            actor,
            trace,
        )
        for row, trace in zip(freed, traces, strict=True)
    ]
    copy_rows(connection, "events", ("org_id", "ticket_id", "kind", "data", "actor", "trace_id"), rows)
    return Released(tuple(row.id for row in freed), frozenset(Line(emit.stage, emit.lane) for emit in emits))
