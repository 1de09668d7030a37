"""One service for the whole suite: what it costs to start is more than what most cases do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.lock import Endpoints
from tests.conformance.case_service import Cases, case_service
from tests.conformance.service import Service, dispatch_service
from tests.conformance.workshop_service import Workshop, workshop_service
from tests.conftest import fresh_database


@pytest.fixture(scope="package")
def service(servers: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Serve to every module; each case has tickets of its own, or leaves those that it finds as they are."""
    folder: Path = tmp_path_factory.mktemp("blobs")
    with fresh_database(servers) as url, dispatch_service(url, blob_url=folder.as_uri()) as running:
        yield running


@pytest.fixture(scope="package")
def workshop(servers: Endpoints) -> Iterator[Workshop]:
    """Serve contract 002 to every module; each case has things and tickets of its own."""
    with fresh_database(servers) as url, workshop_service(url) as running:
        yield running


@pytest.fixture(scope="package")
def cases(servers: Endpoints) -> Iterator[Cases]:
    """Serve contract 003 to every module; each case has chargers of its own."""
    with fresh_database(servers) as url, case_service(url) as running:
        yield running
