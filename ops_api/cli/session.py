"""Where a command works: settings completed, servers found or started, the database migrated and open."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy.exc import DBAPIError
from tenacity import RetryCallState, RetryError, Retrying, retry_if_exception, stop_after_delay, wait_fixed

from deploy.local.attach import attach
from deploy.local.layout import DataDir, check_version, default_data_dir, told
from deploy.local.lock import Endpoints
from deploy.local.signals import stop_signals_blocked
from deploy.local.supervisor import Supervisor
from models import schema
from models.queries.summary import database_time
from ops_api.cli.output import remark
from pipeline.adapters.clock import SystemClock
from pipeline.commands import migrating
from pipeline.runtime.db import Database, is_passing
from pipeline.runtime.errors import UserError
from pipeline.runtime.logs import set_up_logs
from pipeline.runtime.settings import Settings, environment, read_settings

_SECRET_FILE = "secret.key"  # noqa: S105 - a file's name


#: Between two looks at a database that is away.
_PAUSE = timedelta(milliseconds=500)
#: With less than this on its disk PostgreSQL is about to stop, or has (a WAL segment is 16 MB).
_LITTLE = 64_000_000


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a command works with: `settings` name the servers, the blob store, the data folder and the secret key.

    `servers` are those that live only as long as this command; None when others keep them.
    """

    settings: Settings
    data: DataDir
    db: Database
    servers: Supervisor | None
    clock: SystemClock

    @property
    def is_own(self) -> bool:
        """Whether the servers live only as long as this command."""
        return self.servers is not None


def begin(process: str, data: Path | None) -> tuple[Settings, DataDir]:
    """Read the settings, send logs to stderr, and say where data lies; the first step of every command."""
    settings = read_settings()
    set_up_logs(settings.log_format, "warning", process)
    return settings, data_dir(settings, data)


def data_dir(settings: Settings, data: Path | None) -> DataDir:
    """Return the data folder: the one given, else that of the settings, else the user's own; creates nothing."""
    found = data or settings.data_dir or default_data_dir(os.geteuid() == 0, environment())
    return DataDir.at(found)


@contextmanager
def open_runtime(
    settings: Settings, data: DataDir, *, start: bool = True, create: bool = False, patience: timedelta = timedelta(0)
) -> Iterator[Runtime]:
    """Open the database that the settings, a running `fieldpost up` or, with `start`, embedded servers give.

    Servers started here stop at the end of the block. With `create` a new data folder is filled and missing migrations
    are applied wherever the database is; without, only in servers started here. A database that is away is waited for
    as long as `patience`. Raises `UserError` in words.
    """
    with ExitStack() as stack:
        endpoints, servers = stack.enter_context(_servers(settings, data, start=start, create=create))
        is_own = servers is not None
        complete = fill(settings, data, endpoints, make_key=create or is_own)
        assert complete.database_url is not None
        db = stack.enter_context(closing(Database(complete.database_url, "command", pool_size=4)))
        stack.enter_context(_trouble_in_words(data.path))
        _wait_for(db, patience)
        db.check()
        prepare(db, apply=create or is_own)
        yield Runtime(complete, data, db, servers, SystemClock())


def _wait_for(db: Database, patience: timedelta) -> None:
    """Give a database that is away, or starts, some time: at boot of a machine it comes up beside us."""

    def ask() -> None:
        with db.begin() as connection:
            database_time(connection)

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if state.attempt_number == 1:
            said = str(getattr(error, "orig", error)).strip().splitlines()[0]
            remark(f"waiting up to {patience.total_seconds():.0f} s for the database ({said})")

    if not patience:
        return
    with suppress(RetryError, DBAPIError):  # `check` then says why, in words
        Retrying(
            retry=retry_if_exception(is_passing), stop=stop_after_delay(patience), wait=wait_fixed(_PAUSE),
            before_sleep=tell,
        )(ask)  # fmt: skip


def open_long(settings: Settings) -> Database:
    """Return the database for statements that may take long; close it afterwards."""
    assert settings.database_url is not None
    return Database(settings.database_url, "command", pool_size=1, statement_timeout=timedelta(hours=6))


def prepare(db: Database, *, apply: bool) -> None:
    """See to it that the tables serve this version: apply what is missing, or raise `UserError`."""
    newest = schema.newest()
    with db.begin() as connection:
        current = schema.current(connection)
    if schema.is_usable(current):
        if current != newest:
            remark(f"the database is at migration {current}, which a newer version of Fieldpost made")
        return
    if apply:
        migrating.bring_up(db, remark)
        return
    stands = "has no tables yet" if current is None else f"is at migration {current}, this version needs {newest}"
    raise UserError(f"the database {stands}; run `fieldpost migrate`")


