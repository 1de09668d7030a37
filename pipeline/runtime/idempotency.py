"""What was answered to a request, kept under the key that its caller gave it: sent again, it has the same answer."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

#: How long an answer is kept (reliability, section 5: at least 24 h).
KEPT = timedelta(hours=48)

#: Whoever comes second waits here for the first one's commit or rollback, because the key is unique.
_ENTER = text("""
    INSERT INTO idempotency_keys (org_id, actor_id, method, path, key, body_sha256, expires_at)
    VALUES (:org, :actor, :method, :path, :key, :body, now() + :kept)
    ON CONFLICT (org_id, actor_id, method, path, key) DO UPDATE
       SET body_sha256 = excluded.body_sha256, status = NULL, answer = NULL, created_at = now(),
           expires_at = excluded.expires_at
     WHERE idempotency_keys.expires_at <= now()
    RETURNING true
""")
_STORED = text("""
    SELECT body_sha256, status, answer FROM idempotency_keys
     WHERE org_id = :org AND actor_id = :actor AND method = :method AND path = :path AND key = :key
""")
_KEEP = text("""
    UPDATE idempotency_keys SET status = :status, answer = CAST(:answer AS jsonb)
     WHERE org_id = :org AND actor_id = :actor AND method = :method AND path = :path AND key = :key
""")
_CLEAN = text("""
    DELETE FROM idempotency_keys WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM idempotency_keys WHERE expires_at <= now() ORDER BY expires_at LIMIT :most
        FOR UPDATE SKIP LOCKED))
""")


class OtherBody(Exception):
    """The key was used for another body."""


@dataclass(frozen=True, slots=True)
class Key:
    """A caller's name for a request, bound to who asks, what is done to which path, and the body."""

    org_id: UUID
    actor_id: str
    method: str
    #: The concrete path, ids and all.
    path: str
    key: str
    body_sha256: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """What was answered."""

    status: int
    answer: Mapping[str, Any]


def enter(connection: Connection, key: Key) -> Stored | None:
    """Take the key for this transaction; return what was answered when it was used before.

    A twin under way is waited for: when it commits its answer is returned, when it fails the key is taken.
    Raises `OtherBody`.
    """
    values = _values(key)
    taken = connection.execute(_ENTER, {**values, "body": key.body_sha256, "kept": KEPT}).scalar_one_or_none()
    if taken:
        return None
    row = connection.execute(_STORED, values).one()
    if not hmac.compare_digest(bytes(row.body_sha256), key.body_sha256):
        raise OtherBody
    return Stored(row.status, row.answer)


def keep(connection: Connection, key: Key, stored: Stored) -> None:
    """Keep the answer, in the transaction of its effect."""
    answer = orjson.dumps(dict(stored.answer)).decode()
    connection.execute(_KEEP, {**_values(key), "status": stored.status, "answer": answer})


def clean(connection: Connection, most: int = 10_000) -> int:
    """Forget up to `most` answers whose time is over; return how many."""
    return connection.execute(_CLEAN, {"most": most}).rowcount


def _values(key: Key) -> dict[str, Any]:
    return {
        "org": key.org_id, "actor": key.actor_id, "method": key.method, "path": key.path, "key": key.key,
    }  # fmt: skip
