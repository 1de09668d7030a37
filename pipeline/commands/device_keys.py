"""Sealed tokens of devices: which key they are sealed with, and sealing them anew, page by page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.commands.keys import Sealing, Standing, judged
from pipeline.runtime import device_rows
from pipeline.runtime.db import Database
from pipeline.runtime.secrets import HEAD, Secrets

#: Devices that are sealed anew in one transaction.
PAGE = 200

#: One of each key is opened: there may be very many.
_BY_KEY = text("""
    SELECT DISTINCT ON (head) name, token_sealed, count(*) OVER (PARTITION BY head) AS number
      FROM (SELECT encode(token_sha256, 'hex') AS name, token_sealed, substring(token_sealed FROM 1 FOR :head) AS head
              FROM devices WHERE dropped_at IS NULL) AS d
     ORDER BY head, name
""")
#: Whoever registers one of them meanwhile waits, and is sealed after it.
_READ = text("""
    SELECT id, encode(token_sha256, 'hex') AS name, token_sealed FROM devices
     WHERE dropped_at IS NULL AND id > :after ORDER BY id LIMIT :page FOR NO KEY UPDATE
""")
_SEAL = text("""
    UPDATE devices d SET token_sealed = n.sealed
      FROM unnest(CAST(:ids AS uuid[]), CAST(:sealed AS bytea[])) AS n(id, sealed) WHERE d.id = n.id
""")


def sealings_of_devices(connection: Connection, secrets: Secrets) -> Counter[tuple[Standing, str | None]]:
    """Count the devices that get pushes by how their tokens stand, and the id of the key they are sealed with."""
    found: Counter[tuple[Standing, str | None]] = Counter()
    for row in connection.execute(_BY_KEY, {"head": HEAD}):
        one = judged(secrets, device_rows.PURPOSE, row.name, bytes(row.token_sealed))
        found[one.standing, one.key_id] += row.number
    return found


def rotate_devices(db: Database, secrets: Secrets) -> Mapping[Standing, int]:
    """Seal every device's token with the current key; return how many stood how before.

    Each page is a transaction of its own: a kill at any moment leaves every token so that it opens, and to repeat does
    the rest. Tokens that no key opens stay as they are: their apps register anew when they start.
    """
    done: Counter[Standing] = Counter()
    after: UUID | None = UUID(int=0)
    while after is not None:
        with db.begin() as connection:
            after = _rotate_page(connection, secrets, after, done)
    return done


def _rotate_page(connection: Connection, secrets: Secrets, after: UUID, done: Counter[Standing]) -> UUID | None:
    """Seal the next devices anew; return the last of them, None when no other follows."""
    rows = connection.execute(_READ, {"after": after, "page": PAGE}).all()
    found = [(row.id, judged(secrets, device_rows.PURPOSE, row.name, bytes(row.token_sealed)), row) for row in rows]
    done.update(one.standing for _, one, _ in found)
    outdated = [(device_id, _anew(secrets, one, bytes(row.token_sealed))) for device_id, one, row in found
                if one.standing is Standing.OUTDATED]  # fmt: skip
    if outdated:
        ids, sealed = zip(*outdated, strict=True)
        connection.execute(_SEAL, {"ids": list(ids), "sealed": list(sealed)})
    return rows[-1].id if len(rows) == PAGE else None


def _anew(secrets: Secrets, one: Sealing, sealed: bytes) -> bytes:
    content = secrets.unseal(device_rows.PURPOSE, one.address, sealed)
    return secrets.seal(device_rows.PURPOSE, one.address, content)
