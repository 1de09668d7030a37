"""The database: what passes by itself, one boundary that commits, and rows in by COPY."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from pipeline.runtime.db import Database, copy_rows, is_passing
from pipeline.runtime.errors import UserError
from tests.factories import organization, rows, value


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.DeadlockDetected, True),
        (errors.SerializationFailure, True),
        (errors.LockNotAvailable, True),
        (errors.AdminShutdown, True),
        (errors.CrashShutdown, True),
        (errors.CannotConnectNow, True),
        (errors.TooManyConnections, True),
        (errors.DiskFull, True),
        (errors.ConnectionFailure, True),
        (psycopg.OperationalError, True),
        (psycopg.InterfaceError, True),
        (errors.UniqueViolation, False),
        (errors.CheckViolation, False),
        (errors.QueryCanceled, False),
        (errors.SyntaxError, False),
        (psycopg.DataError, False),
    ],
)
def test_connection_lock_and_space_troubles_pass_and_wrong_statements_do_not(
    error: type[psycopg.Error], *, expected: bool
):
    wrapped = DBAPIError.instance("SELECT 1", {}, error("said"), psycopg.Error)
    assert is_passing(wrapped) is expected
    assert is_passing(error("said")) is expected


def test_a_full_pool_passes_and_other_errors_do_not():
    assert is_passing(PoolTimeout())
    assert not is_passing(ValueError("x"))
    assert not is_passing(TimeoutError())


def test_a_transaction_commits_at_its_end_or_not_at_all(db: Database):
    with db.begin() as connection:
        organization(connection, "kept")
    with pytest.raises(ZeroDivisionError), db.begin() as connection:  # noqa: PT012 - a whole transaction
        organization(connection, "dropped")
        raise ZeroDivisionError
    assert [row.name for row in rows(db, "SELECT name FROM organizations")] == ["kept"]


def test_a_statement_that_takes_too_long_is_cut_and_does_not_pass_by_itself(database_url: str):
    hasty = Database(database_url, "test", statement_timeout=timedelta(milliseconds=20))
    with pytest.raises(OperationalError) as caught, hasty.begin() as connection:
        connection.execute(text("SELECT pg_sleep(5)"))
    hasty.close()
    assert not is_passing(caught.value)


def test_sessions_speak_utc_and_say_who_they_are(db: Database):
    assert value(db, "SHOW timezone") == "UTC"
    assert value(db, "SHOW application_name") == "fieldpost test"


def test_a_url_that_is_none_says_what_is_expected():
    with pytest.raises(UserError, match="postgresql"):
        Database("this is no url", "test")


def test_a_database_that_does_not_answer_says_so():
    away = Database("postgresql://nobody@127.0.0.1:1/none", "test")
    with pytest.raises(UserError, match="does not answer"):
        away.check()
    away.close()


def test_rows_go_in_by_copy_whatever_they_hold(db: Database):
    written = [("tab\tand\nline", "back\\slash"), ("", "null: \\N"), ("ünïcode \N{CAT FACE}", "'quotes\"")]
    with db.begin() as connection:
        connection.execute(text("CREATE TABLE copied (one text, other text)"))
        copy_rows(connection, "copied", ("one", "other"), written)
        copy_rows(connection, "copied", ("one", "other"), [(None, "x")])
        copy_rows(connection, "copied", ("one", "other"), [])
    assert [tuple(row) for row in rows(db, "SELECT * FROM copied")] == [*written, (None, "x")]


def test_rows_copied_in_a_transaction_that_fails_are_not_there(db: Database):
    with pytest.raises(IntegrityError), db.begin() as connection:  # noqa: PT012 - a whole transaction
        copy_rows(connection, "organizations", ("name",), [("one",)])
        organization(connection, "one")
    assert value(db, "SELECT count(*) FROM organizations") == 0


def test_a_backend_that_dies_during_a_copy_passes_and_the_pool_recovers(db: Database):
    def copy_cut_short() -> None:
        with db.begin() as connection:
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            value(db, "SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
            copy_rows(connection, "organizations", ("name",), [("x" * 1_000,)] * 3_000)

    with pytest.raises((DBAPIError, psycopg.Error)) as caught:
        copy_cut_short()
    assert is_passing(caught.value)
    assert value(db, "SELECT 1") == 1
