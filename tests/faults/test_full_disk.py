"""A blob store without room: mail waits, and comes through when there is room again."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from deploy.local.supervisor import Supervisor
from models import schema
from pipeline.runtime.db import Database, is_passing
from pipeline.runtime.settings import Settings
from tests.flow.imports import Import
from tests.ops_api.serving import house, serving, settings_for
from tests.worker_process import WorkerProcesses, until

pytestmark = pytest.mark.faults

_FEW = 60
_DISK = "64m"
_REFUSED = text("SELECT count(*) FROM jobs WHERE state = 'waiting' AND failures > 0")
_SAID = text("SELECT DISTINCT last_error ->> 'class' FROM jobs WHERE last_error IS NOT NULL AND state <> 'dead'")
_EXHAUSTED = text("SELECT count(*) FROM dead_letters WHERE cause = 'exhausted'")


class RawStore:
    """The folder of raw mail, and what may happen to it; each is over at the end of its block.

    Where this account may not mount a disk, the folder of raw mail is a file instead: nothing can be stored either.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder, self.is_mounted = folder, _mounted(folder, _DISK)

    @contextmanager
    def full(self) -> Iterator[None]:
        filler = self._folder / ("filler" if self.is_mounted else "raw")
        _fill(filler) if self.is_mounted else filler.touch()
        yield
        filler.unlink()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        self._remount("ro")
        yield
        self._remount("rw")

    def close(self) -> None:
        if self.is_mounted:
            subprocess.run(["umount", "-l", str(self._folder)], check=True)

    def _remount(self, mode: str) -> None:
        if self.is_mounted:
            subprocess.run(["mount", "-o", f"remount,{mode}", str(self._folder)], check=True)
        elif mode == "ro":
            (self._folder / "raw").rename(self._folder / "raw.away")
            (self._folder / "raw").touch()
        else:
            (self._folder / "raw").unlink()
            (self._folder / "raw.away").rename(self._folder / "raw")


@contextmanager
def _no_file_descriptors(workers: WorkerProcesses) -> Iterator[None]:
    """Leave the workers no descriptor but those that they have open."""
    processes = [psutil.Process(child.pid) for child in workers.running()]
    before = [process.rlimit(psutil.RLIMIT_NOFILE) for process in processes]
    for process, (_, hard) in zip(processes, before, strict=True):
        process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds(), hard))
    yield
    for process, limits in zip(processes, before, strict=True):
        process.rlimit(psutil.RLIMIT_NOFILE, limits)


@pytest.mark.fault("F-30", "F-61")
def test_without_room_or_descriptors_mail_waits_and_none_is_lost(
    db: Database, settings: Settings, tmp_path: Path, workers: WorkerProcesses
) -> None:
    mail = Import(db, settings, tmp_path, _FEW)
    store = RawStore(Path(str(settings.blob_url).removeprefix("file://")))
    workers.keep(2)

    def count(query: object) -> int:
        with db.begin() as connection:
            return int(connection.execute(query).scalar_one())  # type: ignore[call-overload]

    faults = (store.full, store.read_only, lambda: _no_file_descriptors(workers))
    for fault, mails in zip(faults, mail.portions(len(faults)), strict=True):
        routed = mail.routed()
        with fault():
            mail.deliver(mails)
            until(lambda: count(_REFUSED), "mail that had to be refused")
            assert mail.routed() == routed
            assert count(_EXHAUSTED) == 0
        with db.begin() as connection:
            print("what the jobs say:", connection.execute(_SAID).scalars().all())
            connection.execute(text("UPDATE jobs SET run_at = now() WHERE state = 'waiting'"))
        mail.finish()
    assert len(workers.running()) == 2
    mail.verify(workers)
    store.close()


