"""A bench with a runner, and quiet logs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from pipeline.runtime.db import Database
from tests.actors.bench import Bench
from tests.reused import database_url, shared_url

__all__ = ["database_url", "shared_url"]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Drop log lines: threads write them, perhaps after the test that would have captured them."""
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield
    structlog.configure(**before)


@pytest.fixture
def bench(db: Database) -> Bench:
    return Bench(db)
