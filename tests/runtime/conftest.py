"""One database per module."""

from __future__ import annotations

from tests.reused import database_url, shared_url

__all__ = ["database_url", "shared_url"]
