"""Where the raw bytes of a message are: by occurrence, by message, by Message-ID or by hash."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import OccurrenceState

_OCCURRENCE = text("""
    SELECT state, (SELECT encode(b.sha256, 'hex') FROM blobs b
                    WHERE b.org_id = o.org_id AND b.kind = 'raw' AND b.sha256 = o.raw_sha256
                      AND b.erased_at IS NULL) AS sha256
      FROM occurrences o
     WHERE id = :id AND (CAST(:org AS uuid) IS NULL OR org_id = :org)
""")
_MESSAGE = text("SELECT encode(raw_sha256, 'hex') FROM messages WHERE id = :id")
_NAMED = text("""
    SELECT DISTINCT encode(m.raw_sha256, 'hex')
      FROM organizations g
      JOIN messages m ON m.org_id = g.id AND m.rfc_message_id IS NOT NULL
                     AND hashtextextended(m.rfc_message_id, 0) = hashtextextended(:name, 0) AND m.rfc_message_id = :name
     ORDER BY 1
""")
_KEPT = text("""
    SELECT DISTINCT encode(b.sha256, 'hex') FROM organizations g
      JOIN blobs b ON b.org_id = g.id AND b.kind = 'raw' AND b.sha256 = decode(:sha256, 'hex')
                  AND b.erased_at IS NULL
""")


@dataclass(frozen=True, slots=True)
class RawOf:
    """The state of an occurrence and the hex SHA-256 of its raw bytes, None while they are not here, or erased."""

    state: OccurrenceState
    sha256: str | None


def of_occurrence(connection: Connection, occurrence_id: int, org_id: UUID | None = None) -> RawOf | None:
    """Return the raw bytes' hash of an occurrence; None when there is no such one (in the organization, when given)."""
    row = connection.execute(_OCCURRENCE, {"id": occurrence_id, "org": org_id}).one_or_none()
    return None if row is None else RawOf(OccurrenceState(row.state), row.sha256)


def of_message(connection: Connection, message_id: int) -> str | None:
    """Return the hash of the raw bytes that a message was first understood from."""
    found: str | None = connection.execute(_MESSAGE, {"id": message_id}).scalar_one_or_none()
    return found


def of_message_id(connection: Connection, name: str) -> list[str]:
    """Return the hashes of the raw bytes of every message with a Message-ID of the form "<...>"."""
    return list(connection.execute(_NAMED, {"name": name}).scalars())


def is_kept(connection: Connection, sha256: str) -> bool:
    """Say whether raw bytes with this hex SHA-256 are kept."""
    return connection.execute(_KEPT, {"sha256": sha256}).scalar_one_or_none() is not None
