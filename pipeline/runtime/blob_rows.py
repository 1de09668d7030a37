"""The rows that say which contents the blob store holds for an organization, and which of them are to go."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import BlobKind
from pipeline.runtime.errors import BeingErased

#: A worker may have put bytes just before their object was deleted, and notes them no later than this: until then the
#: row stays marked, and they are put again. `stored_size` 0 says that the object is gone.
KEPT_MARKED = timedelta(minutes=3)
_ASK_AGAIN = timedelta(seconds=15)
#: When to look after marking: transactions that began before are over by then, so that most contents go at once.
SOON = timedelta(seconds=5)

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
     WHERE b.erased_at IS NOT NULL AND b.stored_size > 0
       AND b.erased_at < coalesce((SELECT min(xact_start) FROM pg_stat_activity
                                    WHERE datname = current_database() AND xact_start IS NOT NULL
                                      AND pid <> pg_backend_pid()), now())
     ORDER BY b.kind, b.sha256, b.org_id LIMIT :limit
""")
_MARK = text("""
    UPDATE blobs SET erased_at = now()
     WHERE org_id = :org AND kind = :kind AND sha256 = ANY(CAST(:hashes AS bytea[])) AND erased_at IS NULL
""")
_MARKED = text("SELECT EXISTS (SELECT FROM blobs WHERE erased_at IS NOT NULL)")
#: Bytes that came again meanwhile stay: their mail waits to be read, or was understood as something else.
_RESCUE = text("""
    WITH marked AS MATERIALIZED (
        SELECT * FROM unnest(CAST(:orgs AS uuid[]), CAST(:kinds AS text[]), CAST(:hashes AS bytea[]))
            AS t(org_id, kind, sha256)
    ), needed AS (
        SELECT m.org_id, m.kind, m.sha256 FROM marked m
         WHERE m.kind = 'attachment'
           AND EXISTS (SELECT FROM attachments a WHERE a.org_id = m.org_id AND a.sha256 = m.sha256)
        UNION
        SELECT m.org_id, m.kind, m.sha256 FROM marked m
         WHERE m.kind = 'evidence'
           AND EXISTS (SELECT FROM evidence_items e
                        WHERE e.org_id = m.org_id AND (e.sha256 = m.sha256 OR e.thumbnail_sha256 = m.sha256)
                          AND NOT e.metadata ? '_erased')
        UNION
        SELECT m.org_id, m.kind, m.sha256 FROM marked m
         WHERE m.kind = 'evidence'
           AND EXISTS (SELECT FROM order_photos p
                        WHERE p.org_id = m.org_id AND (p.sha256 = m.sha256 OR p.thumbnail_sha256 = m.sha256)
                          AND p.removed_at IS NULL)
        UNION
        SELECT m.org_id, m.kind, m.sha256 FROM jobs j JOIN occurrences o ON o.id = CAST(j.key AS bigint)
          JOIN marked m ON m.kind = 'raw' AND m.org_id = j.org_id AND m.sha256 = o.raw_sha256
         WHERE j.stage = 'parse'
    )
    UPDATE blobs b SET erased_at = NULL FROM needed n
     WHERE b.org_id = n.org_id AND b.kind = n.kind AND b.sha256 = n.sha256
    RETURNING b.org_id, b.kind, b.sha256
""")
#: The object goes with the last row that names it.
_SHARED = text("""
    SELECT DISTINCT b.kind, b.sha256
      FROM unnest(CAST(:kinds AS text[]), CAST(:hashes AS bytea[])) AS t(kind, sha256)
      CROSS JOIN organizations o
      JOIN blobs b ON b.org_id = o.id AND b.kind = t.kind AND b.sha256 = t.sha256 AND b.erased_at IS NULL
""")
_GONE = text("""
    UPDATE blobs b SET stored_size = 0, erased_at = now()
      FROM unnest(CAST(:orgs AS uuid[]), CAST(:kinds AS text[]), CAST(:hashes AS bytea[])) AS t(org, kind, sha256)
     WHERE b.org_id = t.org AND b.kind = t.kind AND b.sha256 = t.sha256 AND b.erased_at IS NOT NULL
""")
_LET_GO = text("DELETE FROM blobs WHERE erased_at < now() - :kept AND stored_size = 0")
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

    Raises `BeingErased` for bytes that are: what was put may go with them, so it is put again later.
    """
    if not rows:
        return
    orgs, hashes, sizes, stored = (list(column) for column in zip(*rows, strict=True))
    values = {"kind": kind.value, "orgs": orgs, "hashes": hashes, "sizes": sizes, "stored": stored}
    marked = connection.execute(_NOTE, values).scalar_one_or_none()
    if marked is not None:
        raise BeingErased(f"the content {marked} is being erased; it is stored anew when that is done", _ASK_AGAIN)


def ripe(connection: Connection, limit: int) -> list[BlobName]:
    """Return marked contents that no transaction can bring back any more; those that came again are unmarked."""
    found = [tuple(row) for row in connection.execute(_RIPE, {"limit": limit})]
    if not found:
        return []
    rescued = {tuple(row) for row in connection.execute(_RESCUE, _columns(found))}
    return [name for name in found if name not in rescued]


def is_any_marked(connection: Connection) -> bool:
    """Say whether any content is marked, whoever may still need it."""
    return bool(connection.execute(_MARKED).scalar_one())


def mark(connection: Connection, kind: BlobKind, org_id: UUID, hashes: Collection[bytes]) -> None:
    """Mark contents of an organization that it has no use for."""
    values = {"kind": kind.value, "org": org_id, "hashes": list(hashes)}
    connection.execute(_MARK, values)


def shared(connection: Connection, names: Sequence[BlobName]) -> set[tuple[str, bytes]]:
    """Return the kinds and hashes among them that another organization goes on to need."""
    values = {"kinds": [kind for _, kind, _ in names], "hashes": [sha256 for _, _, sha256 in names]}
    return {(row.kind, row.sha256) for row in connection.execute(_SHARED, values)}


def forget(connection: Connection, names: Sequence[BlobName], needed: Collection[tuple[str, bytes]]) -> None:
    """Note that objects are gone, and delete the rows of those that are for `KEPT_MARKED`.

    Where the object stays for another organization (`needed`), the row goes at once.
    """
    stays = [name for name in names if name[1:] in needed]
    gone = [name for name in names if name[1:] not in needed]
    for statement, some in ((_FORGET, stays), (_GONE, gone)):
        if some:
            connection.execute(statement, _columns(some))
    connection.execute(_LET_GO, {"kept": KEPT_MARKED})


def _columns(names: Sequence[BlobName]) -> dict[str, list[object]]:
    orgs, kinds, hashes = (list(column) for column in zip(*names, strict=True))
    return {"orgs": orgs, "kinds": kinds, "hashes": hashes}
