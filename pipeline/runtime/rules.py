"""The rules of a workshop in the database: those in force are of the newest version, and reading them locks nothing.

Version 1 is always the built-in rules; it is written when somebody first changes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row, text

from models.enums import RulesAction
from pipeline.core.workshop_rules import Rules

_CURRENT = text("SELECT rules FROM rules_versions WHERE org_id = :org ORDER BY version DESC LIMIT 1")
_CURRENT_OF = text("""
    SELECT DISTINCT ON (org_id) org_id, rules FROM rules_versions WHERE org_id = ANY(CAST(:orgs AS uuid[]))
     ORDER BY org_id, version DESC
""")
_COLUMNS = "version, action, rules, checksum, diff, reason, source_version, created_by, created_at"
_ACTIVE = text(f"SELECT {_COLUMNS} FROM rules_versions WHERE org_id = :org ORDER BY version DESC LIMIT 1")  # noqa: S608 - columns from above
_ONE = text(f"SELECT {_COLUMNS} FROM rules_versions WHERE org_id = :org AND version = :version")  # noqa: S608 - columns from above
_PAGE = text(f"""
    SELECT {_COLUMNS} FROM rules_versions WHERE org_id = :org ORDER BY version DESC LIMIT :limit OFFSET :offset
""")  # noqa: S608 - columns from above
#: Whoever writes the same version at the same moment is waited for, and then nothing is written.
_KEEP = text("""
    INSERT INTO rules_versions (org_id, version, action, rules, checksum, diff, reason, source_version, created_by)
    SELECT :org, v.version, v.action, v.rules, v.checksum, v.diff, v.reason, v.source, v.by
      FROM unnest(CAST(:versions AS int[]), CAST(:actions AS text[]), CAST(:rules AS jsonb[]),
                  CAST(:checksums AS text[]), CAST(:diffs AS jsonb[]), CAST(:reasons AS text[]),
                  CAST(:sources AS int[]), CAST(:by AS text[]))
        AS v(version, action, rules, checksum, diff, reason, source, by)
     ORDER BY v.version
        ON CONFLICT (org_id, version) DO NOTHING
    RETURNING version
""")


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the rules, and how it came about."""

    number: int
    action: RulesAction
    rules: Rules
    diff: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    source_version: int | None = None
    #: As it was when it was written; "" before.
    checksum: str = ""
    created_by: str = "system"
    #: None for the built-in rules that nobody changed.
    created_at: datetime | None = None


#: What holds before somebody changed anything.
BUILT_IN = Version(1, RulesAction.BOOTSTRAP, Rules(), checksum=Rules().checksum)


def current(connection: Connection, org_id: UUID) -> Rules:
    """Return the rules in force; the built-in ones before somebody changed any."""
    row = connection.execute(_CURRENT, {"org": org_id}).one_or_none()
    return Rules() if row is None else Rules.read(row.rules)


def current_of(connection: Connection, org_ids: Sequence[UUID]) -> dict[UUID, Rules]:
    """Return the rules in force of many organizations."""
    found = connection.execute(_CURRENT_OF, {"orgs": sorted(set(org_ids))})
    changed = {row.org_id: Rules.read(row.rules) for row in found}
    return {org_id: changed.get(org_id, BUILT_IN.rules) for org_id in org_ids}


def active(connection: Connection, org_id: UUID) -> Version:
    """Return the version in force."""
    row = connection.execute(_ACTIVE, {"org": org_id}).one_or_none()
    return BUILT_IN if row is None else _version(row)


def one(connection: Connection, org_id: UUID, number: int) -> Version | None:
    """Return a version by its number; None when there is none."""
    row = connection.execute(_ONE, {"org": org_id, "version": number}).one_or_none()
    return BUILT_IN if row is None and number == BUILT_IN.number else None if row is None else _version(row)


def page(connection: Connection, org_id: UUID, *, limit: int, offset: int) -> list[Version]:
    """Return a page of the versions, newest first; how many there are is the number of the one in force."""
    found = [_version(row) for row in connection.execute(_PAGE, {"org": org_id, "limit": limit, "offset": offset})]
    is_untouched = not found and offset == 0
    return [BUILT_IN] if is_untouched else found


def keep(connection: Connection, org_id: UUID, version: Version) -> Version | None:
    """Write a version, and the built-in rules before the first; None when somebody wrote that number before."""
    versions = [BUILT_IN, version] if version.number == BUILT_IN.number + 1 else [version]
    values = {
        "versions": [one.number for one in versions],
        "actions": [one.action.value for one in versions],
        "rules": [orjson.dumps(one.rules.stored()).decode() for one in versions],
        "checksums": [one.rules.checksum for one in versions],
        "diffs": [orjson.dumps(dict(one.diff)).decode() for one in versions],
        "reasons": [one.reason for one in versions],
        "sources": [one.source_version for one in versions],
        "by": [one.created_by for one in versions],
    }
    written = {row.version for row in connection.execute(_KEEP, {"org": org_id, **values})}
    return one(connection, org_id, version.number) if version.number in written else None


def _version(row: Row[Any]) -> Version:
    return Version(
        number=row.version,
        action=RulesAction(row.action),
        rules=Rules.read(row.rules),
        diff=row.diff,
        reason=row.reason,
        source_version=row.source_version,
        checksum=row.checksum,
        created_by=row.created_by,
        created_at=row.created_at,
    )
