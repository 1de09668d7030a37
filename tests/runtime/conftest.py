"""One database per module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.local.lock import Endpoints
from tests.reused import empty, reused_database


@pytest.fixture(scope="module")
def shared_url(servers: Endpoints) -> Iterator[str]:
    with reused_database(servers) as url:
        yield url


@pytest.fixture
def database_url(shared_url: str) -> str:
    return empty(shared_url)
