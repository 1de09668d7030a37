"""Quarantined messages for people: listed by cause, newest first, and counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import QuarantineCause

_FIND = text("""
    SELECT q.id, q.org_id, q.occurrence_id, q.cause, q.evidence, q.stage, q.created_at, q.released_at, q.released_by,
           q.released_reason, o.message_id, o.provider_id, encode(o.raw_sha256, 'hex') AS raw_sha256,
           b.id AS mailbox_id, b.address AS mailbox, m.subject, m.from_address, m.machine, m.received_at, m.snippet,
           l.ticket_id
      FROM quarantines q
      JOIN occurrences o ON o.id = q.occurrence_id JOIN mailboxes b ON b.id = o.mailbox_id
      LEFT JOIN messages m ON m.id = o.message_id
      LEFT JOIN ticket_messages l ON l.message_id = o.message_id
     WHERE (CAST(:org AS uuid) IS NULL OR q.org_id = :org)
       AND (CAST(:id AS bigint) IS NULL OR q.id = :id)
       AND (CAST(:cause AS text) IS NULL OR q.cause = :cause)
       AND (CAST(:before AS bigint) IS NULL OR q.id < :before)
       AND (NOT :open_only OR q.released_at IS NULL)
     ORDER BY q.id DESC LIMIT :limit
""")
_COUNT = text("""
    SELECT count(*) FROM quarantines
     WHERE released_at IS NULL AND (CAST(:org AS uuid) IS NULL OR org_id = :org)
       AND (CAST(:cause AS text) IS NULL OR cause = :cause)
""")
_BY_CAUSE = text("SELECT cause, count(*) AS messages FROM quarantines WHERE released_at IS NULL GROUP BY cause")


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One occurrence that was set aside; `raw_sha256` is lower-case hex, `ticket_id` where it stands in a ticket."""

    quarantine_id: int
    org_id: UUID
    occurrence_id: int
    cause: QuarantineCause
    evidence: str
    stage: str
    quarantined_at: datetime
    released_at: datetime | None
    released_by: str | None
    released_reason: str | None
    mailbox_id: UUID
    mailbox: str
    provider_id: str
    message_id: int | None
    raw_sha256: str | None
    subject: str | None
    sender: str | None
    machine: str | None
    received_at: datetime | None
    snippet: str | None
    ticket_id: UUID | None


def find(
    connection: Connection,
    *,
    org_id: UUID | None = None,
    quarantine_id: int | None = None,
    cause: QuarantineCause | None = None,
    before_id: int | None = None,
    open_only: bool = True,
    limit: int = 50,
) -> Sequence[Quarantined]:
    """Return up to `limit` quarantined messages, newest first; `before_id` is the last id of the page before."""
    values = {
        "org": org_id,
        "id": quarantine_id,
        "cause": cause and cause.value,
        "before": before_id,
        "open_only": open_only,
        "limit": limit,
    }
    return [_quarantined(row) for row in connection.execute(_FIND, values)]


def count(connection: Connection, *, org_id: UUID | None = None, cause: QuarantineCause | None = None) -> int:
    """Return how many messages wait in quarantine."""
    return int(connection.execute(_COUNT, {"org": org_id, "cause": cause and cause.value}).scalar_one())


def by_cause(connection: Connection) -> dict[QuarantineCause, int]:
    """Return how many messages of the installation wait in quarantine, for every cause."""
    found = {row.cause: row.messages for row in connection.execute(_BY_CAUSE)}
    return {cause: found.get(cause.value, 0) for cause in QuarantineCause}


def _quarantined(row: Row[Any]) -> Quarantined:
    return Quarantined(
        quarantine_id=row.id,
        org_id=row.org_id,
        occurrence_id=row.occurrence_id,
        cause=QuarantineCause(row.cause),
        evidence=row.evidence,
        stage=row.stage,
        quarantined_at=row.created_at,
        released_at=row.released_at,
        released_by=row.released_by,
        released_reason=row.released_reason,
        mailbox_id=row.mailbox_id,
        mailbox=row.mailbox,
        provider_id=row.provider_id,
        message_id=row.message_id,
        raw_sha256=row.raw_sha256,
        subject=row.subject,
        sender=row.from_address,
        machine=row.machine,
        received_at=row.received_at,
        snippet=row.snippet,
        ticket_id=row.ticket_id,
    )
