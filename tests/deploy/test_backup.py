"""Backups of running servers, restored: the copy, the log after it, what is refused, and what holds nobody up."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection, text
from structlog.testing import capture_logs

from deploy.local import backup, backup_wal, following
from deploy.local import restore as local_restore
from deploy.local.backup import Origin, take
from deploy.local.backup_folder import BackupFolder
from deploy.local.backup_wal import current_chain, log_from, open_chain, segment_of
from deploy.local.binaries import find_postgres
from deploy.local.blob_copies import BlobCopies, names
from deploy.local.following import Follower
from deploy.local.layout import DataDir
from deploy.local.restore import restore
from deploy.local.supervisor import Supervisor
from models import schema
from pipeline.adapters.local_blobs import LocalBlobs
from pipeline.commands import restoring
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError
from tests.conftest import memory
from tests.deploy.probes import quick, sql, until

_HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
_BYE = "b49f425a7e1f9cff3856329ada223f2f9d368f15a00cf48df16ca95986137fe8"
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

    def follower(self, target: BackupFolder | None = None, **options: Any) -> Follower:
        """Return a follower into the place's folder, or another."""
        return Follower(self.origin, target or self.target, self.servers.data.logs, keep=2, **options)

    def slots(self) -> set[str]:
        """Return the stretches of log that the server keeps."""
        found = sql(self.servers.endpoints, "select slot_name from pg_replication_slots")
        return {row[0].removeprefix("fieldpost_") for row in found}

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
    with closing(place.follower()) as follower:
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
    with closing(place.follower()) as follower:
        follower.step()
        first = place.target.chain()
    drop = "select count(pg_drop_replication_slot(slot_name)) from pg_replication_slots where not active"
    until(lambda: sql(place.servers.endpoints, drop)[0][0] == 1, 60)
    with place.db.begin() as connection:
        assert current_chain(connection, place.target) is None
    with closing(place.follower()) as follower:
        follower.step()
    assert place.target.chain() not in {None, first}
    assert place.target.copies()[-1].chain == place.target.chain()


def test_log_whose_folder_is_gone_leads_to_a_new_copy_and_a_new_stretch_and_leaves_no_slot(place: Place) -> None:
    with closing(place.follower()) as follower:
        follower.step()
    first = place.target.chain()
    assert first is not None
    shutil.rmtree(place.target.wal / first)
    idle = "select not exists (select from pg_replication_slots where active)"
    until(lambda: bool(sql(place.servers.endpoints, idle)[0][0]), 60)
    with closing(place.follower()) as follower:
        follower.step()
        assert place.target.copies()[-1].chain == place.target.chain() != first
        assert (first in place.slots(), place.target.chain() in place.slots()) == (False, True)


def test_a_follower_receives_the_stretch_that_the_folder_names_and_drops_the_other(place: Place) -> None:
    with closing(place.follower()) as follower:
        follower.step()
        first = place.target.chain()
        with place.db.begin() as connection:
            second = open_chain(connection, place.target)
        until(lambda: (follower.step(), first not in place.slots())[1], 60)
        received = "select slot_name from pg_replication_slots where active"
        until(lambda: sql(place.servers.endpoints, received) == [(f"fieldpost_{second}",)], 60)
    assert first != second