@pytest.mark.soak
@pytest.mark.fault("F-30")
def test_a_full_disk_makes_mail_wait_and_what_waits_goes_on_by_itself(
    mail: Import, workers: WorkerProcesses, settings: Settings
) -> None:
    store = RawStore(Path(str(settings.blob_url).removeprefix("file://")))
    workers.keep(2)

    def count(query: object) -> int:
        with mail.db.begin() as connection:
            return int(connection.execute(query).scalar_one())  # type: ignore[call-overload]

    with store.full():
        mail.deliver(mail.mails)
        until(lambda: count(_REFUSED) == len(mail.mails), "every mail to be refused once")
        with mail.db.begin() as connection:
            assert connection.execute(_SAID).scalars().all() == ["Transient"]
        assert mail.states() == {"seen": len(mail.mails)}
        assert count(text("SELECT count(*) FROM dead_letters")) == 0
    mail.finish()
    mail.verify(workers)
    store.close()


@pytest.mark.soak
@pytest.mark.fault("F-30")
def test_a_database_without_room_refuses_and_goes_on_by_itself_when_there_is_room(tmp_path: Path) -> None:
    disk = Path(tempfile.mkdtemp(prefix="fpd-"))
    if not _mounted(disk, "256m"):
        pytest.skip("this account may not mount a disk")
    small = {"max_wal_size": "64MB", "min_wal_size": "32MB", "shared_buffers": "16MB", "wal_keep_size": "1GB"}
    try:
        with Supervisor(disk / "data", durable=False, postgres_settings=small) as supervisor:
            _fill_the_database(supervisor, disk)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
        disk.rmdir()


def _fill_the_database(supervisor: Supervisor, disk: Path) -> None:
    url = supervisor.endpoints.database_url
    db = Database(url, "test")
    with db.begin() as connection:
        schema.migrate(connection)
    with serving(settings_for(url)) as api:
        company = house(db, "acme")
        person, mailbox_id = api.person(company.org_id), company.mailbox_id
        written = 0

        def write() -> None:
            with db.begin() as connection:
                connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS weight (text text)")
                connection.exec_driver_sql(
                    "INSERT INTO weight SELECT repeat(md5(random()::text), 250) FROM generate_series(1, 100)"
                )

        def is_refused() -> bool:
            nonlocal written
            try:
                write()
            except (DBAPIError, PoolTimeout) as error:
                return _passes(error)
            written += 100
            return False

        until(lambda: written > 200 or is_refused(), "something to be written")
        _fill(disk / "filler")
        until(is_refused, "the database to be full")
        seen: list[int] = []

        def is_said() -> bool:
            """Write into the log until it is full, too; the server ends itself then."""
            with suppress(DBAPIError), db.begin() as connection:
                connection.exec_driver_sql("SELECT pg_logical_emit_message(false, 'weight', repeat('x', 1000000))")
            seen.append(person.post(f"/mailboxes/{mailbox_id}/sync/pause", json={"reason": "full"}).status_code)
            return seen[-1] in {503, 507}

        until(is_said, "the API to say that it cannot")
        print("the API answered", seen)
        assert set(seen) <= {200, 409, 503, 507}
        (disk / "filler").unlink()

        def is_back() -> bool:
            supervisor.check()
            return not is_refused()

        until(is_back, "the database to take writes again")
        until(lambda: person.get("/readyz").status_code == 200, "the API to be ready")
        with db.begin() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM weight").scalar_one() == written
    db.close()


def _passes(error: Exception) -> bool:
    """Say that a refusal passes by itself; AssertionError when Fieldpost would not wait for its end."""
    assert is_passing(error), error
    return True


def _mounted(folder: Path, size: str) -> bool:
    """Mount a small disk in memory on a folder; say whether this account may."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        return False
    options = f"size={size},mode=0777"
    tried = subprocess.run([mount, "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False, capture_output=True)
    return tried.returncode == 0


def _fill(path: Path) -> None:
    """Write zeros until the disk is full."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 20))
    assert shutil.disk_usage(path).free == 0
