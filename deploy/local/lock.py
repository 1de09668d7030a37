"""Who runs in a data folder: one supervisor holds the lock; other processes read from it where the servers are."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import psutil

from deploy.local.layout import VALKEY_SOCKET, DataDir, told
from pipeline.runtime.errors import UserError

_TRIES, _PAUSE = 6, 0.05  # a reader holds the lock for an instant


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the servers are: an SQLAlchemy URL and a redis-py URL."""

    database_url: str
    redis_url: str

    @classmethod
    def on_sockets(cls, folder: Path) -> Endpoints:
        """Return the URLs of the embedded servers whose sockets lie in `folder`."""
        path = quote(os.fspath(folder))
        return cls(f"postgresql+psycopg://app@/postgres?host={path}", f"unix://{path}/{VALKEY_SOCKET}?db=0")


@dataclass(frozen=True, slots=True)
class Holder:
    """What the lock file says of the process that holds it; the URLs are None until the servers are ready.

    `sockets` is the folder of the embedded servers' sockets.
    """

    pid: int
    started_at: str
    database_url: str | None = None
    redis_url: str | None = None
    http: str | None = None
    sockets: str = ""


class DataLock:
    """The exclusive lock on a data folder; released by `release` or by the end of the process, however it ends."""

    def __init__(self, data: DataDir) -> None:
        """Prepare a lock on `data`; nothing is opened yet."""
        self._data = data
        self._handle: int | None = None
        self.holder: Holder | None = None

    def acquire(self) -> None:
        """Take the lock at once or raise a UserError that names who holds it."""
        with told(self._data.lock_file):
            handle = os.open(self._data.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
            free = _locked(handle)
        if not free:
            os.close(handle)
            raise UserError(_refusal(self._data, read_holder(self._data)))
        self._handle = handle
        process = psutil.Process()
        self.write(Holder(process.pid, datetime.fromtimestamp(process.create_time(), UTC).isoformat()))

    def write(self, holder: Holder) -> None:
        """Replace what the file says; readers see the old or the new text."""
        assert self._handle is not None
        text = json.dumps(asdict(holder)).encode() + b"\n"
        with told(self._data.lock_file):
            os.pwrite(self._handle, text, 0)
            os.ftruncate(self._handle, len(text))
        self.holder = holder

    def release(self) -> None:
        """Empty the file and give the lock back; harmless when it is not held."""
        if self._handle is None:
            return
        with contextlib.suppress(OSError):  # a full disk must not keep the lock held
            os.ftruncate(self._handle, 0)
        os.close(self._handle)
        self._handle = self.holder = None


def read_holder(data: DataDir) -> Holder | None:
    """Return what a live supervisor wrote into the lock file of `data`; None when nobody holds the lock."""
    try:
        handle = os.open(data.lock_file, os.O_RDWR)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return _parse(file.read())
        return None


def _parse(text: bytes) -> Holder | None:
    """Read the holder out of the file's text; None while it is being written."""
    try:
        return Holder(**json.loads(text))
    except (ValueError, TypeError):
        return None


def _locked(handle: int) -> bool:
    """Take the lock, giving a passing reader a moment to let go."""
    for _ in range(_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_PAUSE)
    return False


def _refusal(data: DataDir, holder: Holder | None) -> str:
    """Say who uses the data folder and what to do."""
    if holder is None:
        return f"another Fieldpost is just starting or stopping in {data.path}; try again in a moment"
    where = f" and answers at {holder.http}" if holder.http else ""
    return (
        f"Fieldpost already runs in {data.path}: process {holder.pid}, since {holder.started_at}{where};"
        f" use it, stop it first (kill {holder.pid}), "
        "or choose another folder with --data"
    )
