"""What must be single is so by a key of the database, too: a second barrier behind every rule that keeps it so."""

from __future__ import annotations

import pytest
from psycopg.errors import UniqueViolation
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from dlq import letters
from models.enums import BlobKind, Cause
from pipeline.runtime import ledger
from pipeline.runtime.blob_rows import note_blobs
from pipeline.runtime.db import Database
from pipeline.stages import dispatch
from tests import factories
from tests.factories import claimed, emit, mail
from tests.stages.world import World

#: Tables with the key of which no two rows may be alike.
_SINGLE = {
    "jobs": "stage, key",
    "occurrences": "mailbox_id, provider_id",
    "messages": "org_id, fingerprint, signature",
    "ticket_messages": "message_id",
    "blobs": "org_id, kind, sha256",
    "cases": "org_id, asset_id, mode",
    "work_orders": "case_id",
    "dead_letters": "job_id",
    "slots": "schedule, slot_at",
}
#: Everything of a row but the names that each row has for itself.
_COLUMNS = text("""
    SELECT string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position) FROM information_schema.columns
     WHERE table_name = :table AND is_generated = 'NEVER' AND column_name NOT IN ('id', 'number')
""")


def test_no_second_row_of_what_is_single_can_be_written(db: Database):
    _one_of_each(World(db))
    let_in = [f"{table} ({key})" for table, key in _SINGLE.items() if not _refuses_a_twin(db, table)]
    assert let_in == []


def _one_of_each(world: World) -> None:
    world.stitched(mail(message_id="<a@x>"))
    with world.db.begin() as connection:
        note_blobs(connection, BlobKind.RAW, [(world.org_id, b"h" * 32, 1, 1)])
        asset_id = factories.asset(connection, world.org_id)
        case_id = factories.case(connection, world.org_id, asset_id)
    world.run(dispatch.STAGE, case_id)
    world.rows("INSERT INTO slots (schedule, slot_at, outcome, taken_by) VALUES ('a', now(), 'ran', 'me')")
    with world.db.begin() as connection:
        ledger.put(connection, [emit()])
        (job,) = claimed(connection)
        letters.bury(connection, [letters.Death(job, Cause.PERMANENT, ValueError("bad"), by_occurrence=False)])


def _refuses_a_twin(db: Database, table: str) -> bool:
    """Say whether a copy of the table's one row is refused for being the second."""
    columns = factories.value(db, _COLUMNS.text, table=table)
    assert factories.value(db, f"SELECT count(*) FROM {table}") == 1, table
    try:
        factories.rows(db, f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {table}")
    except IntegrityError as error:
        return isinstance(error.orig, UniqueViolation) or pytest.fail(str(error))
    return False
