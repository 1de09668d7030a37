"""A restore onto an empty box: the copy, the log after it, the blobs, and what an earlier database must be told."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
from sqlalchemy.exc import DBAPIError

from deploy.local.account import RunAs, choose, own
from deploy.local.backup import verify
from deploy.local.backup_folder import BackupFolder, Manifest, existing, free_bytes, newest_until, used
from deploy.local.backup_wal import bring_log, log_from, segment_of
from deploy.local.binaries import PostgresBinaries
from deploy.local.blob_copies import BlobCopies, names
from deploy.local.layout import DataDir, socket_folder, told
from deploy.local.lock import DataLock, Endpoints
from deploy.local.postgres import PostgresServer
from deploy.local.processes import Spawner
from models import schema
from models.queries import restoring as queries
from pipeline.commands import restoring
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError

#: To bring a copy forward through days of log takes a while.
_START_LIMIT = timedelta(hours=12)
_MARGIN = 200_000_000
#: Where the server finds nothing more it has what it needs: all of the log lies in its own folder.
_RECOVERY = {"restore_command": "false", "recovery_target_action": "promote", "hot_standby": "off"}


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored: which copy, up to the last change of when, at which migration, and what was settled."""

    copy: Manifest
    log_files: int
    blobs: int
    revision: str
    migrated_from: str | None
    settled: restoring.Settled


def choose_copy(folder: BackupFolder, until: datetime | None) -> Manifest:
    """Return the copy to restore from. Raises UserError when none is there, or none that leads to `until`."""
    copies = folder.copies()
    if not copies:
        raise UserError(f"there is no whole copy in {folder.path}; name the folder that `fieldpost backup` wrote to")
    found = newest_until(copies, until)
    if found is None:
        raise UserError(f"the oldest copy is of {copies[0].finished_at:%Y-%m-%d %H:%M:%S%z}: nothing earlier is there")
    if until is not None and found.chain is None:
        raise UserError(
            f"the copy of {found.finished_at:%Y-%m-%d %H:%M:%S%z} has no log after it, since nobody followed; leave "
            "--until out to restore that copy"
        )
    return found


def restore(
    folder: BackupFolder,
    data: DataDir,
    binaries: PostgresBinaries,
    *,
    until: datetime | None = None,
    blobs: Path | None = None,
    key: str | None = None,
    durable: bool = True,
) -> Restored:
    """Make `data`, which must be empty, a data folder as it was at the end of the log, or at `until`.

    The blobs go to `blobs`, which must be empty, too; None is the data folder's own place. `key` is the secret key to
    put there. Nothing works on it before this returns: a restore that is cut short leaves a folder that is refused.
    Raises UserError in words.
    """
    copy = choose_copy(folder, until)
    blobs = blobs or data.blobs
    log = _check(folder, data, blobs, binaries, copy)
    verify(binaries, folder.pgdata_of(copy.name))
    data.create()
    lock = DataLock(data)
    lock.acquire()
    try:
        with told(data.path):
            data.restoring_file.write_text(f"{folder.path} {copy.name}\n", encoding="utf-8")
        data.create_parts()
        run = socket_folder(data)
        run_as = choose(data, [] if run == data.run else [run.parent])
        log_files = _lay_out(folder, data, run_as, copy, log)
        with told(blobs):
            count = BlobCopies(folder.blobs, blobs, sound_only=True).bring_up()
            stored = list(names(blobs)) if copy.blobs == "file" else None
        with _recovered(data, run, run_as, binaries, until, durable=durable) as db, _trouble_in_words():
            done = _settled(db, copy, stored, log_files, count)
        with told(data.path):
            if key is not None:
                _put_key(data, key)
            data.restoring_file.unlink()
    finally:
        lock.release()
    return done


def _check(
    folder: BackupFolder, data: DataDir, blobs: Path, binaries: PostgresBinaries, copy: Manifest
) -> Sequence[Path]:
    """Refuse what cannot work before anything is written; return the log that the copy is brought forward with."""
    with told(data.path):
        if data.path.exists() and any(data.path.iterdir()):
            raise UserError(f"{data.path} is not empty: a restore needs a folder of its own, so name another --data")
    with told(blobs):
        if next(names(blobs), None) is not None:
            raise UserError(f"the folder {blobs} holds blobs already: name an empty one by FIELDPOST_BLOB_URL")
    major = int(copy.postgres.split(".")[0])
    if major != binaries.major:
        raise UserError(f"the copy is PostgreSQL {major}'s, which the PostgreSQL {binaries.major} here cannot read")
    if copy.revision is not None and copy.revision not in schema.revisions():
        raise UserError(
            f"the copy was written by Fieldpost {copy.fieldpost} (migration {copy.revision}), which is newer than this "
            "one: install that version first"
        )
    with used(folder.path):
        log = _log_after(folder, copy)
        bytes_of_blobs = _bytes(folder.blobs)
        bytes_of_log = sum(path.stat().st_size for path in log)
    with told(data.path):
        _check_room({data.path: copy.size + bytes_of_log + _MARGIN}, {blobs: bytes_of_blobs})
    return log


