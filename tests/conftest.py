"""Real servers for every test: one embedded PostgreSQL and Valkey per test process, a database of its own per test."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest
from redis import Redis
from sqlalchemy import Engine, create_engine, text

from deploy.local.lock import Endpoints
from deploy.local.supervisor import Supervisor
from models import schema
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests import dovecot, scheduling
from tests.faults import mutations

#: These need a real IMAP server; tests/test_dovecot.py says so where there is none. Folders have a `collect_ignore` of
#: their own, which would replace one of that name here.
collect_ignore_glob = [] if dovecot.missing() is None else ["adapters/test_imap.py", "flow/test_imap.py"]

_TEMPLATE = "fieldpost_template"
#: What the databases of all test processes together may need.
_SPARE = 4 << 30
#: Ends what is connected to a database; says how many there were.
_END = text("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = :name")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the product be broken on purpose for a run (tests/faults/mutations.py)."""
    parser.addoption("--mutation", choices=sorted(mutations.MUTATIONS), help="break the product in one way first")


def pytest_configure(config: pytest.Config) -> None:
    """Break it, where that was asked for; let Ctrl-C reach children also when the run is in the background."""
    # A shell starts background jobs with SIGINT ignored, and what is ignored stays so in every child.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if name := config.getoption("--mutation"):
        mutations.apply(name)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> scheduling.ByPlace | None:
    """Deal the tests of a parallel run out by place."""
    return scheduling.ByPlace(config, log) if config.getvalue("dist") == "loadgroup" else None  # type: ignore[arg-type]


def pytest_collection_finish() -> None:
    """Leave what was collected out of every later look for garbage: such a look took 2 s, and one test asks for 20."""
    gc.collect()
    gc.freeze()


def _named(url: str, database: str) -> str:
    return url.replace("/postgres?", f"/{database}?")


@cache
def admin(url: str) -> Engine:
    """Return the engine by which databases are made and dropped: to connect anew for each costs 12 ms, twice a test."""
    return create_engine(url, isolation_level="AUTOCOMMIT", pool_size=1, pool_pre_ping=True)


def _drop(url: str, name: str) -> None:
    """Drop a database. The server itself would look every 100 ms only whether its last connections have ended."""
    with admin(url).connect() as connection:
        for _ in range(100):
            if not connection.execute(_END, {"name": name}).scalar_one():
                break
            time.sleep(0.001)
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def memory() -> Path | None:
    """Return a folder kept in memory, None where there is none with space to spare.

    A database of a test's own is made twenty times as fast there (24 ms instead of 520 ms on a busy disk).
    """
    folder = Path("/dev/shm")
    enough = folder.is_dir() and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > _SPARE
    return folder if enough else None


def make_template(servers: Endpoints) -> None:
    """Build the database that those of the tests are copies of, by the migrations."""
    with admin(servers.database_url).connect() as connection:
        connection.execute(text(f"CREATE DATABASE {_TEMPLATE}"))
    engine = create_engine(_named(servers.database_url, _TEMPLATE))
    with engine.begin() as connection:
        schema.migrate(connection)
    engine.dispose()


@pytest.fixture(scope="session")
def servers() -> Iterator[Endpoints]:
    """Start the servers once per test process; the template database is built by the migrations."""
    folder = Path(tempfile.mkdtemp(prefix="fp-", dir=memory()))
    with Supervisor(folder / "data", durable=False) as supervisor:
        make_template(supervisor.endpoints)
        yield supervisor.endpoints
        admin(supervisor.endpoints.database_url).dispose()
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def fresh_database(servers: Endpoints) -> Iterator[str]:
    """Give the block the URL of a migrated database that is its alone."""
    name = f"test_{uuid4().hex[:12]}"
    with admin(servers.database_url).connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE} STRATEGY file_copy"))
    try:
        yield _named(servers.database_url, name)
    finally:
        _drop(servers.database_url, name)


@pytest.fixture
def database_url(servers: Endpoints) -> Iterator[str]:
    """Return a fresh, migrated database that belongs to this test alone."""
    with fresh_database(servers) as url:
        yield url


@pytest.fixture
def redis_url(servers: Endpoints) -> str:
    """Return an emptied Valkey."""
    with Redis.from_url(servers.redis_url) as client:
        client.flushall()
    return servers.redis_url


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    """Return the test's database, closed at its end."""
    database = Database(database_url, "test")
    yield database
    database.close()


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    """Return settings for processes of this test."""
    return Settings(
        database_url=database_url,
        redis_url=redis_url,
        blob_url=f"file://{tmp_path}/blobs",
        data_dir=tmp_path,
        secret_key="a secret key that only tests know",
        history_interval_seconds=0.5,
        # Tests that are not about quotas are not slowed down by them.
        quota_minute_seconds=0.05,
    )
