"""One database for each module here, emptied before each test; and a pile of dead letters in it."""

from __future__ import annotations

import pytest

from pipeline.runtime.db import Database
from tests.dlq.pile import Pile
from tests.reused import database_url, shared_url

__all__ = ["database_url", "pile", "shared_url"]


@pytest.fixture
def pile(db: Database) -> Pile:
    """Return no dead letters yet, in an organization of their own."""
    return Pile(db)
