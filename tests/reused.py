"""One database for all tests of a module, emptied before each: making one costs more than most of these tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest
from sqlalchemy import Engine, create_engine, text

from deploy.local.lock import Endpoints
from models.base import metadata
from tests.conftest import fresh_database

#: The built-in roles and templates come with the migrations.
_KEPT = {
    "roles": " WHERE org_id IS NOT NULL",
    "incident_templates": " WHERE org_id IS NOT NULL",
    "role_permissions": " WHERE role_id IN (SELECT id FROM roles WHERE org_id IS NOT NULL)",
}
#: Without triggers, since the audit trail refuses every deletion.
_EMPTY = "SET LOCAL session_replication_role = replica; " + "; ".join(
    f"DELETE FROM {table.name}{_KEPT.get(table.name, '')}" for table in reversed(metadata.sorted_tables)
)
_STRANGE = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> ALL(:known)"


@contextmanager
def reused_database(servers: Endpoints) -> Iterator[str]:
    """Yield the URL of a migrated database, which `empty` empties by one connection."""
    with fresh_database(servers) as url:
        yield url
        _engine(url).dispose()


@cache
def _engine(url: str) -> Engine:
    return create_engine(url, pool_size=1, pool_pre_ping=True)


def empty(url: str) -> str:
    """Delete every row and every table that a test made; return the URL."""
    with _engine(url).begin() as connection:
        connection.exec_driver_sql(_EMPTY)
        known = [*metadata.tables, "alembic_version"]
        for name in connection.execute(text(_STRANGE), {"known": known}).scalars().all():
            connection.exec_driver_sql(f"DROP TABLE {name}")
    return url


@pytest.fixture(scope="module")
def shared_url(servers: Endpoints) -> Iterator[str]:
    """Return the URL of the module's database."""
    with reused_database(servers) as url:
        yield url


@pytest.fixture
def database_url(shared_url: str) -> str:
    """Return the URL of the module's database, emptied; a conftest that imports this takes it for its folder."""
    return empty(shared_url)
