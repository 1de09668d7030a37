"""A served API over a fresh database."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.ops_api.serving import Api, House, house, serving, settings_for


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
