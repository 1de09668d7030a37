"""Servers that the fault tests may break: durable as in production, and used by no other test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from deploy.local.lock import Endpoints
from deploy.local.supervisor import Supervisor
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.conftest import admin, make_template, memory
from tests.faults.forked import forked
from tests.fcm_server import FcmServer, fcm_server
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
def servers(supervisor: Supervisor) -> Iterator[Endpoints]:
    """Return the servers' addresses, with the template that the tests' databases are made from."""
    make_template(supervisor.endpoints)
    yield supervisor.endpoints
    admin(supervisor.endpoints.database_url).dispose()


@pytest.fixture
def fcm() -> Iterator[FcmServer]:
    """A service to push by."""
    with fcm_server() as server:
        yield server


@pytest.fixture
def relayed(settings: Settings, fcm: FcmServer, tmp_path: Path) -> Iterator[Settings]:
    """Settings under which notices to people have a relay to leave by, and pushes a service."""
    with smtp_server() as post:
        url = SecretStr(f"smtp://{quote(USER)}:{PASSWORD}@{HOST}:{post.port}")
        pushes = {"fcm_credentials_file": fcm.write(tmp_path), "fcm_endpoint": fcm.endpoint}
        yield settings.model_copy(update={"mail_relay_url": url, "mail_from": "desk@example.org", **pushes})


@pytest.fixture
def workers(settings: Settings, tmp_path: Path) -> Iterator[WorkerProcesses]:
    """Return no workers yet; those that the test starts end with it."""
    with forked(settings, tmp_path) as found:
        yield found


@pytest.fixture
def mail(db: Database, settings: Settings, tmp_path: Path) -> Import:
    """Return a company whose mail is not delivered yet."""
    return Import(db, settings, tmp_path, SIZE)
