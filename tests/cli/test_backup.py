"""`fieldpost backup` and `fieldpost restore`: what they refuse, and the whole way from one data folder to another."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError

from deploy.local.backup import Origin, newest_copy
from deploy.local.backup_folder import BackupFolder, Manifest
from deploy.local.binaries import find_postgres
from deploy.local.following import Follower
from ops_api.cli import doctor_backups, session
from ops_api.cli.restore import blob_folder
from pipeline.adapters.clock import SystemClock
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError
from pipeline.runtime.settings import Settings
from tests import factories
from tests.cli.conftest import Command
from tests.conftest import memory
from tests.deploy.probes import quick, until

_DAY = datetime(2020, 3, 2, tzinfo=UTC)
_COPY = Manifest("c", "0", None, "18.0", 1, "0/1", "0/2", _DAY, _DAY, None, "file", None, {}, 1)


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


def test_a_blob_folder_that_is_not_there_is_not_taken_for_lost_mail(
    fieldpost: Command, served: Settings, db: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with db.begin() as connection:
        org_id = factories.organization(connection)
        insert = "INSERT INTO blobs (org_id, kind, sha256, size, stored_size) VALUES (:org, 'raw', :hash, 1, 1)"
        connection.execute(text(insert), {"org": org_id, "hash": bytes(32)})
    monkeypatch.setenv("FIELDPOST_BLOB_URL", (tmp_path / "mount").as_uri())
    for words in ([], ["--blobs-are-lost"]):
        missing = fieldpost("restore", "--settle", "--yes", *words)
        assert (missing.code, f"{tmp_path / 'mount'} is not there" in missing.err) == (2, True)
    (tmp_path / "mount").mkdir()
    empty = fieldpost("restore", "--settle", "--yes")
    assert (empty.code, "1 of the 1 blobs" in empty.err) == (2, True)
    sure = fieldpost("restore", "--settle", "--yes", "--blobs-are-lost", "--json")
    assert (sure.code, sure.json["lost_blobs"]) == (0, 1)


@pytest.mark.parametrize(
    ("kept", "url", "found"),
    [("file", None, None), ("file", "file:///srv/blobs", Path("/srv/blobs")), ("s3", "s3://mail/blobs", None)],
)
def test_blobs_are_restored_to_where_the_settings_look_for_them(kept: str, url: str | None, found: Path | None) -> None:
    assert blob_folder(Settings(blob_url=url), replace(_COPY, blobs=kept)) == found


@pytest.mark.parametrize(
    ("kept", "url", "said"),
    [
        ("file", "s3://mail/blobs", "FIELDPOST_BLOB_URL names s3://mail/blobs"),
        ("s3", None, "set FIELDPOST_BLOB_URL to it"),
        ("s3", "file:///srv/blobs", "set FIELDPOST_BLOB_URL to it"),
    ],
)
def test_blobs_that_would_not_be_found_again_are_not_restored(kept: str, url: str | None, said: str) -> None:
    with pytest.raises(UserError, match=said):
        blob_folder(Settings(blob_url=url), replace(_COPY, blobs=kept))


def test_doctor_tells_how_followers_stand_and_how_old_the_newest_copy_is(home: Path) -> None:
    with quick(home / "data") as servers, closing(Database(servers.endpoints.database_url, "test")) as db:
        settings = Settings(database_url=servers.endpoints.database_url)
        runtime = session.Runtime(settings, servers.data, db, None, SystemClock())
        assert list(doctor_backups.backups(runtime)) == []
        origin = Origin(db, servers.endpoints.database_url, find_postgres(), "s3://b", None, newest_copy(servers.data))
        target = BackupFolder.at(home / "backup")
        with closing(Follower(origin, target, servers.data.logs, keep=1)) as follower:
            until(lambda: (follower.step(), [one.grade for one in doctor_backups.backups(runtime)] == ["ok", "ok"])[1])
        until(lambda: [one.grade for one in doctor_backups.backups(runtime)] == ["warn", "ok"])
        noted = json.loads(newest_copy(servers.data).read_text())
        newest_copy(servers.data).write_text(json.dumps(noted | {"at": _DAY.isoformat()}))
        away, old = doctor_backups.backups(runtime)
        assert ("is away" in away.text, old.grade, f"days old, in {target.path}" in old.text) == (True, "warn", True)


def test_a_migration_waits_for_a_database_that_is_away(
    fieldpost: Command, served: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_PAUSE", timedelta(0))
    tries, begin = [], Database.begin

    def late(self: Database) -> AbstractContextManager[Connection]:
        tries.append(self)
        if len(tries) < 4:
            raise OperationalError("", {}, psycopg.OperationalError("the database system is starting up"))
        return begin(self)

    monkeypatch.setattr(Database, "begin", late)
    done = fieldpost("migrate", "--json")
    assert (done.code, len(done.err.splitlines())) == (0, 1), done.err
    assert "waiting up to 300 s for the database (the database system is starting up)" in done.err
    tries.clear()
    assert fieldpost("migrate", "--wait", "0").code == 2


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
