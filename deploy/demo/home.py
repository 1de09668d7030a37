"""Where a demonstration lives: its folder, its servers and roles, and what Ctrl-C means between two steps."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from deploy.local.layout import DataDir, told
from deploy.local.processes import tail
from deploy.local.signals import next_stop_signal, stop_signals_blocked
from deploy.local.supervisor import Supervisor
from models import schema
from models.queries import queue
from pipeline.ports import Clock
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError
from pipeline.runtime.settings import environment

#: The schedule asks for changes this often, so that new mail shows within a moment.
_HISTORY_SECONDS = "1"
#: The demonstration's Gmail has no quota to keep: at the real pace its mail would take ten minutes.
_QUOTA_MINUTE_SECONDS = "0.3"
_START_LIMIT = timedelta(seconds=60)
_POLL = timedelta(milliseconds=50)
_SECRET_FILE = "secret.key"  # noqa: S105 - the name that `fieldpost` looks for, too


class Stopped(Exception):
    """A person pressed Ctrl-C, or SIGTERM came."""


class DemoFailed(Exception):
    """The demonstration cannot go on; the text says why."""


def pause(patience: timedelta = timedelta(0)) -> None:
    """Wait, at most this long. Raises `Stopped` when a stop signal came since the last look."""
    if next_stop_signal(patience) is not None:
        raise Stopped


@contextmanager
def folder(wanted: Path | None, *, keep: bool) -> Iterator[Path]:
    """Give the demonstration its data folder: a temporary one, or the one wanted.

    The temporary one is removed at the end; with `keep` only when something went wrong.

    Raises `UserError` when the wanted one holds anything: a demonstration never mixes with data of value.
    """
    if wanted is not None:
        path = DataDir.at(wanted).path
        with told(path):
            if path.exists() and any(path.iterdir()):
                raise UserError(f"{path} is not empty; name a new folder with --data")
        yield path
        return
    path = Path(tempfile.mkdtemp(prefix="fieldpost-demo-")).resolve()
    is_of_use = False
    try:
        yield path
        is_of_use = keep
    finally:
        if not is_of_use:
            shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Home:
    """The running servers of a demonstration, its database, and the secret its credentials are sealed with."""

    supervisor: Supervisor
    db: Database
    secret: str
    clock: Clock

    @property
    def data(self) -> DataDir:
        """Return the data folder."""
        return self.supervisor.data

    def start_workers(self, count: int) -> None:
        """Start workers; they are ready some moments later (`wait_for_workers`)."""
        for name in _worker_names(count):
            argv = [sys.executable, "-P", "-m", "actors"]
            self.supervisor.start_role(name, argv, self.environment(), cwd=self.data.path)

    def wait_for_workers(self, count: int) -> None:
        """Return when each worker holds the proof of its life. Raises `DemoFailed` when one does not in time."""
        names = _worker_names(count)
        deadline = self.clock.monotonic() + _START_LIMIT.total_seconds()
        while not self._are_live(names):
            if self.clock.monotonic() > deadline:
                raise DemoFailed("the workers did not start in time")
            self.supervisor.check()
            pause(_POLL)

    def start_api(self, port: int) -> None:
        """Start the API on 127.0.0.1; it answers some moments later."""
        argv = [sys.executable, "-P", "-m", "ops_api.cli", "api", "--host", "127.0.0.1", "--port", str(port)]
        env = {**self.environment(), "ALLOW_DEV_LOGIN": "true", "FIELDPOST_PUBLIC_URL": f"http://127.0.0.1:{port}"}
        self.supervisor.start_role("api", argv, env, cwd=self.data.path)

    def environment(self) -> Mapping[str, str]:
        """Return a role's whole environment; settings of the person's own Fieldpost stay out of it."""
        theirs = {name: value for name, value in environment().items() if not name.upper().startswith("FIELDPOST_")}
        endpoints = self.supervisor.endpoints
        return {
            **theirs,
            "FIELDPOST_DATABASE_URL": endpoints.database_url,
            "FIELDPOST_REDIS_URL": endpoints.redis_url,
            "FIELDPOST_BLOB_URL": self.data.blobs.as_uri(),
            "FIELDPOST_DATA_DIR": os.fspath(self.data.path),
            "FIELDPOST_SECRET_KEY": self.secret,
            "FIELDPOST_HISTORY_INTERVAL_SECONDS": _HISTORY_SECONDS,
            "FIELDPOST_QUOTA_MINUTE_SECONDS": _QUOTA_MINUTE_SECONDS,
        }

    def last_words(self) -> str:
        """Return the ends of the logs that anything was written to, for a person who asks why."""
        logs = sorted(path for path in self.data.logs.glob("*.log") if path.stat().st_size)
        return "\n".join(f"--- {path.name}\n{tail(path)}" for path in logs)

    def _are_live(self, names: list[str]) -> bool:
        pids = self.supervisor.pids()
        with self.db.begin() as connection:
            live = {worker.pid for worker in queue.live_workers(connection)}
        return all(pids.get(name) in live for name in names)


def _worker_names(count: int) -> list[str]:
    return [f"worker-{number}" for number in range(1, count + 1)]


@contextmanager
def servers(path: Path, clock: Clock) -> Iterator[Home]:
    """Start PostgreSQL and Valkey in a folder, make the tables, and stop everything at the end of the block."""
    supervisor = Supervisor(path)
    supervisor.start()
    try:
        secret = _write_secret(supervisor.data)
        with closing(Database(supervisor.endpoints.database_url, "demo", pool_size=2)) as db:
            with db.begin() as connection:
                schema.migrate(connection)
            yield Home(supervisor, db, secret, clock)
    finally:
        # An impatient second Ctrl-C must not leave servers half stopped.
        with stop_signals_blocked():
            supervisor.stop()


def _write_secret(data: DataDir) -> str:
    """Keep the secret key where `fieldpost` finds it, so that a kept demonstration can be gone on with."""
    key = secrets.token_urlsafe(32)
    path = data.path / _SECRET_FILE
    with told(path):
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(f"{key}\n", encoding="ascii")
    return key