def test_slots_that_nobody_uses_are_dropped_and_a_full_disk_leaves_none(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, given_up = BackupFolder.at(tmp_path / "backup"), BackupFolder.at(tmp_path / "left")
    target.create()
    given_up.create()
    with place.db.begin() as connection:
        left = open_chain(connection, given_up)
        target.wal.rmdir()
        target.wal.touch()
        before = place.slots()
        with pytest.raises(UserError, match="cannot be used"):
            open_chain(connection, target)
        assert place.slots() == before >= {left}
        target.wal.unlink()
        other = open_chain(connection, target)
        assert place.slots() >= {left, other}
        at_once = text(backup_wal._DROP_LEFT.text.replace("1 hour", "0 seconds"))
        monkeypatch.setattr(backup_wal, "_DROP_LEFT", at_once)
        newest = open_chain(connection, target)
        assert place.slots() & {left, other, newest} == {newest}


def test_a_mount_point_without_its_disk_is_not_followed_into(place: Place) -> None:
    target = BackupFolder.at(place.folder / "mount" / "backup")
    with capture_logs() as said, closing(place.follower(target)) as follower:
        follower.step()
        chain = target.chain()
        target.path.parent.rename(place.folder / "away")
        target.path.parent.mkdir()
        follower.step()
        assert list(target.path.parent.iterdir()) == []
        assert "is its disk there?" in [one for one in said if one["event"] == "backup.held_up"][-1]["error"]
        target.path.parent.rmdir()
        (place.folder / "away").rename(target.path.parent)
        follower.step()
        assert (target.chain(), len(target.copies())) == (chain, 1)


def test_a_disk_without_room_is_asked_again_after_growing_pauses_and_blobs_are_copied(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    LocalBlobs(place.servers.data.blobs).put("raw", {_HELLO: b"hello"})
    target, now, tries = BackupFolder.at(place.folder / "small"), [0.0], []

    def no_room(path: Path) -> int:
        tries.append(now[0])
        return 1_000_000

    monkeypatch.setattr(backup, "free_bytes", no_room)
    with closing(place.follower(target, seconds=lambda: now[0])) as follower:
        follower.step()
        assert set(names(target.blobs)) == {("raw", _HELLO)}
        for now[0] in [1.0, 29.0, 30.0, 31.0, 89.0, 90.0, *map(float, range(100, 40_000, 100))]:
            follower.step()
    assert tries[:4] == [0.0, 30.0, 90.0, 300.0]
    assert {round(one - before) for before, one in pairwise(tries[-4:])} == {3600}
    assert list(target.base.iterdir()) == []


def test_a_receiver_that_ends_again_and_again_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = SimpleNamespace(restarts=0, check=lambda: None, start=lambda: None, let_go=lambda: None)
    keeper.service = SimpleNamespace(stop=lambda: None)
    monkeypatch.setattr(following, "kept", lambda *_: keeper)
    with capture_logs() as said, closing(place.follower()) as follower:
        for keeper.restarts in (0, 1, 2, 2, 3):
            follower.step()
    assert [one["error"].split(":")[0] for one in said if one["event"] == "backup.held_up"] == [
        "the log's receiver ended 2 times", "the log's receiver ended 3 times"
    ]  # fmt: skip


def test_a_copy_that_fails_leaves_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise UserError("its disk broke")

    monkeypatch.setattr(backup, "verify", broken)
    target = BackupFolder.at(place.folder / "broken")
    with pytest.raises(UserError, match="its disk broke"):
        take(place.origin, target, keep=1)
    assert list(target.base.iterdir()) == []


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


def test_damaged_blobs_are_left_out_of_a_restore_and_the_key_is_there_before_anybody_may_start(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, data = BackupFolder.at(place.folder / "worn"), DataDir.at(place.folder / "mended")
    LocalBlobs(place.servers.data.blobs).put("raw", {_HELLO: b"hello", _BYE: b"bye"})
    take(place.origin, target, keep=1)
    path = target.blobs / "raw" / _BYE[:2] / f"{_BYE}.zst"
    path.write_bytes(bytes(path.stat().st_size))
    elsewhere, kept = place.folder / "elsewhere", []
    unlink = Path.unlink

    def watched(path: Path, missing_ok: bool = False) -> None:
        if path == data.restoring_file:
            kept.append((data.path / "secret.key").read_text())
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    done = restore(target, data, find_postgres(), blobs=elsewhere, key="a kept key", durable=False)
    assert (kept, done.blobs) == (["a kept key\n"], 1)
    assert set(names(elsewhere)) == {("raw", _HELLO)}
    with pytest.raises(UserError, match="holds blobs already"):
        restore(target, DataDir.at(place.folder / "second"), find_postgres(), blobs=elsewhere)


def test_a_database_that_cannot_be_settled_is_told_in_words_and_may_take_its_time(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = []

    def broken(connection: Connection, *_: object, **__: object) -> None:
        names = ("statement_timeout", "idle_in_transaction_session_timeout")
        limits.extend(connection.execute(text(f"SELECT current_setting('{name}')")).scalar_one() for name in names)
        connection.execute(text("SELECT 1 / 0"))

    monkeypatch.setattr(restoring, "settle", broken)
    target, data = BackupFolder.at(place.folder / "odd"), DataDir.at(place.folder / "unsettled")
    take(place.origin, target, keep=1)
    with pytest.raises(UserError, match=r"could not be settled \(division by zero"):
        restore(target, data, find_postgres(), durable=False)
    assert (limits, data.restoring_file.exists()) == (["0", "0"], True)


def test_only_log_of_after_the_copy_is_taken_and_its_room_is_counted(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segments = [f"0000000100000000000000{number:02X}" for number in range(2, 6)]
    for name in [*segments, "00000002.history"]:
        (tmp_path / name).write_bytes(b"log")
    (tmp_path / segments[-1]).rename(tmp_path / f"{segments[-1]}.partial")
    found = [path.name for path in log_from(tmp_path, segments[2])]
    assert found == [segments[2], f"{segments[3]}.partial", "00000002.history"]
    with pytest.raises(UserError, match="make it, empty"):
        log_from(tmp_path / "gone", segments[0])
    target = BackupFolder.at(place.folder / "long")
    with closing(place.follower(target)) as follower:
        follower.step()
    (copy,) = target.copies()
    enough_without_log = copy.size + local_restore._bytes(target.blobs) + local_restore._MARGIN
    monkeypatch.setattr(local_restore, "free_bytes", lambda _: enough_without_log)
    with pytest.raises(UserError, match="name another --data"):
        restore(target, DataDir.at(tmp_path / "new"), find_postgres())


def test_log_that_a_follower_begins_while_old_log_is_removed_stays(tmp_path: Path) -> None:
    class Raced(BackupFolder):
        """A follower begins another stretch of log just after the present one was asked for."""

        def chain(self) -> str | None:
            found = super().chain()
            if found == "old":
                self.begin_chain("fresh")
            return found

    folder = Raced.at(tmp_path / "backup")
    folder.create()
    folder.begin_chain("old")
    folder.keep_newest(1)
    assert "fresh" in {path.name for path in folder.wal.iterdir()}


def test_a_folder_that_a_restore_left_half_made_is_not_started(folder: Path) -> None:
    DataDir.at(folder).restoring_file.touch()
    with pytest.raises(UserError, match="cut short"):
        quick(folder).start()


def test_what_is_no_blob_is_not_copied_and_a_store_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    LocalBlobs(source).put("raw", {_HELLO: b"hello"})
    (source / "raw" / _HELLO[:2] / "foo.zst").write_bytes(b"stray")
    assert set(names(source)) == {("raw", _HELLO)}
    assert BlobCopies(source, target).bring_up() == 1
    (source / "raw" / _BYE[:2] / f"{_BYE}.zst").mkdir(parents=True)
    with pytest.raises(UserError, match=f"the blobs in {source} cannot be read"):
        BlobCopies(source, target).bring_up()


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


def test_a_backup_folder_that_is_missing_does_not_keep_its_units_from_saying_so() -> None:
    units = Path(local_restore.__file__).parents[1] / "systemd"
    said = [(units / f"fieldpost-{name}.service").read_text() for name in ("backup", "follow")]
    assert all("ReadWritePaths=-/var/backups/fieldpost\n" in one for one in said)


@pytest.mark.parametrize(
    ("lsn", "timeline", "name"),
    [("0/2000028", 1, "000000010000000000000002"), ("1A/FF000000", 2, "000000020000001A000000FF")],
)
def test_the_file_of_a_place_in_the_log_is_known_by_its_name(lsn: str, timeline: int, name: str) -> None:
    assert segment_of(lsn, timeline) == name


def test_a_folder_that_holds_something_else_is_no_place_for_a_backup(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match="is no backup folder and is not empty"):
        BackupFolder.at(tmp_path).create()
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
