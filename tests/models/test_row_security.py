"""The barrier itself: what a query sees and changes that forgot its organization, for every table that has one."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from models import row_security, schema
from models.base import metadata
from pipeline.runtime.db import Database, copy_rows, is_passing
from tests import factories

#: So that one row of each organization fits into any table, whatever else it demands. The database is this test's own.
_UNTIE = """
    DO $$ DECLARE the record; BEGIN
        SET LOCAL session_replication_role = replica;
        FOR the IN SELECT conrelid::regclass AS place, conname AS name FROM pg_constraint
                    WHERE contype IN ('c', 'f', 'u', 'p') AND connamespace = current_schema()::regnamespace
                    ORDER BY contype = 'f' DESC LOOP
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I CASCADE', the.place, the.name);
        END LOOP;
        FOR the IN SELECT c.table_name AS place, c.column_name AS name FROM information_schema.columns c
                    JOIN information_schema.tables t USING (table_schema, table_name)
                    WHERE table_schema = current_schema() AND t.table_type = 'BASE TABLE' AND c.is_nullable = 'NO'
                      AND c.is_identity = 'NO' LOOP
            EXECUTE format('ALTER TABLE %I ALTER COLUMN %I DROP NOT NULL', the.place, the.name);
        END LOOP;
    END $$
