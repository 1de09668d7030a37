"""A compressed mbox, unpacked once into a folder of its own so that any message can be read at its offset."""

from __future__ import annotations

import errno
import fcntl
import gzip
import hashlib
import os
import shutil
import zlib
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from pipeline.runtime.errors import UserError

_PIECE = 1 << 20


def unpacked(path: Path, spool: Path) -> Path:
    """Return `spool/<sha256 of the file>.mbox`, unpacked when it is not there yet.

    The file appears whole or not at all, several processes may ask at once, memory stays small. `UserError` when the
    file cannot be read, is damaged, or when the disk of the spool is full.
    """
    try:
        state = path.stat()
        target = spool / f"{_hash_of(str(path), state.st_mtime_ns, state.st_size)}.mbox"
        spool.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            _unpack(path, target)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UserError(f"{path} is a damaged gzip file: {error}") from error
    except OSError as error:
        raise UserError(_trouble_text(error, path, spool)) from error
    return target


@lru_cache(maxsize=64)
def _hash_of(path: str, mtime_ns: int, size: int) -> str:  # noqa: ARG001 - they tell one version of a file from another
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack(path: Path, target: Path) -> None:
    """Unpack under a lock into a part file with a fixed name: a crash leaves one part, which the next try reuses."""
    part = target.with_suffix(".part")
    with part.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if target.exists():
            part.unlink(missing_ok=True)
            return
        file.truncate(0)
        try:
            _copy(path, file)
        except BaseException:
            file.truncate(0)
            raise
        part.replace(target)


def _copy(path: Path, target: BinaryIO) -> None:
    with gzip.open(path, "rb") as source:
        shutil.copyfileobj(source, target, _PIECE)
    target.flush()
    os.fsync(target.fileno())


def _trouble_text(error: OSError, path: Path, spool: Path) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"no space left in {spool} to unpack {path}: free some space or unpack the file elsewhere first"
    return f"{path} cannot be unpacked into {spool}: {error.strerror or error}"
