"""Airplane mode: whatever a bad network does, the server is as the model says (issue 8)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from deploy.local.lock import Endpoints
from tests.airplane.journey import Journey
from tests.airplane.office import Office, office
from tests.conftest import fresh_database


@pytest.fixture(scope="module")
def place(servers: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    folder: Path = tmp_path_factory.mktemp("blobs")
    try:
        with fresh_database(servers) as url, office(url, folder.as_uri()) as found:
            yield found
    finally:
        structlog.configure(**before)


def fly(place: Office, days: int, phases: int) -> None:
    """Live through random days, one after the other; a day's seed makes it again."""
    first = random.SystemRandom().randrange(10**6)
    print(f"seeds {first} to {first + days - 1}")
    for seed in range(first, first + days):
        print(f"seed {seed}")
        Journey(place, random.Random(seed)).play(phases)
    assert place.left_parts() == 0


def test_after_days_without_a_network_the_server_is_as_the_model(place: Office) -> None:
    fly(place, days=12, phases=4)


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_after_a_thousand_days_without_a_network_the_server_is_as_the_model(place: Office) -> None:
    fly(place, days=1_000, phases=6)
