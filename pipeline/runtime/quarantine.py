"""Setting messages aside for a person, each with a named cause; `pipeline.commands.quarantine` lets them go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from models.enums import QuarantineCause
from pipeline.runtime.db import copy_rows

_EVIDENCE_LIMIT = 500

_HOLD = text("""
    INSERT INTO quarantines (org_id, occurrence_id, cause, evidence, stage)
    SELECT org, occurrence, cause, evidence, stage
      FROM unnest(CAST(:orgs AS uuid[]), CAST(:occurrences AS bigint[]), CAST(:causes AS text[]),
                  CAST(:evidences AS text[]), CAST(:stages AS text[])) AS t(org, occurrence, cause, evidence, stage)
     ORDER BY occurrence
        ON CONFLICT (occurrence_id) WHERE released_at IS NULL DO NOTHING
""")
_MARK = text("""
    UPDATE occurrences SET state = 'quarantined' FROM (
        SELECT id FROM occurrences WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR UPDATE) AS t
     WHERE occurrences.id = t.id
""")


@dataclass(frozen=True, slots=True)
class Held:
    """An occurrence to set aside: why, what shows it, and the stage it goes on with when it is released.

    `ticket_id` is the ticket it stands in already, where it does.
    """

    org_id: UUID
    occurrence_id: int
    cause: QuarantineCause
    evidence: str
    stage: str
    trace_id: str
    ticket_id: UUID | None = None


def hold(connection: Connection, held: Sequence[Held]) -> None:
    """Set occurrences aside with their causes; each is told in the organization's events. Idempotent."""
    if not held:
        return
    connection.execute(
        _HOLD,
        {
            "orgs": [one.org_id for one in held],
            "occurrences": [one.occurrence_id for one in held],
            "causes": [one.cause.value for one in held],
            "evidences": [one.evidence[:_EVIDENCE_LIMIT] for one in held],
            "stages": [one.stage for one in held],
        },
    )
    connection.execute(_MARK, {"ids": [one.occurrence_id for one in held]})
    rows = [
        (one.org_id, one.ticket_id, "message.quarantined", said(one.cause, one.occurrence_id, one.evidence), "system",
         one.trace_id)
        for one in held
    ]  # fmt: skip
    copy_rows(connection, "events", ("org_id", "ticket_id", "kind", "data", "actor", "trace_id"), rows)


def said(cause: str, occurrence_id: int, why: str) -> str:
    """Return what an event tells of a quarantine, as JSON."""
    return orjson.dumps({"cause": str(cause), "occurrence_id": occurrence_id, "why": why[:_EVIDENCE_LIMIT]}).decode()
