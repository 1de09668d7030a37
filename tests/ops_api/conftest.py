"""A served API over a fresh database."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import structlog

from tests.ops_api.serving import Api, House, house, serving, settings_for


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Drop log lines: they are written after an answer, so perhaps after the test that would have captured them."""
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield
    structlog.configure(**before)


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(settings_for(database_url)) as running:
        yield running


@pytest.fixture
def ours(api: Api) -> House:
    return house(api.db, "ours")


@pytest.fixture
def theirs(api: Api) -> House:
    return house(api.db, "theirs")


@pytest.fixture
def make_house() -> Callable[[Api], House]:
    return lambda api: house(api.db, "ours")