"""
_SECURED = row_security.secured(metadata)


@pytest.fixture
def two(db: Database) -> Iterator[tuple[Connection, UUID, UUID]]:
    """Return a transaction with a row of two organizations in every table that has organizations."""
    with db.engine.connect() as connection, connection.begin() as transaction:
        ours, theirs = factories.organization(connection, "ours"), factories.organization(connection, "theirs")
        connection.execute(text(_UNTIE))
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for table in _SECURED:
            connection.execute(text(f"INSERT INTO {table} (org_id) VALUES (:ours), (:theirs)"), _ids(ours, theirs))
        yield connection, ours, theirs
        transaction.rollback()


def _ids(ours: UUID, theirs: UUID) -> dict[str, UUID]:
    return {"ours": ours, "theirs": theirs}


def test_a_query_without_a_condition_sees_and_changes_its_own_organization_alone(
    two: tuple[Connection, UUID, UUID],
) -> None:
    connection, ours, theirs = two
    row_security.bind(connection, ours)
    for table in _SECURED:
        seen = set(connection.execute(text(f"SELECT org_id FROM {table}")).scalars()) - {None}
        assert seen == {ours}, table
        with pytest.raises(ProgrammingError, match="row-level security"), connection.begin_nested():
            connection.execute(text(f"INSERT INTO {table} (org_id) VALUES (:theirs)"), {"theirs": theirs})
        if table in row_security.APPEND_ONLY:
            continue
        with pytest.raises(ProgrammingError, match="row-level security"), connection.begin_nested():
            connection.execute(text(f"UPDATE {table} SET org_id = :theirs"), {"theirs": theirs})
        assert connection.execute(text(f"DELETE FROM {table}")).rowcount == 1, table
    changed = [table for table in _SECURED if table not in row_security.APPEND_ONLY]
    with row_security.unbarred(connection):
        left = [connection.execute(text(f"SELECT org_id FROM {table}")).scalars().all() for table in changed]
    assert all(theirs in rows and ours not in rows for rows in left)


def test_whatever_a_query_outside_raises_the_barrier_stands_again(db: Database) -> None:
    with db.begin() as connection:
        ours = factories.organization(connection, "ours")
        row_security.bind(connection, ours)
        role = text("SELECT current_user, current_setting('app.org_id')")
        for statement in ("SELECT 1", "SELECT 1/0"):
            with pytest.raises((ValueError, DBAPIError)), row_security.unbarred(connection):  # noqa: PT012
                with connection.begin_nested():
                    connection.execute(text(statement))
                raise ValueError
            assert row_security.is_bound(connection)
            assert tuple(connection.execute(role).one()) == (row_security.ROLE, str(ours))
        with pytest.raises(DBAPIError), connection.begin_nested(), row_security.unbarred(connection):
            connection.execute(text("SELECT 1/0"))
        assert row_security.is_bound(connection)
        assert tuple(connection.execute(role).one()) == (row_security.ROLE, str(ours))


def test_a_connection_that_is_cut_outside_the_barrier_is_told_as_cut(db: Database) -> None:
    cut = text("SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(DBAPIError) as told, db.begin() as connection:  # noqa: PT012
        row_security.bind(connection, factories.organization(connection, "ours"))
        with row_security.unbarred(connection):
            connection.execute(cut)
    assert is_passing(told.value)


@pytest.mark.parametrize("table", row_security.APPEND_ONLY)
@pytest.mark.parametrize("change", ["UPDATE {} SET org_id = org_id", "DELETE FROM {}"])
def test_a_request_takes_nothing_from_the_audit_trail(
    two: tuple[Connection, UUID, UUID], table: str, change: str
) -> None:
    connection, ours, _ = two
    row_security.bind(connection, ours)
    with pytest.raises(ProgrammingError, match="permission denied"), connection.begin_nested():
        connection.execute(text(change.format(table)))


def test_without_an_organization_the_barrier_shows_nothing(two: tuple[Connection, UUID, UUID]) -> None:
    connection, ours, _ = two
    row_security.bind(connection, ours)
    connection.execute(text("SELECT set_config('app.org_id', '', true)"))
    for table in _SECURED:
        assert set(connection.execute(text(f"SELECT org_id FROM {table}")).scalars()) <= {None}, table


def test_what_all_organizations_share_can_be_read_and_not_changed(db: Database) -> None:
    with db.begin() as connection:
        ours = factories.organization(connection)
        row_security.bind(connection, ours)
        assert connection.execute(text("SELECT count(*) FROM roles")).scalar_one() > 10
        assert connection.execute(text("UPDATE roles SET org_id = :ours"), {"ours": ours}).rowcount == 0
        assert connection.execute(text("DELETE FROM roles")).rowcount == 0


def test_every_table_with_an_organization_is_barred_or_named_as_open() -> None:
    with_organization = {name for name, table in metadata.tables.items() if "org_id" in table.columns}
    assert with_organization == set(_SECURED) | row_security.OPEN
    assert len(_SECURED) > 40
    assert schema.TABLES


def test_a_bound_transaction_leaves_nothing_to_the_next_one_of_its_connection(db: Database) -> None:
    with db.begin() as connection:
        ours = factories.organization(connection)
        factories.mailbox(connection, ours)
    for _ in range(3):
        with db.begin() as connection:
            row_security.bind(connection, factories.organization(connection))
            assert row_security.is_bound(connection)
            assert connection.execute(text("SELECT count(*) FROM mailboxes")).scalar_one() == 0
        with db.begin() as connection:
            assert not row_security.is_bound(connection)
            assert connection.execute(text("SELECT count(*) FROM mailboxes")).scalar_one() == 1


def test_rows_in_bulk_pass_the_barrier_into_their_own_organization_only(db: Database) -> None:
    with db.begin() as connection:
        ours, theirs = factories.organization(connection), factories.organization(connection)
        ticket_id = factories.ticket(connection, ours)
    columns = ("org_id", "ticket_id", "kind", "data")
    with db.begin() as connection:
        row_security.bind(connection, ours)
        copy_rows(connection, "events", columns, [(ours, ticket_id, "one", '{"a": 1}'), (ours, ticket_id, "two", "{}")])
        with pytest.raises(InsufficientPrivilege), connection.begin_nested():
            copy_rows(connection, "events", columns, [(theirs, ticket_id, "three", "{}")])
    with db.begin() as connection:
        found = connection.execute(text("SELECT kind, data FROM events ORDER BY id")).all()
    assert [tuple(row) for row in found] == [("one", {"a": 1}), ("two", {})]


def test_a_request_changes_the_permissions_of_its_own_roles_alone(db: Database) -> None:
    with db.begin() as connection:
        ours = factories.organization(connection)
        role = text("INSERT INTO roles (org_id, code, name) VALUES (:org, 'own', 'Own') RETURNING id")
        own = connection.execute(role, {"org": ours}).scalar_one()
        built_in = connection.execute(text("SELECT id FROM roles WHERE code = 'viewer'")).scalar_one()
        row_security.bind(connection, ours)
        grant = text("INSERT INTO role_permissions (role_id, permission) VALUES (:role, 'audit.read')")
        connection.execute(grant, {"role": own})
        with pytest.raises(ProgrammingError, match="row-level security"), connection.begin_nested():
            connection.execute(grant, {"role": built_in})
        take = text("DELETE FROM role_permissions WHERE role_id = :role")
        assert connection.execute(take, {"role": built_in}).rowcount == 0
        assert connection.execute(take, {"role": own}).rowcount == 1
        assert connection.execute(text("SELECT count(*) FROM role_permissions")).scalar_one() > 100


def test_a_request_reads_the_templates_that_all_have_and_changes_its_own_alone(db: Database) -> None:
    with db.begin() as connection:
        ours = factories.organization(connection)
        row_security.bind(connection, ours)
        built_in = connection.execute(text("SELECT count(*) FROM incident_templates")).scalar_one()
        assert built_in > 0
        change = text("UPDATE incident_templates SET evidence_keys = '{nothing}'")
        assert connection.execute(change).rowcount == 0
        assert connection.execute(text("DELETE FROM incident_templates")).rowcount == 0
        add = text("""
            INSERT INTO incident_templates (org_id, incident_type, name, evidence_keys, checklist_keys)
            VALUES (:org, 'OF_ALL', 'Of all', '{a}', '{b}')
        """)
        with pytest.raises(ProgrammingError, match="row-level security"), connection.begin_nested():
            connection.execute(add, {"org": None})
        connection.execute(add, {"org": ours})
        assert connection.execute(change).rowcount == 1
