"""Migrations give way to whoever uses a table, and a version works with what a newer one made of the tables."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from models import schema
from ops_api.cli.session import prepare
from pipeline.commands import migrating
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError


def test_a_version_works_with_its_own_tables_and_with_those_of_a_newer_one() -> None:
    found = [schema.is_usable(one) for one in (schema.newest(), "9999", "0001", None)]
    assert found == [True, True, False, False]


def test_a_migration_that_is_held_up_for_long_names_who_holds_it_up(db: Database) -> None:
    with db.begin() as holder:
        holder.execute(text("LOCK TABLE alembic_version"))
        pid = holder.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with pytest.raises(UserError, match=rf"nothing was changed.*\b{pid} \(fieldpost test"):
            migrating.bring_up(db, print, patience=timedelta(0))
    assert migrating.bring_up(db, print) == schema.newest()


def test_tables_of_a_newer_version_are_left_as_they_are(db: Database, capsys: pytest.CaptureFixture[str]) -> None:
    newest = schema.newest()
    with db.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    prepare(db, apply=True)
    with db.begin() as connection:
        assert schema.current(connection) == "9999"
        connection.execute(text("UPDATE alembic_version SET version_num = :newest"), {"newest": newest})
    assert "a newer version of Fieldpost made" in capsys.readouterr().err
