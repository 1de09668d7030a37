"""A backup folder: whole copies of the database with their manifests, the log since, the raw messages.

base/20261125T020000Z/pgdata          one copy of the database, verified
base/20261125T020000Z/manifest.json   what it is; a copy without one was cut short and is nothing
wal/<chain>/                          the log that a follower receives, one folder per unbroken stretch
blobs/                                raw messages and attachments by their hashes, as the store has them
chain                                 the stretch that the follower receives now
identity                              which backup folder this is: a mount point without its disk is another
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.runtime.errors import UserError

MANIFEST = "manifest.json"
_FORMAT = 1
_PART, _IDENTITY = ".part", "identity"
#: What a backup folder may hold before it has its identity; a disk of its own has `lost+found`.
_OURS = {"base", "wal", "blobs", "copying.lock", "lost+found"}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a copy of the database is; times are the database's own.

    `revision` is its migration, `counts` are rows just before the copy began: a restored database has at least as many.
    `chain` names the log that goes on from it, None without a follower. `key_id` names the secret key, never tells it.
    `blobs` is the kind of the blob store; only those of a folder (`file`) are copied.
    """

    name: str
    fieldpost: str
    revision: str | None
    postgres: str
    timeline: int
    start_lsn: str
    end_lsn: str
    started_at: datetime
    finished_at: datetime
    chain: str | None
    blobs: str
    key_id: str | None
    counts: Mapping[str, int]
    size: int


@dataclass(frozen=True, slots=True)
class BackupFolder:
    """The names inside a backup folder; `path` is absolute."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> BackupFolder:
        """Return the backup folder at `path`; creates nothing."""
        return cls(path.expanduser().resolve())

    @property
    def base(self) -> Path:
        """Return the folder of the copies of the database."""
        return self.path / "base"

    @property
    def wal(self) -> Path:
        """Return the folder of the received log."""
        return self.path / "wal"

    @property
    def blobs(self) -> Path:
        """Return the folder of the raw messages."""
        return self.path / "blobs"

    def create(self) -> None:
        """Make the folder and its parts, private to the caller; raises UserError when that is impossible.

        A folder that holds something else is refused: an empty argument means the working folder.
        """
        with used(self.path):
            others = {path.name for path in self.path.iterdir()} - _OURS if self.path.is_dir() else set()
            if others and not (self.path / _IDENTITY).exists():
                raise UserError(f"{self.path} is no backup folder and is not empty: name a new folder or an empty one")
            for folder in (self.path, self.base, self.wal, self.blobs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError), (self.path / _IDENTITY).open("x", encoding="ascii") as file:
                file.write(f"{secrets.token_hex(16)}\n")
                file.flush()
                os.fsync(file.fileno())

    def identity(self) -> str | None:
        """Return what tells this folder from every other; None where no backup folder is, as when its disk is away."""
        path = self.path / _IDENTITY
        with used(self.path):
            return path.read_text(encoding="ascii").strip() if path.exists() else None

    def copies(self) -> list[Manifest]:
        """Return the whole copies, the oldest first. Raises UserError for a folder that cannot be read."""
        with used(self.path):
            found = sorted(self.base.glob(f"*/{MANIFEST}")) if self.base.is_dir() else []
            return [_read(path) for path in found if not path.parent.name.endswith(_PART)]

    def pgdata_of(self, name: str) -> Path:
        """Return where the database of a copy lies."""
        return self.base / name / "pgdata"

    def begin(self, name: str) -> Path:
        """Return an empty folder for a new copy, having removed what was cut short before; hold the lock."""
        with used(self.path):
            for left in self.base.glob(f"*{_PART}"):
                shutil.rmtree(left)
            fresh = self.base / f"{name}{_PART}"
            fresh.mkdir(mode=0o700)
            return fresh

    def finish(self, fresh: Path, manifest: Manifest) -> None:
        """Give a new copy its manifest and its name; it counts from then on, and survives a power cut."""
        with used(self.path):
            _write(fresh / MANIFEST, json.dumps({"format": _FORMAT, **asdict(manifest)}, default=str, indent=2))
            fresh.rename(self.base / manifest.name)
            _sync(self.base)

    def give_up(self, fresh: Path) -> None:
        """Remove what there is of a copy that failed, as far as the disk allows: the next one needs the room."""
        shutil.rmtree(fresh, ignore_errors=True)

    def keep_newest(self, count: int) -> list[str]:
        """Remove all but the newest copies, and log that no copy goes on with; returns the names of those removed."""
        copies = self.copies()
        gone, kept = copies[:-count], copies[-count:]
        chains = {one.chain for one in kept}
        with used(self.path):
            for one in gone:
                shutil.rmtree(self.base / one.name)
            for folder in self.wal.iterdir():
                # A follower may have begun another stretch a moment ago: `begin_chain` names it before it is there.
                if folder.name not in chains and folder.name != self.chain():
                    shutil.rmtree(folder)
        return [one.name for one in gone]

    def chain(self) -> str | None:
        """Return the stretch of log that is received now, or was last."""
        path = self.path / "chain"
        with used(self.path):
            return path.read_text(encoding="ascii").strip() if path.exists() else None

    def has_log(self, chain: str) -> bool:
        """Tell whether the folder of a stretch of log is there."""
        return (self.wal / chain).is_dir()

    def begin_chain(self, name: str) -> None:
        """Begin a new stretch of log; it is named before its folder is there, so that `keep_newest` never takes it."""
        with used(self.path):
            _write(self.path / "chain", name)
            (self.wal / name).mkdir(mode=0o700, parents=True)

    @contextlib.contextmanager
    def lock(self, what: str) -> Iterator[None]:
        """Let one process at a time do `what` (copying, following) in this folder; raises UserError for another."""
        with used(self.path):
            handle = os.open(self.path / f"{what}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not _locked(handle):
                raise UserError(f"another `fieldpost backup` is {what} into {self.path}; wait for its end")
            yield
        finally:
            os.close(handle)


@contextlib.contextmanager
def used(folder: Path) -> Iterator[None]:
    """Turn an OSError about a backup folder into a UserError that says what to do."""
    try:
        yield
    except OSError as error:
        raise UserError(f"the backup folder {folder} cannot be used ({error}); {advice(error.errno)}") from error


def advice(number: int | None) -> str:
    """Say what to do about an error of the disk that a backup lies on."""
    if number in {errno.ENOSPC, errno.EDQUOT}:
        return "its disk is full: free some space, keep fewer copies (--keep), or name another folder"
    if number in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return "it may not be written: run as its owner, or name another folder"
    return "is its disk there? Fieldpost itself goes on without it"


def existing(folder: Path) -> Path:
    """Return the folder, or the nearest above it that exists: on its disk the folder lies, or will lie."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def free_bytes(folder: Path) -> int:
    """Return the room on the disk that a folder lies, or will lie, on."""
    return shutil.disk_usage(existing(folder)).free


def newest_until(copies: Sequence[Manifest], until: datetime | None) -> Manifest | None:
    """Return the newest copy that was complete by then: a copy is good only for times after its own end."""
    fit = [one for one in copies if until is None or one.finished_at <= until]
    return fit[-1] if fit else None


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(path: Path) -> Manifest:
    try:
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if said.pop("format") != _FORMAT:
            raise UserError(f"{path} was written by a newer Fieldpost; restore it with that version")
        said |= {name: datetime.fromisoformat(said[name]) for name in ("started_at", "finished_at")}
        return Manifest(**said)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): remove its folder, and use another copy") from error


def _write(path: Path, content: str) -> None:
    """Write a file that appears whole and is on the disk afterwards."""
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(content + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
