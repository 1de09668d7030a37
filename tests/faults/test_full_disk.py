"""A blob store without room: mail waits, and comes through when there is room again."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from pipeline.runtime.settings import Settings
from tests.flow.imports import Import
from tests.worker_process import WorkerProcesses, until

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("faults")]

_DISK = "64m"
_REFUSED = text("SELECT count(*) FROM jobs WHERE state = 'waiting' AND failures > 0")
_SAID = text("SELECT DISTINCT last_error ->> 'class' FROM jobs WHERE last_error IS NOT NULL AND state <> 'dead'")

Release = Callable[[], None]


@pytest.fixture
def full_disk(settings: Settings) -> Iterator[Release]:
    """Give the blob store a disk without room; return how to make room.

    Where this account may not mount one, the folder of raw mail is a file instead: nothing can be stored either.
    """
    blobs = Path(str(settings.blob_url).removeprefix("file://"))
    blobs.mkdir()
    if _mounted(blobs):
        filler = blobs / "filler"
        _fill(filler)
        yield filler.unlink
        subprocess.run(["umount", "-l", str(blobs)], check=True)
    else:
        obstacle = blobs / "raw"
        obstacle.touch()
        yield obstacle.unlink


def test_a_full_disk_makes_mail_wait_and_loses_none(mail: Import, workers: WorkerProcesses, full_disk: Release) -> None:
    workers.keep(2)
    mail.deliver(mail.mails)

    def count(query: object) -> int:
        with mail.db.begin() as connection:
            return int(connection.execute(query).scalar_one())  # type: ignore[call-overload]

    until(lambda: count(_REFUSED) == len(mail.mails), "every mail to be refused once")
    with mail.db.begin() as connection:
        assert connection.execute(_SAID).scalars().all() == ["Transient"]
    assert mail.states() == {"seen": len(mail.mails)}
    assert count(text("SELECT count(*) FROM dead_letters")) == 0

    full_disk()
    mail.finish()
    mail.verify(workers)


def _mounted(folder: Path) -> bool:
    """Mount a small disk in memory on a folder; say whether this account may."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        return False
    options = f"size={_DISK},mode=0777"
    tried = subprocess.run([mount, "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False, capture_output=True)
    return tried.returncode == 0


def _fill(path: Path) -> None:
    """Write zeros until the disk is full."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 20))
    assert shutil.disk_usage(path).free == 0