def find_endpoints(settings: Settings, data: DataDir) -> Endpoints | None:
    """Return the servers: what the settings name wins, the rest is that of a running `fieldpost up`; None without."""
    database_url, redis_url = settings.database_url, settings.redis_url
    if database_url and redis_url:
        return Endpoints(database_url, redis_url)
    found = attach(data.path)
    return None if found is None else Endpoints(database_url or found.database_url, redis_url or found.redis_url)


def fill(settings: Settings, data: DataDir, endpoints: Endpoints, *, make_key: bool = True) -> Settings:
    """Return the settings with everything a role needs: servers, blob store, data folder and secret key.

    A secret key that nobody set is that of the data folder, made there with `make_key`. In production with a database
    of one's own it is never made: several machines would each make another one.
    """
    is_shared = settings.database_url is not None and settings.environment == "production"
    return settings.model_copy(
        update={
            "database_url": endpoints.database_url,
            "redis_url": endpoints.redis_url,
            "blob_url": settings.blob_url or data.blobs.as_uri(),
            "data_dir": data.path,
            "secret_key": settings.secret_key or _secret_key(data, make=make_key and not is_shared),
        }
    )


def child_environment(settings: Settings) -> dict[str, str]:
    """Return the whole environment of a role's process: this one's, and the settings as they were completed."""
    named = {
        "FIELDPOST_DATABASE_URL": settings.database_url,
        "FIELDPOST_REDIS_URL": settings.redis_url,
        "FIELDPOST_BLOB_URL": settings.blob_url,
        "FIELDPOST_DATA_DIR": None if settings.data_dir is None else str(settings.data_dir),
        "FIELDPOST_SECRET_KEY": None if settings.secret_key is None else settings.secret_key.get_secret_value(),
        "FIELDPOST_PREVIOUS_SECRET_KEYS": json.dumps(settings.previous_keys) if settings.previous_keys else None,
    }
    return environment() | {name: value for name, value in named.items() if value is not None}


@contextmanager
def _servers(
    settings: Settings, data: DataDir, *, start: bool, create: bool
) -> Iterator[tuple[Endpoints, Supervisor | None]]:
    found = find_endpoints(settings, data)
    if found is not None:
        yield found, None
        return
    if not start:
        raise UserError(
            f"nothing runs in {data.path}: start it with `fieldpost up --data {data.path}`, or set "
            "FIELDPOST_DATABASE_URL and FIELDPOST_REDIS_URL"
        )
    with told(data.path):
        is_new = settings.database_url is None and not data.pgdata.exists()
    if is_new and not create:
        raise UserError(
            f"there is no data in {data.path} yet: import mail with `fieldpost import`, start with `fieldpost up`, "
            "or name another folder with --data"
        )
    check_version(data, None)
    supervisor = Supervisor(data.path, database_url=settings.database_url, redis_url=settings.redis_url)
    supervisor.start()
    try:
        yield supervisor.endpoints, supervisor
    finally:
        # An impatient second Ctrl-C must not leave the servers half stopped.
        with stop_signals_blocked():
            supervisor.stop()


def _secret_key(data: DataDir, *, make: bool) -> SecretStr | None:
    """Return the data folder's own key, made once and whole; None without one."""
    path = data.path / _SECRET_FILE
    with told(path):
        if not path.exists() and make:
            data.create()
            _write_once(path, f"{secrets.token_urlsafe(32)}\n")
        return SecretStr(path.read_text(encoding="ascii").strip()) if path.exists() else None


def _write_once(path: Path, content: str) -> None:
    """Write a private file that appears whole; of several who write at once the first one's content stays."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=path.name, encoding="ascii") as file:
        file.write(content)
        file.flush()
        with suppress(FileExistsError):
            os.link(file.name, path)


@contextmanager
def _trouble_in_words(folder: Path) -> Iterator[None]:
    """Turn a database that went away into one clear line; any other database error is a defect and stays one."""
    try:
        yield
    except DBAPIError as error:
        if not is_passing(error):
            raise
        said = str(error.orig).strip().splitlines()[0]
        raise UserError(f"the database stopped answering ({said}){_what_to_do(folder)}") from None


def _what_to_do(folder: Path) -> str:
    free = shutil.disk_usage(folder).free if folder.exists() else _LITTLE
    if free < _LITTLE:
        return (
            f"; only {free // 1_000_000} MB are free for {folder}: make room and run the command again, "
            "it goes on where it stopped and nothing is lost"
        )
    return "; nothing is lost: run the command again, or see `fieldpost doctor`"


def warn_without_workers(workers: int) -> None:
    """Say that nobody works, when that is so."""
    if not workers:
        remark("no worker is alive: the work waits until `fieldpost up` or `fieldpost worker` runs")
