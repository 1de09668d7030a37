"""Reads of the registry: assets by tag, and the patterns of tags in the order they are tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

_COLUMNS = """
    a.id, a.tag, a.name, a.aliases, a.kind, a.zone, a.lat, a.lon, a.site_id, s.name AS site, a.origin, a.created_at
"""
_PAGE = text(f"""
    SELECT {_COLUMNS} FROM assets a LEFT JOIN sites s ON s.id = a.site_id
     WHERE a.org_id = :org
       AND (CAST(:after AS text) IS NULL OR a.tag > :after)
       AND (CAST(:site AS uuid) IS NULL OR a.site_id = :site)
       AND (CAST(:words AS text) IS NULL OR position(lower(:words) IN lower(a.tag)) > 0
            OR position(lower(:words) IN lower(a.name)) > 0
            OR position(lower(:words) IN lower(array_to_string(a.aliases, ' '))) > 0)
     ORDER BY a.tag LIMIT :limit
""")  # noqa: S608 - columns from above
_ONE = text(f"""
    SELECT {_COLUMNS} FROM assets a LEFT JOIN sites s ON s.id = a.site_id WHERE a.org_id = :org AND a.id = :id
""")  # noqa: S608 - columns from above
_BY_TAG = text("SELECT id FROM assets WHERE org_id = :org AND tag = :tag")
_PATTERN_COLUMNS = "id, pattern, tag, position, is_enabled, created_by, created_at"
_PATTERNS = text(f"""
    SELECT {_PATTERN_COLUMNS} FROM asset_patterns
     WHERE org_id = :org
       AND (CAST(:position AS int) IS NULL OR (position, id) > (:position, CAST(:after AS uuid)))
     ORDER BY position, id LIMIT :limit
""")  # noqa: S608 - columns from above
_PATTERN = text(f"""
    SELECT {_PATTERN_COLUMNS} FROM asset_patterns WHERE org_id = :org AND id = :id
""")  # noqa: S608 - columns from above


@dataclass(frozen=True, slots=True)
class AssetRow:
    """One asset of the registry."""

    id: UUID
    tag: str
    name: str
    aliases: list[str]
    kind: str
    zone: str | None
    lat: float | None
    lon: float | None
    site_id: UUID | None
    site: str | None
    #: registry: somebody entered it; signal: a report named it.
    origin: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PatternRow:
    """How tags are written: an RE2 expression, and the tag that its groups make."""

    id: UUID
    pattern: str
    tag: str
    position: int
    is_enabled: bool
    created_by: str
    created_at: datetime


def assets(
    connection: Connection,
    org_id: UUID,
    *,
    after: str | None = None,
    site_id: UUID | None = None,
    words: str | None = None,
    limit: int,
) -> list[AssetRow]:
    """Return assets by tag after one; `words` is part of a tag, a name or an alias."""
    values = {"org": org_id, "after": after, "site": site_id, "words": words, "limit": limit}
    return [AssetRow(*row) for row in connection.execute(_PAGE, values)]


def asset(connection: Connection, org_id: UUID, asset_id: UUID) -> AssetRow | None:
    """Return an asset of an organization."""
    row = connection.execute(_ONE, {"org": org_id, "id": asset_id}).one_or_none()
    return None if row is None else AssetRow(*row)


def by_tag(connection: Connection, org_id: UUID, tag: str) -> UUID | None:
    """Return the asset of a tag as it is written."""
    found: UUID | None = connection.execute(_BY_TAG, {"org": org_id, "tag": tag}).scalar_one_or_none()
    return found


def patterns(
    connection: Connection, org_id: UUID, *, after: tuple[int, UUID] | None = None, limit: int
) -> Sequence[PatternRow]:
    """Return patterns in the order they are tried, those that are off among them."""
    position, last = after or (None, None)
    values = {"org": org_id, "position": position, "after": last, "limit": limit}
    return [PatternRow(*row) for row in connection.execute(_PATTERNS, values)]


def pattern(connection: Connection, org_id: UUID, pattern_id: UUID) -> PatternRow | None:
    """Return a pattern of an organization."""
    row = connection.execute(_PATTERN, {"org": org_id, "id": pattern_id}).one_or_none()
    return None if row is None else PatternRow(*row)
