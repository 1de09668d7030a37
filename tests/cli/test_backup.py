"""`fieldpost backup` and `fieldpost restore`: what they refuse, and the whole way from one data folder to another."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from pipeline.runtime.settings import Settings
from tests.cli.conftest import Command
from tests.conftest import memory
from tests.deploy.probes import quick


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder for data folders: short, and passable for the database's account."""
    folder = Path(tempfile.mkdtemp(prefix="fpc-", dir=memory()))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def test_a_backup_is_taken_while_all_runs_and_restored_with_the_kept_key(fieldpost: Command, home: Path) -> None:
    with quick(home / "data") as servers:
        assert fieldpost("migrate", "--data", home / "data").code == 0
        taken = fieldpost("backup", home / "backup", "--data", home / "data", "--json")
        assert taken.code == 0, taken.err
        assert servers.pids()
    key = home / "data" / "secret.key"
    assert taken.json["key_id"] is not None
    assert key.read_text().strip() not in (home / "backup" / "base" / taken.json["name"] / "manifest.json").read_text()
    (listed,) = fieldpost("backup", home / "backup", "--list", "--json").json
    assert listed["name"] == taken.json["name"]

    refused = fieldpost("restore", home / "backup", "--data", home / "new")
    assert (refused.code, taken.json["key_id"] in refused.err) == (2, True)
    (home / "wrong.key").write_text("another key that is long enough")
    wrong = fieldpost("restore", home / "backup", "--data", home / "new", "--secret-key", home / "wrong.key")
    assert (wrong.code, "that is the secret key" in wrong.err) == (2, True)
    assert not (home / "new").exists()

    done = fieldpost("restore", home / "backup", "--data", home / "new", "--secret-key", key, "--json")
    assert done.code == 0, done.err
    assert (done.json["revision"], done.json["migrated_from"]) == (taken.json["revision"], None)
    assert f"fieldpost up --data {home / 'new'}" in done.err
    assert (home / "new" / "secret.key").read_text() == key.read_text()
    again = fieldpost("restore", home / "backup", "--data", home / "new", "--secret-key", key)
    assert (again.code, "not empty" in again.err) == (2, True)


def test_a_database_that_other_tools_restored_is_settled_only_when_nobody_works_on_it(
    fieldpost: Command, served: Settings
) -> None:
    done = fieldpost("restore", "--settle", "--yes", "--json")
    assert done.code == 0, done.err
    assert done.json["sequences"] > 5
    assert served.database_url is not None
    engine = create_engine(served.database_url)
    with engine.connect() as connection:
        connection.execute(text("INSERT INTO workers (number, host, pid, version) VALUES (5, 'h', 1, '0')"))
        connection.execute(text("SELECT pg_advisory_lock(77, 5)"))
        connection.commit()
        refused = fieldpost("restore", "--settle", "--yes")
    engine.dispose()
    assert (refused.code, "workers are alive" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("backup {home}/b --data {home}/none", "nothing runs in"),
        ("backup {home}/b --follow --data {home}/none", "nothing runs in"),
        ("restore", "name the backup folder"),
        ("restore {home}/b --data {home}/n", "no whole copy"),
        ("restore {home}/b --until yesterday", "is no time"),
        ("restore --settle --yes", "FIELDPOST_DATABASE_URL"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(fieldpost: Command, home: Path, line: str, said: str) -> None:
    done = fieldpost(*line.format(home=home).split())
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert said in done.err


def test_a_database_of_ones_own_is_not_copied_by_us(fieldpost: Command, served: Settings, home: Path) -> None:
    done = fieldpost("backup", home / "b")
    assert (done.code, "its own tools" in done.err) == (2, True)
