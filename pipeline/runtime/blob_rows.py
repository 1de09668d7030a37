"""The rows that say which contents the blob store holds for an organization, and which of them are to go."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import BlobKind
from pipeline.runtime.errors import Transient

#: A marked content is being taken out of the store, for whichever organization: the object is one for all.
_NOTE = text("""
    WITH told AS MATERIALIZED (
        SELECT DISTINCT org, sha256, size, stored
          FROM unnest(CAST(:orgs AS uuid[]), CAST(:hashes AS bytea[]), CAST(:sizes AS bigint[]),
                      CAST(:stored AS bigint[])) AS t(org, sha256, size, stored)
    ), noted AS (
        INSERT INTO blobs (org_id, kind, sha256, size, stored_size)
        SELECT org, :kind, sha256, size, stored FROM told ORDER BY org, sha256
            ON CONFLICT DO NOTHING
    )
    SELECT encode(b.sha256, 'hex') FROM told JOIN blobs b ON b.kind = :kind AND b.sha256 = told.sha256
     WHERE b.erased_at IS NOT NULL LIMIT 1
""")
#: Whoever stored the same bytes before the mark was there has committed by now, and is seen.
_RIPE = text("""
    SELECT b.org_id, b.kind, b.sha256 FROM blobs b
     WHERE b.erased_at IS NOT NULL
       AND b.erased_at < coalesce((SELECT min(xact_start) FROM pg_stat_activity
                                    WHERE datname = current_database() AND xact_start IS NOT NULL
                                      AND pid <> pg_backend_pid()), now())
     ORDER BY b.kind, b.sha256, b.org_id LIMIT :limit
""")
_MARKED = text("SELECT count(*) FROM blobs WHERE erased_at IS NOT NULL")
#: Bytes that came again meanwhile stay: their mail waits to be read, or was understood as something else.
_RESCUE = text("""
    UPDATE blobs b SET erased_at = NULL
      FROM unnest(CAST(:orgs AS uuid[]), CAST(:kinds AS text[]), CAST(:hashes AS bytea[])) AS t(org, kind, sha256)
     WHERE b.org_id = t.org AND b.kind = t.kind AND b.sha256 = t.sha256
       AND CASE b.kind WHEN 'attachment'
           THEN EXISTS (SELECT FROM attachments a WHERE a.org_id = b.org_id AND a.sha256 = b.sha256)
           ELSE EXISTS (SELECT FROM jobs j JOIN occurrences o ON o.id = CAST(j.key AS bigint)
                         WHERE j.stage = 'parse' AND j.org_id = b.org_id AND o.raw_sha256 = b.sha256) END
    RETURNING b.org_id, b.kind, b.sha256
""")
#: The object goes with the last row that names it.
_SHARED = text("""
    SELECT DISTINCT b.kind, b.sha256
      FROM unnest(CAST(:kinds AS text[]), CAST(:hashes AS bytea[])) AS t(kind, sha256)
      CROSS JOIN organizations o
      JOIN blobs b ON b.org_id = o.id AND b.kind = t.kind AND b.sha256 = t.sha256 AND b.erased_at IS NULL
""")
_FORGET = text("""
    DELETE FROM blobs b USING unnest(CAST(:orgs AS uuid[]), CAST(:kinds AS text[]), CAST(:hashes AS bytea[]))
        AS t(org, kind, sha256)
     WHERE b.org_id = t.org AND b.kind = t.kind AND b.sha256 = t.sha256 AND b.erased_at IS NOT NULL
""")

#: Organization, hash, size, size as stored.
BlobRow = tuple[UUID, bytes, int, int]
#: Organization, kind, hash.
BlobName = tuple[UUID, str, bytes]


def note_blobs(connection: Connection, kind: BlobKind, rows: Sequence[BlobRow]) -> None:
    """Note contents as stored; one that is noted already stays as it is.

    Raises `Transient` for bytes that are being erased: what was put may go with them, so it is put again later.
    """
    if not rows:
        return
    orgs, hashes, sizes, stored = (list(column) for column in zip(*rows, strict=True))
    values = {"kind": kind.value, "orgs": orgs, "hashes": hashes, "sizes": sizes, "stored": stored}
    marked = connection.execute(_NOTE, values).scalar_one_or_none()
    if marked is not None:
        raise Transient(f"the content {marked} is being erased; it is stored anew when that is done")


def ripe(connection: Connection, limit: int) -> list[BlobName]:
    """Return marked contents that no transaction can bring back any more; those that came again are unmarked."""
    found = [tuple(row) for row in connection.execute(_RIPE, {"limit": limit})]
    if not found:
        return []
    rescued = {tuple(row) for row in connection.execute(_RESCUE, _columns(found))}
    return [name for name in found if name not in rescued]


def count_marked(connection: Connection) -> int:
    """Return how many contents are marked, whoever may still need them."""
    return int(connection.execute(_MARKED).scalar_one())


def shared(connection: Connection, names: Sequence[BlobName]) -> set[tuple[str, bytes]]:
    """Return the kinds and hashes among them that another organization goes on to need."""
    values = {"kinds": [kind for _, kind, _ in names], "hashes": [sha256 for _, _, sha256 in names]}
    return {(row.kind, row.sha256) for row in connection.execute(_SHARED, values)}


def forget(connection: Connection, names: Sequence[BlobName]) -> int:
    """Delete the rows of contents whose objects are gone; return how many."""
    return connection.execute(_FORGET, _columns(names)).rowcount if names else 0


def _columns(names: Sequence[BlobName]) -> dict[str, list[object]]:
    orgs, kinds, hashes = (list(column) for column in zip(*names, strict=True))
    return {"orgs": orgs, "kinds": kinds, "hashes": hashes}
