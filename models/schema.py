"""Brings the schema to the newest migration, and tells how far a database is."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from models import (
    audit,
    billing,
    clocks,
    dead_letters,
    desk,
    dispatch,
    identity,
    ledger,
    mail,
    outbound,
    photos,
    pushes,
    reprocessing,
    row_security,
    search,
    syncing,
    tenancy,
    tickets,
    triage,
    work,
    workshop,
)
from models.base import hold_to_words, metadata

#: Every module that declares tables; importing them is what fills the metadata.
TABLES = (
    *(audit, billing, clocks, dead_letters, desk, dispatch, identity, ledger, mail, outbound, photos, pushes),
    *(reprocessing, search, syncing, tenancy, tickets, triage, work, workshop),
)
hold_to_words(metadata)
#: One migrator at a time: any number of roles may start at once.
_MIGRATION_LOCK = 0x6669656C64


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def migrate(connection: Connection, revision: str = "head") -> None:
    """Apply every missing migration in the caller's transaction; concurrent callers wait for each other."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
    command.upgrade(_config(connection), revision)
    if revision == "head":
        row_security.secure(connection, metadata)


def undo(connection: Connection, revision: str) -> None:
    """Take migrations back down to `revision` (`base` for all)."""
    command.downgrade(_config(connection), revision)


def current(connection: Connection) -> str | None:
    """Return the revision the database is at; None before the first migration."""
    return MigrationContext.configure(connection).get_current_revision()


def newest() -> str | None:
    """Return the newest revision this version of the program knows."""
    return ScriptDirectory.from_config(_config()).get_current_head()


@cache
def revisions() -> frozenset[str]:
    """Return the revisions that this version knows; one that is not among them was made by a newer version."""
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def is_usable(revision: str | None) -> bool:
    """Say whether this version works with a database at `revision`: its own newest, or what a newer version made of it.

    Migrations only add; what one leaves unused, a later version takes away. So the version before works on during and
    after a deploy, and can be gone back to.
    """
    return revision is not None and (revision == newest() or revision not in revisions())


def drift(connection: Connection) -> list[object]:
    """Return what the tables in `models` say and the database does not have, or the other way round."""
    return list(compare_metadata(MigrationContext.configure(connection), metadata))
