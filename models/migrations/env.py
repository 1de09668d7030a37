"""Runs the migrations on the connection that the caller hands over in the configuration's attributes."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from models.base import metadata


def run(connection: Connection) -> None:
    """Bring the schema up in the caller's transaction, which says how long it waits for locks."""
    context.configure(connection=connection, target_metadata=metadata, compare_server_default=False)
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