def _log_after(folder: BackupFolder, copy: Manifest) -> Sequence[Path]:
    """Return the received log that a copy has not; older log of the same stretch is another copy's."""
    if copy.chain is None:
        return []
    return log_from(folder.wal / copy.chain, segment_of(copy.start_lsn, copy.timeline))


def _check_room(*needs: Mapping[Path, int]) -> None:
    """Refuse a disk without the room for all that goes to it."""
    needed: Counter[int] = Counter()
    for path, size in (item for need in needs for item in need.items()):
        disk = existing(path).stat().st_dev
        needed[disk] += size
        if (free := free_bytes(path)) < needed[disk]:
            raise UserError(
                f"{path} needs {needed[disk] // 1_000_000} MB and has {free // 1_000_000}: name another --data"
            )


def _lay_out(folder: BackupFolder, data: DataDir, run_as: RunAs, copy: Manifest, log: Sequence[Path]) -> int:
    """Copy the database and the log after it to their place; return how many files of log."""
    own(run_as, data.pg)
    with told(data.path):
        shutil.copytree(folder.pgdata_of(copy.name), data.pgdata)
        taken = bring_log(log, data.pgdata)
        (data.pgdata / "recovery.signal").touch()
        for path in (data.pgdata, *data.pgdata.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)
            if os.geteuid() == 0:
                os.chown(path, run_as.uid, run_as.gid)
    return taken


@contextmanager
def _recovered(
    data: DataDir, run: Path, run_as: RunAs, binaries: PostgresBinaries, until: datetime | None, *, durable: bool
) -> Iterator[Database]:
    """Give the block the database, brought forward, with nobody else at it; it is stopped in order afterwards."""
    target = {} if until is None else {"recovery_target_time": until.isoformat()}
    spawner = Spawner()
    server = PostgresServer(
        data, run, run_as, binaries, spawner,
        durable=durable, settings={**_RECOVERY, **target}, start_limit=_START_LIMIT,
    )  # fmt: skip
    try:
        _start(server, until)
        with closing(Database(Endpoints.on_sockets(run).database_url, "restore", pool_size=1)) as db:
            yield db
    finally:
        server.stop()
        spawner.close()


def _start(server: PostgresServer, until: datetime | None) -> None:
    try:
        server.start()
    except UserError as error:
        if until is not None and "recovery target" in str(error):
            raise UserError(
                f"the log ends before {until.isoformat()}: remove the folder and restore again without --until"
            ) from error
        raise


def _settled(
    db: Database, copy: Manifest, stored: Sequence[tuple[str, str]] | None, log_files: int, blobs: int
) -> Restored:
    """Check what was restored, bring it to this version and make it fit to be worked on, all or nothing.

    Blobs that the backup lacks are nowhere else: they count as lost.
    """
    with db.begin() as connection:
        restoring.lift_limits(connection)
        found = queries.standing(connection)
        missing = [name for name, rows in copy.counts.items() if found.counts.get(name, 0) < rows]
        if missing:
            raise UserError(
                f"the restored database lacks {', '.join(missing)} that its manifest counts; use another copy"
            )
        if found.revision is not None and found.revision not in schema.revisions():
            raise UserError(
                f"the log leads to migration {found.revision}, newer than this Fieldpost: install that version"
            )
        schema.migrate(connection)
        settled = restoring.settle(connection, copy.name, stored, blobs_are_lost=True)
        revision = schema.current(connection)
    assert revision is not None
    was = found.revision if found.revision != revision else None
    return Restored(copy, log_files, blobs, revision, was, settled)


@contextmanager
def _trouble_in_words() -> Iterator[None]:
    """Turn an error of the database into a UserError: it is a copy's, and what was restored of it is not used."""
    try:
        yield
    except (DBAPIError, psycopg.Error) as error:  # COPY speaks to the driver directly
        said = str(getattr(error, "orig", error)).strip().splitlines()[0]
        raise UserError(
            f"the restored database could not be settled ({said}): remove the folder and restore again, or use "
            "another copy"
        ) from error


def _put_key(data: DataDir, key: str) -> None:
    handle = os.open(data.path / "secret.key", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f"{key}\n")
        file.flush()
        os.fsync(file.fileno())


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
