"""A backup while everything runs: a verified copy of the database, then the blobs it names, then the manifest.

The blobs come after the database: a blob is stored before the row that names it commits, so that whatever the copy
names is there by then. The other order would miss those stored in between.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from deploy.local.backup_folder import BackupFolder, Manifest, advice, free_bytes, used
from deploy.local.backup_wal import current_chain, segment_of
from deploy.local.binaries import PostgresBinaries
from deploy.local.blob_copies import BlobCopies
from deploy.local.layout import DataDir
from models.queries import restoring
from pipeline.adapters.blobs import local_folder
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError

_PLAIN = {"LC_ALL": "C.UTF-8", "PGAPPNAME": "fieldpost backup"}
_SAID = 300
#: What a copy holds beside the tables: some segments of log.
_MARGIN = 64_000_000


@dataclass(frozen=True, slots=True)
class Origin:
    """What is backed up: the database, the programs of its version, its blob store, and the id of the secret key."""

    db: Database
    database_url: str
    binaries: PostgresBinaries
    blob_url: str
    key_id: str | None
    #: Where to note what the newest copy is; see `newest_copy`.
    note: Path | None = None

    @property
    def dsn(self) -> str:
        """Return the database's address as PostgreSQL's own programs read it."""
        return self.database_url.replace("+psycopg", "", 1)

    @property
    def blob_kind(self) -> str:
        """Return where blobs lie: `file`, or the kind of bucket."""
        return urlsplit(self.blob_url).scheme

    @property
    def blob_folder(self) -> Path | None:
        """Return the folder of the blobs; None for a bucket, which keeps itself."""
        return local_folder(self.blob_url)


def take(origin: Origin, folder: BackupFolder, keep: int) -> Manifest:
    """Add a verified copy of the running database and its blobs to `folder`, and keep the newest `keep` copies.

    Raises UserError when the disk is full or away, or when the copy is not whole; what was there before stays.
    """
    folder.create()
    with folder.lock("copying"):
        with origin.db.begin() as connection:
            before = restoring.standing(connection)
            chain = current_chain(connection, folder)
        fresh = folder.begin(before.at.strftime("%Y%m%dT%H%M%S%fZ"))
        try:
            manifest = _taken(origin, folder, fresh, before, chain)
            folder.finish(fresh, manifest)
        except BaseException:
            folder.give_up(fresh)
            raise
        _note(origin, folder, manifest)
        folder.keep_newest(keep)
        _clear_log(folder, origin.binaries)
    return manifest


def _taken(
    origin: Origin, folder: BackupFolder, fresh: Path, before: restoring.Standing, chain: str | None
) -> Manifest:
    """Fill `fresh` with a verified copy, bring up the blobs, and return what it is."""
    _check_room(origin, folder)
    _copy(origin, fresh / "pgdata")
    verify(origin.binaries, fresh / "pgdata")
    with origin.db.begin() as connection:
        finished_at = restoring.now(connection)
    copy_blobs(origin, folder)
    reach = json.loads((fresh / "pgdata" / "backup_manifest").read_text(encoding="utf-8"))["WAL-Ranges"][0]
    return Manifest(
        name=fresh.stem,
        fieldpost=version("fieldpost"),
        revision=before.revision,
        postgres=origin.binaries.version,
        timeline=reach["Timeline"],
        start_lsn=reach["Start-LSN"],
        end_lsn=reach["End-LSN"],
        started_at=before.at,
        finished_at=finished_at,
        chain=chain,
        blobs=origin.blob_kind,
        key_id=origin.key_id,
        counts=before.counts,
        size=_size(fresh / "pgdata"),
    )


def newest_copy(data: DataDir) -> Path:
    """Return the file of a data folder that says where the newest copy of it lies, and of when it is: JSON."""
    return data.logs / "newest-copy.json"


def _note(origin: Origin, folder: BackupFolder, manifest: Manifest) -> None:
    """Note a copy for `fieldpost doctor`; the copy is whole without it."""
    if origin.note is not None:
        said = {"folder": os.fspath(folder.path), "name": manifest.name, "at": manifest.finished_at.isoformat()}
        with suppress(OSError):
            origin.note.write_text(json.dumps(said) + "\n", encoding="utf-8")


def _check_room(origin: Origin, folder: BackupFolder) -> None:
    """Refuse a copy that cannot fit, before the server is asked for it: each begins with a checkpoint."""
    with origin.db.begin() as connection:
        needed = restoring.size(connection) + _MARGIN
    with used(folder.path):
        free = free_bytes(folder.path)
    if free < needed:
        raise UserError(
            f"a copy needs {needed // 1_000_000} MB and {folder.path} has {free // 1_000_000}; {advice(errno.ENOSPC)}"
        )


def copy_blobs(origin: Origin, folder: BackupFolder, copies: BlobCopies | None = None) -> int:
    """Copy the blobs that `folder` lacks; return how many. Raises UserError when its disk is full or away.

    So it does when the store itself cannot be read, and says which of the two it is.
    """
    source = origin.blob_folder
    if source is None:
        return 0
    with used(folder.path):
        return (copies or BlobCopies(source, folder.blobs)).bring_up()


def verify(binaries: PostgresBinaries, pgdata: Path) -> None:
    """Compare every file of a copy with the checksums in its manifest, and read its log; raises UserError."""
    argv = [os.fspath(binaries.folder / "pg_verifybackup"), "--exit-on-error", "--quiet", os.fspath(pgdata)]
    run(argv, f"the copy {pgdata.parent.name} is damaged", "use another one, and check that disk")


def run(argv: list[str], what: str, otherwise: str) -> None:
    """Run one of PostgreSQL's programs to its end. Raises UserError with its last words and what to do."""
    try:
        done = subprocess.run(
            argv, env=_PLAIN, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise UserError(f"{argv[0]} cannot be started: {error}; is that PostgreSQL complete?") from error
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0][:_SAID]
        full = "No space left on device" in done.stderr or "Disk quota exceeded" in done.stderr
        raise UserError(f"{what} ({said}); {advice(errno.ENOSPC) if full else otherwise}")


def _copy(origin: Origin, target: Path) -> None:
    argv = [os.fspath(origin.binaries.folder / "pg_basebackup"), "--dbname", origin.dsn, "--no-password"]
    argv += ["--pgdata", os.fspath(target), "--checkpoint=fast", "--wal-method=stream", "--label=fieldpost backup"]
    otherwise = "is the database up (`fieldpost doctor`), and the disk of the backup there?"
    run(argv, "the database could not be copied", otherwise)


def _clear_log(folder: BackupFolder, binaries: PostgresBinaries) -> None:
    """Remove the log that lies before the first copy of each stretch."""
    firsts: dict[str, Manifest] = {}
    for copy in folder.copies():
        if copy.chain is not None:
            firsts.setdefault(copy.chain, copy)
    for chain, copy in firsts.items():
        program, log = binaries.folder / "pg_archivecleanup", folder.wal / chain
        argv = [os.fspath(program), os.fspath(log), segment_of(copy.start_lsn, copy.timeline)]
        run(argv, "old log could not be removed", "the copy itself is whole")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
