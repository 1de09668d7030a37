"""Servers that the fault tests may break: durable as in production, and used by no other test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from deploy.local.lock import Endpoints
from deploy.local.supervisor import Supervisor
from models import schema
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.conftest import memory
from tests.faults.forked import forked
from tests.flow.imports import Import
from tests.smtp_server import HOST, PASSWORD, USER, smtp_server
from tests.worker_process import WorkerProcesses

SIZE = 600


@pytest.fixture(scope="session")
def supervisor() -> Iterator[Supervisor]:
    """Return the running servers, to be stopped and killed; a test leaves them running."""
    folder = Path(tempfile.mkdtemp(prefix="fpf-", dir=memory()))
    with Supervisor(folder / "data", durable=True) as found:
        yield found
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def servers(supervisor: Supervisor) -> Endpoints:
    """Return the servers' addresses, with the template that the tests' databases are made from."""
    url = supervisor.endpoints.database_url
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE fieldpost_template"))
    engine.dispose()
    engine = create_engine(url.replace("/postgres?", "/fieldpost_template?"))
    with engine.begin() as connection:
        schema.migrate(connection)
    engine.dispose()
    return supervisor.endpoints


@pytest.fixture
def relayed(settings: Settings) -> Iterator[Settings]:
    """Settings under which notices to people have a relay to leave by."""
    with smtp_server() as post:
        url = SecretStr(f"smtp://{quote(USER)}:{PASSWORD}@{HOST}:{post.port}")
        yield settings.model_copy(update={"mail_relay_url": url, "mail_from": "desk@example.org"})


@pytest.fixture
def workers(settings: Settings, tmp_path: Path) -> Iterator[WorkerProcesses]:
    """Return no workers yet; those that the test starts end with it."""
    with forked(settings, tmp_path) as found:
        yield found


@pytest.fixture
def mail(db: Database, settings: Settings, tmp_path: Path) -> Import:
    """Return a company whose mail is not delivered yet."""
    return Import(db, settings, tmp_path, SIZE)
