"""A world to run stages on."""

from __future__ import annotations

import pytest

from pipeline.runtime.db import Database
from tests.reused import database_url, shared_url
from tests.stages.world import World

__all__ = ["database_url", "shared_url"]


@pytest.fixture
def world(db: Database) -> World:
    return World(db)
