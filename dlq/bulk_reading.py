"""Bulks for people: how far each has come, and what became of each of its letters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select, text

from dlq import reading
from models.dead_letters import bulk_items
from models.enums import BulkAction, BulkState, ItemState

_BULKS = text("""
    WITH shown AS (
        SELECT * FROM bulks
         WHERE (CAST(:id AS bigint) IS NULL OR id = :id) AND (CAST(:org AS uuid) IS NULL OR org_id = :org)
           AND (CAST(:before AS bigint) IS NULL OR id < :before)
         ORDER BY id DESC LIMIT :limit
    )
    SELECT shown.*, progress.*,
           CAST(extract(epoch FROM now() - shown.created_at) AS float8) AS age
      FROM shown CROSS JOIN LATERAL (
           SELECT count(*) AS kept, count(*) FILTER (WHERE i.state = 'waiting') AS waiting,
                  count(*) FILTER (WHERE i.state = 'released') AS released,
                  count(*) FILTER (WHERE i.state = 'passed') AS passed,
                  count(*) FILTER (WHERE i.state = 'failed') AS failed,
                  count(*) FILTER (WHERE i.state = 'skipped') AS skipped
             FROM bulk_items i WHERE i.bulk_id = shown.id) AS progress
     ORDER BY shown.id DESC
""")


@dataclass(frozen=True, slots=True)
class Bulk:
    """A wish about many letters: the numbers are letters, and add up to `total`; `eta_seconds` is a guess.

    `forgotten` are those that retention took after their time, whatever became of them. None of `eta_seconds` means
    that nothing waits to be let go any more (what was let go takes its own time), or that nothing is known yet.
    `org_id` is None for one that was asked for at the machine itself, about letters of every organization.
    """

    bulk_id: int
    org_id: UUID | None
    action: BulkAction
    state: BulkState
    selection: Mapping[str, Any]
    canaries: int
    per_second: float | None
    total: int
    waiting: int
    released: int
    passed: int
    failed: int
    skipped: int
    forgotten: int
    actor: str
    reason: str
    created_at: datetime
    finished_at: datetime | None
    ended_because: str | None
    eta_seconds: float | None


@dataclass(frozen=True, slots=True)
class Item:
    """One letter of a bulk and what became of it; `again_id` is the letter it became when it died again."""

    place: int
    letter_id: int
    job_id: int
    state: ItemState
    stage: str
    key: str
    mailbox: str | None
    subject: str | None
    note: str | None
    again_id: int | None
    released_at: datetime | None
    ended_at: datetime | None


def bulk(connection: Connection, bulk_id: int, org_id: UUID | None = None) -> Bulk | None:
    """Return a bulk; None when there is none, or when it is not this organization's."""
    found = connection.execute(_BULKS, {"id": bulk_id, "org": org_id, "before": None, "limit": 1}).one_or_none()
    return None if found is None else _bulk(found)


def bulks(
    connection: Connection, *, org_id: UUID | None = None, limit: int = 50, before_id: int | None = None
) -> list[Bulk]:
    """Return up to `limit` bulks, the newest first; of one organization, or all."""
    rows = connection.execute(_BULKS, {"id": None, "org": org_id, "before": before_id, "limit": limit})
    return [_bulk(row) for row in rows]


def items(
    connection: Connection,
    bulk_id: int,
    *,
    state: ItemState | None = None,
    after_place: int | None = None,
    limit: int = 100,
) -> list[Item]:
    """Return up to `limit` letters of a bulk in the order in which they go; `after_place` is the keyset of a page."""
    item = bulk_items.c
    query = select(bulk_items).where(item.bulk_id == bulk_id).order_by(item.place).limit(limit)
    if state is not None:
        query = query.where(item.state == state)
    if after_place is not None:
        query = query.where(item.place > after_place)
    rows = connection.execute(query).all()
    ids = [row.letter_id for row in rows]
    letters = {one.letter_id: one for one in reading.find(connection, limit=len(ids), letter_ids=ids, is_open=None)}
    return [_item(row, letters[row.letter_id]) for row in rows]


def letter_ids(connection: Connection, bulk_id: int, state: ItemState) -> list[int]:
    """Return the letters of a bulk that stand in this state, in the order in which they go."""
    item = bulk_items.c
    query = select(item.letter_id).where(item.bulk_id == bulk_id, item.state == state).order_by(item.place)
    return list(connection.execute(query).scalars())


def _bulk(row: Row[Any]) -> Bulk:
    return Bulk(
        bulk_id=row.id,
        org_id=row.org_id,
        action=BulkAction(row.action),
        state=BulkState(row.state),
        selection=row.selection,
        canaries=row.canaries,
        per_second=row.per_second,
        total=row.total,
        waiting=row.waiting,
        released=row.released,
        passed=row.passed,
        failed=row.failed,
        skipped=row.skipped,
        forgotten=row.total - row.kept,
        actor=row.actor,
        reason=row.reason,
        created_at=row.created_at,
        finished_at=row.finished_at,
        ended_because=row.ended_because,
        eta_seconds=_eta(row),
    )


def _eta(row: Row[Any]) -> float | None:
    """Return what is left by the pace so far; a wished pace bounds it from below."""
    if row.finished_at is not None or not row.waiting:
        return None
    ended = row.passed + row.failed + row.skipped
    left = row.waiting + row.released
    slowest = row.waiting / row.per_second if row.per_second else None
    so_far = left * row.age / ended if ended else None
    known = [guess for guess in (slowest, so_far) if guess is not None]
    return max(known) if known else None


def _item(row: Row[Any], letter: reading.Letter) -> Item:
    return Item(
        place=row.place,
        letter_id=row.letter_id,
        job_id=row.job_id,
        state=ItemState(row.state),
        stage=letter.stage,
        key=letter.key,
        mailbox=letter.mailbox,
        subject=letter.subject,
        note=row.note,
        again_id=row.again_id,
        released_at=row.released_at,
        ended_at=row.ended_at,
    )
