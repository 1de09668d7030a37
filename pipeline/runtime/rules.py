"""The rules of a workshop in the database: those in force are of the newest version, and reading them locks nothing."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.core.workshop_rules import Rules

_CURRENT = text("SELECT rules FROM rules_versions WHERE org_id = :org ORDER BY version DESC LIMIT 1")


def current(connection: Connection, org_id: UUID) -> Rules:
    """Return the rules in force; the built-in ones before somebody changed any."""
    row = connection.execute(_CURRENT, {"org": org_id}).one_or_none()
    return Rules() if row is None else Rules.read(row.rules)
