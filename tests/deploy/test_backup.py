"""Backups of running servers, restored: the copy, the log after it, what is refused, and what holds nobody up."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from deploy.local.backup import Origin, take
from deploy.local.backup_folder import BackupFolder
from deploy.local.backup_wal import current_chain, segment_of
from deploy.local.binaries import find_postgres
from deploy.local.blob_copies import BlobCopies, names
from deploy.local.following import Follower
from deploy.local.layout import DataDir
from deploy.local.restore import restore
from deploy.local.supervisor import Supervisor
from models import schema
from pipeline.adapters.local_blobs import LocalBlobs
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError
from tests.conftest import memory
from tests.deploy.probes import quick, sql, until

_HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
_ORG = "insert into organizations (name) values (%s)"


class Place:
    """Running servers with the tables, and where backups of them go."""

    def __init__(self, folder: Path, servers: Supervisor) -> None:
        self.folder, self.servers = folder, servers
        self.url = servers.endpoints.database_url
        self.db = Database(self.url, "test")
        with self.db.begin() as connection:
            schema.migrate(connection)
        self.target = BackupFolder.at(folder / "backup")
        self.origin = Origin(self.db, self.url, find_postgres(), servers.data.blobs.as_uri(), None)

    def add(self, name: str) -> datetime:
        """Commit a change; return a moment after it."""
        sql(self.servers.endpoints, _ORG, name)
        moment: datetime = sql(self.servers.endpoints, "select clock_timestamp()")[0][0]
        return moment

    def restored(self, name: str, until: datetime | None = None) -> set[str]:
        """Restore into a new folder and return the organizations there."""
        data = DataDir.at(self.folder / name)
        restore(self.target, data, find_postgres(), until=until, durable=False)
        with quick(data.path) as servers:
            found = sql(servers.endpoints, "select name from organizations")
        return {row[0] for row in found}


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """Servers for all tests of this module; each adds organizations of its own."""
    folder = Path(tempfile.mkdtemp(prefix="fpb-", dir=memory()))
    folder.chmod(0o711)
    with quick(folder / "data") as servers, closing((found := Place(folder, servers)).db):
        yield found
    shutil.rmtree(folder)


def test_what_was_committed_after_the_copy_comes_back_from_the_log_up_to_any_moment(place: Place) -> None:
    LocalBlobs(place.servers.data.blobs).put("raw", {_HELLO: b"hello"})
    place.add("before")
    with closing(Follower(place.origin, place.target, place.servers.data.logs, keep=2)) as follower:
        until(lambda: (follower.step(), bool(place.target.copies()))[1])
        between = place.add("between")
        place.add("after")
        (copy,) = place.target.copies()
        (end,) = sql(place.servers.endpoints, "select pg_current_wal_flush_lsn()::text")[0]
        flushed = (
            "select exists (select from pg_stat_replication where flush_lsn >= %s::pg_lsn and state = 'streaming')"
        )
        until(lambda: (follower.step(), sql(place.servers.endpoints, flushed, end)[0][0])[1], 60)
    assert copy.chain is not None
    assert copy.blobs == "file"
    assert set(names(place.target.blobs)) == {("raw", _HELLO)}
    assert place.restored("latest") >= {"before", "between", "after"}
    earlier = place.restored("earlier", between)
    assert (earlier >= {"before", "between"}, "after" in earlier) == (True, False)
    assert set(names(place.folder / "latest" / "blobs")) == {("raw", _HELLO)}


def test_log_that_the_server_let_go_of_leads_to_a_new_copy_and_a_new_stretch(place: Place) -> None:
    with closing(Follower(place.origin, place.target, place.servers.data.logs, keep=2)) as follower:
        follower.step()
        first = place.target.chain()
    drop = "select count(pg_drop_replication_slot(slot_name)) from pg_replication_slots where not active"
    until(lambda: sql(place.servers.endpoints, drop)[0][0] == 1, 60)
    with place.db.begin() as connection:
        assert current_chain(connection, place.target) is None
    with closing(Follower(place.origin, place.target, place.servers.data.logs, keep=2)) as follower:
        follower.step()
    assert place.target.chain() not in {None, first}
    assert place.target.copies()[-1].chain == place.target.chain()


def test_a_copy_that_was_damaged_on_its_disk_is_refused(place: Place) -> None:
    target = BackupFolder.at(place.folder / "damaged")
    copy = take(place.origin, target, keep=1)
    path = target.pgdata_of(copy.name) / "global" / "pg_filenode.map"
    path.write_bytes(path.read_bytes()[::-1])
    data = DataDir.at(place.folder / "never")
    with pytest.raises(UserError, match="is damaged"):
        restore(target, data, find_postgres(), durable=False)
    assert not data.path.exists()


def test_only_the_newest_copies_are_kept_and_what_was_cut_short_goes(place: Place) -> None:
    target = BackupFolder.at(place.folder / "kept")
    taken = [take(place.origin, target, keep=2).name]
    (target.base / "19990101T000000Z.part" / "pgdata").mkdir(parents=True)
    taken += [take(place.origin, target, keep=2).name for _ in range(2)]
    assert [one.name for one in target.copies()] == taken[1:]
    assert sorted(path.name for path in target.base.iterdir()) == taken[1:]


def test_a_disk_that_is_away_is_told_and_the_servers_work_on(place: Place, tmp_path: Path) -> None:
    (tmp_path / "disk").write_text("no folder")
    with pytest.raises(UserError, match="Fieldpost itself goes on without it"):
        take(place.origin, BackupFolder.at(tmp_path / "disk" / "backup"), keep=1)
    assert place.add("while the disk is away")


def test_a_restore_needs_a_folder_of_its_own_and_a_copy(place: Place, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no whole copy"):
        restore(BackupFolder.at(tmp_path), DataDir.at(tmp_path / "new"), find_postgres())
    target = BackupFolder.at(place.folder / "alone")
    copy = take(place.origin, target, keep=1)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="not empty"):
        restore(target, DataDir.at(tmp_path), find_postgres())
    with pytest.raises(UserError, match="nothing earlier"):
        restore(target, DataDir.at(tmp_path / "new"), find_postgres(), until=copy.started_at)
    with pytest.raises(UserError, match="no log after it"):
        restore(target, DataDir.at(tmp_path / "new"), find_postgres(), until=copy.finished_at)


def test_a_folder_that_a_restore_left_half_made_is_not_started(folder: Path) -> None:
    DataDir.at(folder).restoring_file.touch()
    with pytest.raises(UserError, match="cut short"):
        quick(folder).start()


def test_a_pass_over_blobs_copies_what_is_missing_and_mends_what_was_cut_short(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    assert BlobCopies(source, target).bring_up() == 0
    store = LocalBlobs(source)
    store.put("raw", {_HELLO: b"hello"})
    copies = BlobCopies(source, target)
    assert [copies.bring_up() for _ in range(3)] == [1, 0, 0]
    (path,) = target.rglob("*.zst")
    path.write_bytes(b"")
    assert copies.bring_up() == 0
    assert BlobCopies(source, target).bring_up() == 1
    assert LocalBlobs(target).get("raw", [_HELLO]) == {_HELLO: b"hello"}


@pytest.mark.parametrize(
    ("lsn", "timeline", "name"),
    [("0/2000028", 1, "000000010000000000000002"), ("1A/FF000000", 2, "000000020000001A000000FF")],
)
def test_the_file_of_a_place_in_the_log_is_known_by_its_name(lsn: str, timeline: int, name: str) -> None:
    assert segment_of(lsn, timeline) == name
