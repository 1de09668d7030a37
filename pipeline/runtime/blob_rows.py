"""The rows that say which contents the blob store holds for an organization."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import BlobKind

_NOTE = text("""
    INSERT INTO blobs (org_id, kind, sha256, size, stored_size)
    SELECT DISTINCT org, :kind, sha256, size, stored
      FROM unnest(CAST(:orgs AS uuid[]), CAST(:hashes AS bytea[]), CAST(:sizes AS bigint[]),
                  CAST(:stored AS bigint[])) AS t(org, sha256, size, stored)
     ORDER BY org, sha256
        ON CONFLICT DO NOTHING
""")

#: Organization, hash, size, size as stored.
BlobRow = tuple[UUID, bytes, int, int]


def note_blobs(connection: Connection, kind: BlobKind, rows: Sequence[BlobRow]) -> None:
    """Note contents as stored; one that is noted already stays as it is."""
    if rows:
        orgs, hashes, sizes, stored = (list(column) for column in zip(*rows, strict=True))
        values = {"kind": kind.value, "orgs": orgs, "hashes": hashes, "sizes": sizes, "stored": stored}
        connection.execute(_NOTE, values)
