"""Real servers for every test: one embedded PostgreSQL and Valkey per test process, a database of its own per test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from redis import Redis
from sqlalchemy import create_engine, text

from deploy.local.lock import Endpoints
from deploy.local.supervisor import Supervisor
from models import schema
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings

_TEMPLATE = "fieldpost_template"


def _named(url: str, database: str) -> str:
    return url.replace("/postgres?", f"/{database}?")


def _run(url: str, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


@pytest.fixture(scope="session")
def servers() -> Iterator[Endpoints]:
    """Start the servers once per test process; the template database is built by the migrations."""
    folder = Path(tempfile.mkdtemp(prefix="fp-"))
    with Supervisor(folder / "data", durable=False) as supervisor:
        endpoints = supervisor.endpoints
        _run(endpoints.database_url, f"CREATE DATABASE {_TEMPLATE}")
        engine = create_engine(_named(endpoints.database_url, _TEMPLATE))
        with engine.begin() as connection:
            schema.migrate(connection)
        engine.dispose()
        yield endpoints
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database_url(servers: Endpoints) -> Iterator[str]:
    """Return a fresh, migrated database that belongs to this test alone."""
    name = f"test_{uuid4().hex[:12]}"
    _run(servers.database_url, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
    yield _named(servers.database_url, name)
    _run(servers.database_url, f"DROP DATABASE {name} WITH (FORCE)")


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
    )
