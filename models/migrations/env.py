"""Runs the migrations on the connection that the caller hands over in the configuration's attributes."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, text

from models.base import metadata


def run(connection: Connection) -> None:
    """Bring the schema up; give way to running work after 5 s rather than queue in front of it."""
    connection.execute(text("SET lock_timeout = '5s'"))
    context.configure(connection=connection, target_metadata=metadata, compare_server_default=False)
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
