"""A world to run stages on."""

from __future__ import annotations

import pytest

from pipeline.runtime.db import Database
from tests.stages.world import World


@pytest.fixture
def world(db: Database) -> World:
    return World(db)
