"""Seals: the newest link of each audit trail, signed and told to the log, where no database administrator reaches."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from pipeline.core.audit_chain import Place
from pipeline.core.canonical_json import canonical
from pipeline.runtime.logs import get_logger
from pipeline.runtime.secrets import Secrets

#: The purpose of the key that signs.
_PURPOSE = "audit seal"
#: A head that moved is sealed this long after its last seal: somewhat less than the hour between two slots of the
#: schedule, so that none is missed by a second (reliability, section 5: hourly).
EVERY = timedelta(minutes=50)

_DUE = text("""
    SELECT h.org_id, h.number, h.hash FROM audit_heads h
      LEFT JOIN LATERAL (SELECT s.number, s.sealed_at FROM audit_seals s WHERE s.org_id = h.org_id
                          ORDER BY s.number DESC, s.id DESC LIMIT 1) s ON true
     WHERE h.number > coalesce(s.number, 0) AND (s.sealed_at IS NULL OR s.sealed_at <= now() - :every)
       AND (CAST(:org AS uuid) IS NULL OR h.org_id = :org)
     ORDER BY h.org_id
""")
_SEAL = text("""
    INSERT INTO audit_seals (org_id, number, hash, signature, key_id)
    SELECT org_id, number, hash, signature, :key_id
      FROM unnest(CAST(:orgs AS uuid[]), CAST(:numbers AS bigint[]), CAST(:hashes AS bytea[]),
                  CAST(:signatures AS bytea[])) AS g(org_id, number, hash, signature)
""")


@dataclass(frozen=True, slots=True)
class Seal:
    """A head that was signed."""

    org_id: UUID
    place: Place
    signature: bytes
    key_id: str


def seal(connection: Connection, keys: Secrets, *, org_id: UUID | None = None, every: timedelta = EVERY) -> list[Seal]:
    """Sign each head that moved since its last seal, if that is `every` ago. Raises `UserError` without a secret key.

    Appending does not wait: a head is read as it was committed last. Tell of the seals (`tell`) after the commit.
    """
    due = connection.execute(_DUE, {"every": every, "org": org_id}).all()
    seals = [_seal(keys, row) for row in due]
    if seals:
        values = {
            "key_id": keys.key_id,
            "orgs": [one.org_id for one in seals],
            "numbers": [one.place.number for one in seals],
            "hashes": [one.place.hash for one in seals],
            "signatures": [one.signature for one in seals],
        }
        connection.execute(_SEAL, values)
    return seals


def tell(seals: Sequence[Seal]) -> None:
    """Write seals to the log: kept elsewhere, they show a trail that was cut short or made anew, seals and all."""
    for one in seals:
        get_logger().info(
            "audit.sealed",
            org_id=str(one.org_id),
            number=one.place.number,
            hash=one.place.hash.hex(),
            signature=one.signature.hex(),
            key=one.key_id,
        )


def is_signed(keys: Secrets, org_id: UUID, place: Place, signature: bytes) -> bool:
    """Say whether a known key, the current one or one before it, made a seal."""
    return any(hmac.compare_digest(_signature(key, org_id, place), signature) for key in keys.keys(_PURPOSE))


def _seal(keys: Secrets, row: Row[Any]) -> Seal:
    place = Place(row.number, bytes(row.hash))
    return Seal(row.org_id, place, _signature(keys.key(_PURPOSE), row.org_id, place), keys.key_id)


def _signature(key: bytes, org_id: UUID, place: Place) -> bytes:
    said = canonical({"org_id": str(org_id), "number": place.number, "hash": place.hash.hex()})
    return hmac.digest(key, said, hashlib.sha256)
