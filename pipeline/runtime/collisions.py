"""Collision groups: messages that share a fingerprint and differ all the same are marked, and never merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

#: A group is named by its fingerprint, so whoever marks it first or again gives it the same name.
_GROUP = "CAST(encode(substring(m.fingerprint FROM 1 FOR 16), 'hex') AS uuid)"
_MARK = text(f"""
    UPDATE messages m SET collision_group_id = {_GROUP}
      FROM (SELECT fingerprint FROM messages
             WHERE org_id = :org AND fingerprint = ANY(CAST(:fingerprints AS bytea[]))
             GROUP BY fingerprint HAVING count(*) > 1) AS twins
     WHERE m.org_id = :org AND m.fingerprint = twins.fingerprint AND m.collision_group_id IS NULL
""")  # noqa: S608 - made of the constant above
#: A chunk is a stretch of fingerprints: the unique index of messages begins with the organization and theirs.
_CHUNK = text("""
    SELECT count(*) AS fingerprints, max(fingerprint) AS last
      FROM (SELECT DISTINCT fingerprint FROM messages WHERE org_id = :org AND fingerprint > :after
             ORDER BY fingerprint LIMIT :limit) AS chunk
""")
#: Locked in the order of their ids, as stitching a batch would not deadlock with it.
_BACKFILL = text(f"""
    WITH twins AS (
        SELECT fingerprint FROM messages WHERE org_id = :org AND fingerprint > :after AND fingerprint <= :last
         GROUP BY fingerprint HAVING count(*) > 1
    ), missing AS (
        SELECT m.id FROM messages m JOIN twins USING (fingerprint)
         WHERE m.org_id = :org AND m.collision_group_id IS NULL
         ORDER BY m.id FOR NO KEY UPDATE OF m
    ), marked AS (
        UPDATE messages m SET collision_group_id = {_GROUP} FROM missing WHERE m.id = missing.id
        RETURNING m.collision_group_id
    )
    SELECT count(DISTINCT collision_group_id) AS groups, count(*) AS messages FROM marked
""")  # noqa: S608 - made of the constant above
CHUNK = 20_000


@dataclass(frozen=True, slots=True)
class Backfilled:
    """What was looked through and marked (contract 001); groups count where a message was missing."""

    fingerprints_scanned: int = 0
    groups_updated: int = 0
    messages_updated: int = 0

    def __add__(self, other: Backfilled) -> Backfilled:
        """Add up two stretches."""
        return Backfilled(
            self.fingerprints_scanned + other.fingerprints_scanned,
            self.groups_updated + other.groups_updated,
            self.messages_updated + other.messages_updated,
        )


def mark(connection: Connection, org_id: UUID, fingerprints: Sequence[bytes]) -> None:
    """Mark the messages of these fingerprints that have company."""
    if fingerprints:
        connection.execute(_MARK, {"org": org_id, "fingerprints": list(fingerprints)})


def backfill_chunk(connection: Connection, org_id: UUID, after: bytes) -> tuple[Backfilled, bytes | None]:
    """Mark what is missing within the next stretch of fingerprints; return where to go on after, None at the end."""
    chunk = connection.execute(_CHUNK, {"org": org_id, "after": after, "limit": CHUNK}).one()
    if not chunk.fingerprints:
        return Backfilled(), None
    values = {"org": org_id, "after": after, "last": chunk.last}
    marked = connection.execute(_BACKFILL, values).one()
    found = Backfilled(chunk.fingerprints, marked.groups, marked.messages)
    return found, bytes(chunk.last) if chunk.fingerprints == CHUNK else None
