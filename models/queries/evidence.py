"""Evidence of a ticket as people see it: page by page, and one piece with the hash of its bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

COLUMNS = """
    e.id, e.ticket_id, e.kind, e.uri, e.note, e.evidence_key, e.checksum, e.metadata,
    encode(e.sha256, 'hex') AS sha256, encode(e.thumbnail_sha256, 'hex') AS thumbnail_sha256, e.size, e.content_type,
    e.check_state, e.created_by, e.created_at, e.superseded_by_id, e.withdrawn_at, e.withdrawn_by, e.withdrawn_because
"""
_PAGE = """
    SELECT {columns} FROM evidence_items e WHERE e.ticket_id = :ticket {after} ORDER BY e.id LIMIT :limit
"""
_FIRST = text(_PAGE.format(columns=COLUMNS, after=""))
_NEXT = text(_PAGE.format(columns=COLUMNS, after="AND e.id > :after"))
#: Bytes that were erased are not there any more.
_FILE = text("""
    SELECT e.id, encode(e.sha256, 'hex') AS sha256, encode(e.thumbnail_sha256, 'hex') AS thumbnail_sha256,
           coalesce(e.content_type, 'application/octet-stream') AS content_type, coalesce(e.size, 0) AS size,
           now() AS asked_at
      FROM evidence_items e
      JOIN blobs b ON b.org_id = e.org_id AND b.kind = 'evidence' AND b.sha256 = e.sha256 AND b.erased_at IS NULL
     WHERE e.id = :id AND e.ticket_id = :ticket AND e.org_id = :org
""")


@dataclass(frozen=True, slots=True)
class EvidenceFile:
    """The bytes of a piece that is kept here, by hashes in hex; a picture has a small one, too."""

    evidence_id: UUID
    sha256: str
    thumbnail_sha256: str | None
    content_type: str
    size: int
    #: The database's time.
    asked_at: datetime


def page(connection: Connection, ticket_id: UUID, *, limit: int, after: UUID | None = None) -> Sequence[Row[Any]]:
    """Return pieces of a ticket after one, oldest first, whatever became of them."""
    values: dict[str, Any] = {"ticket": ticket_id, "limit": limit}
    if after is None:
        return connection.execute(_FIRST, values).all()
    return connection.execute(_NEXT, values | {"after": after}).all()


def file_of(connection: Connection, org_id: UUID, ticket_id: UUID, evidence_id: UUID) -> EvidenceFile | None:
    """Return the bytes of a piece; None when there is none, its bytes are not ours, or they were erased."""
    values = {"id": evidence_id, "ticket": ticket_id, "org": org_id}
    row = connection.execute(_FILE, values).one_or_none()
    return None if row is None else EvidenceFile(*row)
