"""A world to run stages on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.local.lock import Endpoints
from pipeline.runtime.db import Database
from tests.reused import empty, reused_database
from tests.stages.world import World


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


@pytest.fixture(scope="module")
def shared_url(servers: Endpoints) -> Iterator[str]:
    with reused_database(servers) as url:
        yield url


@pytest.fixture
def database_url(shared_url: str) -> str:
    return empty(shared_url)
