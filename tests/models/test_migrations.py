"""The schema: what the migrations build is what the tables declare, down and up again, and illegal words stay out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Column, Connection, inspect, text
from sqlalchemy.exc import IntegrityError

from models import schema
from models.base import metadata
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from tests.factories import emit, mailbox, occurrence, organization, rows, ticket, value

_TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"


def test_the_database_is_at_the_newest_migration_without_drift(db: Database):
    with db.begin() as connection:
        assert schema.current(connection) == schema.newest()
        assert schema.newest() is not None
        assert schema.drift(connection) == []


def test_migrating_again_changes_nothing(db: Database):
    with db.begin() as connection:
        schema.migrate(connection)
        assert schema.drift(connection) == []


def test_everything_goes_down_to_nothing_and_up_again(db: Database):
    with db.begin() as connection:
        schema.undo(connection, "base")
        assert connection.execute(text(_TABLES)).scalar_one() == 0
        assert (
            connection.execute(text("SELECT count(*) FROM pg_sequences WHERE schemaname = 'public'")).scalar_one() == 0
        )
        assert schema.current(connection) is None
        schema.migrate(connection)
        assert schema.drift(connection) == []
        assert connection.execute(text(_TABLES)).scalar_one() == len(metadata.tables)


def test_a_migration_that_fails_leaves_the_database_as_it_was(db: Database):
    with pytest.raises(ZeroDivisionError), db.begin() as connection:  # noqa: PT012 - a whole transaction
        schema.undo(connection, "base")
        raise ZeroDivisionError
    with db.begin() as connection:
        assert schema.current(connection) == schema.newest()


def test_many_roles_may_migrate_at_once(db: Database):
    with db.begin() as connection:
        schema.undo(connection, "base")

    def migrate(_: int) -> None:
        with db.begin() as connection:
            schema.migrate(connection)

    # Alembic keeps its context in a module; processes do not share it, so here one role waits while another migrates.
    with db.begin() as connection, ThreadPoolExecutor(1) as pool:
        schema.migrate(connection)
        waiting = pool.submit(migrate, 0)
        assert not waiting.done()
        connection.commit()
        waiting.result()
    with db.begin() as connection:
        assert schema.drift(connection) == []


def declared_words() -> list[tuple[str, Column[object]]]:
    """Return every column that declares the words it may hold, with its table."""
    return [
        (table.name, column)
        for table in metadata.sorted_tables
        for column in table.columns
        if column.info.get("choices")
    ]


def test_every_column_that_declares_its_words_is_held_to_them_by_the_database(db: Database):
    assert len(declared_words()) > 20
    with db.begin() as connection:
        found = {table: _checks(connection, table) for table in metadata.tables}
    missing = [
        f"{table}.{column.name}"
        for table, column in declared_words()
        if f"ck_{table}_{column.name}_legal" not in found[table]
    ]
    assert missing == []


def _checks(connection: Connection, table: str) -> set[str]:
    return {str(one["name"]) for one in inspect(connection).get_check_constraints(table)}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE jobs SET state = 'asleep'",
        "UPDATE jobs SET lane = 'fast'",
        "UPDATE mailboxes SET state = 'broken'",
        "UPDATE mailboxes SET provider = 'carrier pigeon'",
        "UPDATE occurrences SET state = 'lost'",
        "UPDATE tickets SET status = 'hidden'",
        "UPDATE tickets SET priority = 'asap'",
        "UPDATE tickets SET dispatch_state = 'new'",
    ],
)
def test_an_illegal_word_is_refused(db: Database, statement: str):
    _one_of_each(db)
    with pytest.raises(IntegrityError, match="_legal"):
        rows(db, statement)


@pytest.mark.parametrize(
    ("statement", "check"),
    [
        ("UPDATE jobs SET state = 'running'", "lease_when_running"),
        ("UPDATE jobs SET lease_until = now(), worker = 1", "lease_when_running"),
        ("UPDATE occurrences SET state = 'fetched'", "ck_occurrences_raw"),
        ("UPDATE occurrences SET state = 'stitched', raw_sha256 = 'x'", "ck_occurrences_parsed"),
        ("UPDATE mailboxes SET address = 'Upper@acme.example'", "address_lower"),
        ("UPDATE tickets SET status = 'merged', closed_at = now()", "merged_into_when_merged"),
        ("UPDATE tickets SET status = 'closed'", "closed_when_ended"),
        ("UPDATE tickets SET closed_at = now()", "closed_when_ended"),
        ("UPDATE tickets SET status = 'merged', closed_at = now(), merged_into = id", "not_into_itself"),
        ("INSERT INTO organizations (name) VALUES ('')", "name_not_blank"),
        ("INSERT INTO backfills (mailbox_id, state) SELECT id, 'done' FROM mailboxes", "finished_when_done"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused(db: Database, statement: str, check: str):
    _one_of_each(db)
    with pytest.raises(IntegrityError, match=check):
        rows(db, statement)


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("INSERT INTO jobs (stage, key, org_id, lane, trace_id) SELECT stage, key, org_id, lane, 't' FROM jobs",
         "uq_jobs_stage_key"),
        ("UPDATE occurrences SET provider_id = 'the same'", "uq_occurrences_mailbox_id_provider_id"),
        ("INSERT INTO backfills (mailbox_id) SELECT id FROM mailboxes, generate_series(1, 2)", "uq_backfills_running"),
    ],
)  # fmt: skip
def test_what_must_be_one_cannot_be_two(db: Database, statement: str, index: str):
    _one_of_each(db)
    with pytest.raises(IntegrityError, match=index):
        rows(db, statement)


def test_ids_that_the_database_makes_grow_with_time(db: Database):
    with db.begin() as connection:
        made = [organization(connection) for _ in range(20)]
    assert made == sorted(made)
    assert value(db, "SELECT count(*) FROM organizations") == 20


def _one_of_each(db: Database) -> None:
    with db.begin() as connection:
        org_id = organization(connection)
        mailbox_id = mailbox(connection, org_id)
        occurrence(connection, mailbox_id)
        occurrence(connection, mailbox_id)
        ticket(connection, org_id)
        ledger.put(connection, [emit("1")])
