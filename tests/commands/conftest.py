"""One database for the tests of a module; see `tests.reused`."""

from __future__ import annotations

from tests.reused import database_url, shared_url

__all__ = ["database_url", "shared_url"]
