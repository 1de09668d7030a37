"""Collision groups of old rows: marked in bounded stretches (contract 001)."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection

from pipeline.runtime import collisions
from pipeline.runtime.collisions import Backfilled

__all__ = ["Backfilled", "backfill"]


def backfill(connection: Connection, org_id: UUID) -> Backfilled:
    """Mark every message of an organization that shares its fingerprint with another one; safe to ask for again."""
    done, after = Backfilled(), b""  # no fingerprint sorts before it
    while True:
        some, last = collisions.backfill_chunk(connection, org_id, after)
        done += some
        if last is None:
            return done
        after = last
