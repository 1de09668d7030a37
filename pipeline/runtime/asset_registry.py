"""What an organization's mail is read with: its assets and patterns, compiled once per change and process.

A change writes the organization's row anew (`asset_rows.touch`), so that the number of the transaction that wrote it
last (xmin) names the state of the registry: to see that nothing changed costs one look-up for any number of assets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock
from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.core.asset_names import Asset, AssetIndex
from pipeline.core.asset_patterns import MOST_PATTERNS, TagPattern, tag_pattern
from pipeline.core.signals import Known

#: A process may work for several databases one after the other.
_VERSIONS = text("""
    SELECT id, xmin::text || ' ' || (SELECT oid FROM pg_database WHERE datname = current_database()) AS version
      FROM organizations WHERE id = ANY(CAST(:orgs AS uuid[]))
""")
_ASSETS = text("SELECT id, tag, name, aliases, site_id FROM assets WHERE org_id = :org ORDER BY id")
_PATTERNS = text("""
    SELECT pattern, tag FROM asset_patterns WHERE org_id = :org AND is_enabled ORDER BY position, id LIMIT :most
""")


@dataclass(slots=True)
class _Kept:
    """What was compiled of one organization, and of which version of it."""

    guard: Lock = field(default_factory=Lock)
    version: str | None = None
    known: Known | None = None


@lru_cache(maxsize=64)
def _kept(_org_id: UUID) -> _Kept:
    """Return where an organization's is kept; of many organizations, the least used are forgotten."""
    return _Kept()


def known(connection: Connection, org_ids: Collection[UUID]) -> Mapping[UUID, Known]:
    """Return what the mail of each organization is read with, as the transaction sees it."""
    rows = connection.execute(_VERSIONS, {"orgs": sorted(org_ids)}).all()
    return {row.id: _current(connection, row.id, row.version) for row in rows}


def _current(connection: Connection, org_id: UUID, version: str) -> Known:
    kept = _kept(org_id)
    with kept.guard:
        # What is read may be newer than its version says; then it is read once more for nothing.
        if kept.known is None or kept.version != version:
            kept.known, kept.version = _read(connection, org_id), version
        return kept.known


def _read(connection: Connection, org_id: UUID) -> Known:
    # All is read before anything is compiled: that may take longer than a transaction may be idle. What was compiled
    # is kept even where this transaction then ends, so that the next try goes on at once.
    rows = connection.execute(_ASSETS, {"org": org_id}).all()
    patterns = connection.execute(_PATTERNS, {"org": org_id, "most": MOST_PATTERNS}).all()
    index = AssetIndex(Asset(row.id, row.tag, row.name, tuple(row.aliases), row.site_id) for row in rows)
    compiled = (_compiled(row.pattern, row.tag) for row in patterns)
    return Known(index, tuple(pattern for pattern in compiled if pattern is not None))


def _compiled(pattern: str, tag: str) -> TagPattern | None:
    """Return a pattern; None for one that a newer RE2 would not take: mail is read all the same."""
    try:
        return tag_pattern(pattern, tag)
    except ValueError:
        return None
