"""Blobs in a local folder, durable before `put` returns.

Raw mail must outlive a crash that follows the commit of the rows naming it, so `put` returns only when contents and
names are on the disk. Measured on ext4, batches of 100 contents of 4 KB, per content: check, compress and write 75 us
(110 us while the folders are still being made), an fsync per file 350 us more, one `syncfs` per batch 10-30 us more.
So a batch is written first and synced once; a few files, or a system without `syncfs`, are synced one by one.

A name may therefore become visible before its content is on the disk, and a crash in between leaves a damaged file.
No row can name it (nothing was committed), and `put` reads what it finds before it trusts it, so the next attempt
repairs it. An intact file is never rewritten: a durable blob is never put at risk again.

A process that is killed while it writes leaves half a file. Those stand in one folder, so that the next process that
opens the store, and every put now and then, finds what is stale and removes it without reading the whole store.

obstore's LocalStore is not used here: it has no way to sync, and a put through it costs 25-45 us of CPU more.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from pipeline.adapters.blob_codec import BlobCodec, blob_key
from pipeline.runtime.errors import Permanent, Transient

SYNC_ONE_BY_ONE = 3
#: Where files are written before they get their names, and when one is left by a process that died (reliability, I3).
PARTS = ".parts"
STALE = timedelta(hours=1)
_LOOK = timedelta(minutes=10)

_DISK_TEXTS = {
    errno.ENOSPC: "no space left on {root}",
    errno.EDQUOT: "the disk quota is used up on {root}",
    errno.EACCES: "not allowed to use {root}: check its owner and mode",
    errno.EPERM: "not allowed to use {root}: check its owner and mode",
    errno.EROFS: "{root} is mounted read-only",
}


def disk_trouble(error: OSError, root: str | Path) -> Transient:
    """Return the error of a disk that a person can help (full, not permitted, read-only) or that passes by itself."""
    text = _DISK_TEXTS.get(error.errno or 0, "cannot use {root}")
    return Transient(f"{text.format(root=root)} ({error.strerror or error})")


class LocalBlobs:
    """The BlobStore port over a folder, which is created with its parents."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._codec = BlobCodec()
        self._syncfs = _find_syncfs()
        self._parts = f"{self._root}/{PARTS}"
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_trouble(error, root) from error
        self._look_at = 0.0
        self._tidy()

    def put(self, kind: str, contents: Mapping[str, bytes]) -> Mapping[str, int]:
        """Store each content under its hash and sync; return the stored sizes. An intact blob is left as it is."""
        self._tidy()
        paths = {name: f"{self._root}/{blob_key(kind, name)}" for name in contents}
        sizes = {}
        try:
            for name, content in contents.items():
                sizes[name] = self._put_one(paths[name], name, content)
            self._sync(list(paths.values()))
        except OSError as error:
            raise disk_trouble(error, self._root) from error
        return sizes

    def get(self, kind: str, hashes: Sequence[str]) -> Mapping[str, bytes]:
        """Return the contents by hash, without the absent ones; `Permanent` for a corrupt one."""
        found = {}
        try:
            for name in hashes:
                stored = _read(f"{self._root}/{blob_key(kind, name)}")
                if stored is not None:
                    found[name] = self._codec.unpack(name, stored)
        except OSError as error:
            raise disk_trouble(error, self._root) from error
        return found

    def delete(self, kind: str, hashes: Sequence[str]) -> None:
        """Take contents away; an absent one is fine. A name that a crash of the machine brings back is taken again."""
        try:
            for name in hashes:
                Path(f"{self._root}/{blob_key(kind, name)}").unlink(missing_ok=True)
        except OSError as error:
            raise disk_trouble(error, self._root) from error

    def _put_one(self, path: str, name: str, content: bytes) -> int:
        self._codec.verify(name, content)
        stored = _read(path)
        if stored is not None and self._is_intact(name, stored):
            return len(stored)
        encoded = self._codec.pack(content)
        _write(path, encoded, self._parts)
        return len(encoded)

    def _tidy(self) -> None:
        """Remove what dead processes left half written, looking at most every ten minutes; never raises."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _LOOK.total_seconds()
        try:
            _remove_stale(self._parts)
        except OSError:  # another process tidies, or the disk has trouble that the next put tells
            return

    def _is_intact(self, name: str, stored: bytes) -> bool:
        try:
            self._codec.unpack(name, stored)
        except Permanent:
            return False
        return True

    def _sync(self, paths: Sequence[str]) -> None:
        if not paths:
            return
        if self._syncfs is not None and len(paths) > SYNC_ONE_BY_ONE:
            self._syncfs(self._root)
            return
        folders = {str(folder) for path in paths for folder in _folders_between(Path(path), self._root)}
        _fsync_each([*paths, *sorted(folders, key=len, reverse=True)])


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - Path.open costs several us more per blob
            return file.read()
    except FileNotFoundError:
        return None


def _write(path: str, encoded: bytes, parts: str) -> None:
    """Write aside and rename, so that no reader ever sees half a file under the final name."""
    temporary = f"{parts}/{secrets.token_hex(16)}.part"
    try:
        descriptor = _create(temporary)
    except FileNotFoundError:
        Path(parts).mkdir(parents=True, exist_ok=True)
        descriptor = _create(temporary)
    try:
        with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123 - the descriptor is already open
            _write_all(file.write, encoded)
        _rename(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


def _create(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)


def _rename(temporary: str, path: str) -> None:
    try:
        os.rename(temporary, path)  # noqa: PTH104 - same reason as in _read
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(temporary).rename(path)


def _remove_stale(folder: str) -> None:
    """Remove files that nobody wrote to for `STALE`, by the clock of their file system."""
    if not Path(folder).is_dir():
        return
    os.utime(folder)
    until = Path(folder).stat().st_mtime - STALE.total_seconds()
    for entry in os.scandir(folder):
        with suppress(OSError):  # another process took it, or it cannot be removed: the others can
            if entry.stat(follow_symlinks=False).st_mtime < until:
                Path(entry.path).unlink()


def _write_all(write: Callable[[memoryview], int | None], data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[write(rest) or 0 :]


def _folders_between(path: Path, root: str) -> Iterable[Path]:
    for folder in path.parents:
        yield folder
        if str(folder) == root:
            return


def _fsync_each(paths: Iterable[str]) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _find_syncfs() -> Callable[[str], None] | None:
    """Return a call that flushes the file system holding a folder, or None where the C library has none (macOS)."""
    libc = ctypes.CDLL(None, use_errno=True)
    function = getattr(libc, "syncfs", None)
    if function is None:
        return None

    def syncfs(folder: str) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if function(descriptor) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), folder)
        finally:
            os.close(descriptor)

    return syncfs
