"""Evidence of erased tickets: its files go when nothing else needs them, and what is needed stays."""

from __future__ import annotations

from uuid import UUID

import pytest

from models.queries import evidence as queries
from pipeline.commands import evidence
from pipeline.runtime import blob_rows, erasing
from pipeline.runtime.db import Database
from tests.commands.field_desk import FieldDesk
from tests.commands.test_evidence import KEY, upload


@pytest.fixture
def desk(db: Database) -> FieldDesk:
    return FieldDesk.of(db)


def erase(desk: FieldDesk, ticket_id: UUID) -> dict[str, int]:
    with desk.db.begin() as connection:
        return dict(erasing.erase_tickets(connection, [ticket_id]))


def kept(desk: FieldDesk) -> int:
    return int(desk.one("SELECT count(*) AS n FROM blobs WHERE kind = 'evidence' AND erased_at IS NULL").n)


def test_files_go_with_the_last_ticket_that_shows_them(desk: FieldDesk) -> None:
    first, second = desk.make(), desk.make()
    piece = desk.run(evidence.UPLOAD, upload(evidence_key=KEY, label="hall.jpg"), first).body
    desk.run(evidence.UPLOAD, upload(), second)
    assert erase(desk, first)["evidence_files"] == 0
    assert kept(desk) == 2
    row = desk.one("SELECT metadata, size FROM evidence_items WHERE id = :id", id=piece["id"])
    assert ("label" in row.metadata, row.size) == (False, 9)
    counts = erase(desk, second)
    assert (counts["evidence_files"], kept(desk)) == (2, 0)
    with desk.db.begin() as connection:
        assert queries.file_of(connection, desk.org_id, first, UUID(piece["id"])) is None
    assert erase(desk, second)["evidence_facts"] == 0


def test_what_came_again_before_it_was_taken_away_stays(desk: FieldDesk) -> None:
    """Somebody added the same bytes while they were marked: the store keeps them."""
    ticket_id = desk.make()
    desk.run(evidence.UPLOAD, upload(), ticket_id)
    desk.change("UPDATE blobs SET erased_at = now() - interval '1 hour' WHERE kind = 'evidence'")
    with desk.db.begin() as connection:
        assert blob_rows.ripe(connection, 10) == []
    assert kept(desk) == 2
    erase(desk, ticket_id)
    desk.change("UPDATE blobs SET erased_at = now() - interval '1 hour' WHERE kind = 'evidence'")
    with desk.db.begin() as connection:
        assert {kind for _, kind, _ in blob_rows.ripe(connection, 10)} == {"evidence"}
