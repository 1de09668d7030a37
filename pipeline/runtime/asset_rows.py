"""Assets by what reports call them: every spelling of a tag is one asset, and one that nobody entered is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.core.scoring import asset_key
from pipeline.runtime import locks

_ALONE = text("SELECT pg_advisory_xact_lock(:kind, hashtext(:org))")
#: Another version of the organization's row, which tells every reader of mail to read the registry anew.
_TOUCH = text("UPDATE organizations SET name = name WHERE id = :org")
_UNNAMED = text("SELECT id, tag FROM assets WHERE org_id = :org AND slug IS NULL ORDER BY id")
_NAME = text("""
    UPDATE assets SET slug = n.slug FROM unnest(CAST(:ids AS uuid[]), CAST(:slugs AS text[])) AS n(id, slug)
     WHERE assets.id = n.id
""")
#: The one that was entered first, where several spell alike.
_FIND = text("""
    SELECT DISTINCT ON (slug) slug, id FROM assets
     WHERE org_id = :org AND slug = ANY(CAST(:slugs AS text[])) ORDER BY slug, id
""")
_MAKE = text("""
    INSERT INTO assets (org_id, tag, slug, lat, lon, origin)
    SELECT :org, tag, slug, lat, lon, 'signal'
      FROM unnest(CAST(:tags AS text[]), CAST(:slugs AS text[]), CAST(:lats AS float8[]), CAST(:lons AS float8[]))
        AS n(tag, slug, lat, lon)
     ORDER BY slug
        ON CONFLICT (org_id, tag) DO NOTHING
    RETURNING slug, id
""")


@dataclass(frozen=True, slots=True)
class Reported:
    """An asset as a report names it."""

    tag: str
    lat: float | None = None
    lon: float | None = None


def ensure(
    connection: Connection, org_id: UUID, reported: Mapping[str, Reported], known: Mapping[str, UUID]
) -> dict[str, UUID]:
    """Return the asset of each key (`scoring.asset_key`), beside those that are known; who nobody entered is made.

    Makers wait for each other, so that two spellings at once are one asset.
    """
    found = dict(known)
    if len(found) < len(reported):
        alone(connection, org_id)
        found = _found(connection, org_id, list(reported))
        missing = {key: one for key, one in reported.items() if key not in found}
        if missing:
            touch(connection, org_id)
            found |= _made(connection, org_id, missing)
    return found


def alone(connection: Connection, org_id: UUID) -> None:
    """Wait for others who make or name assets of an organization; every asset has its slug afterwards.

    Comes before any lock on an asset.
    """
    connection.execute(_ALONE, {"kind": locks.ASSETS, "org": str(org_id)})
    _name_all(connection, org_id)


def touch(connection: Connection, org_id: UUID) -> None:
    """Have mail read with what this transaction changes of names and patterns, from its commit on."""
    connection.execute(_TOUCH, {"org": org_id})


def _found(connection: Connection, org_id: UUID, keys: list[str]) -> dict[str, UUID]:
    return {row.slug: row.id for row in connection.execute(_FIND, {"org": org_id, "slugs": keys})}


def _name_all(connection: Connection, org_id: UUID) -> None:
    rows = connection.execute(_UNNAMED, {"org": org_id}).all()
    if rows:
        values = {"ids": [row.id for row in rows], "slugs": [asset_key(row.tag) for row in rows]}
        connection.execute(_NAME, values)


def _made(connection: Connection, org_id: UUID, missing: Mapping[str, Reported]) -> dict[str, UUID]:
    keys = sorted(missing)
    values = {
        "org": org_id,
        "slugs": keys,
        "tags": [missing[key].tag.strip() or key for key in keys],
        "lats": [missing[key].lat for key in keys],
        "lons": [missing[key].lon for key in keys],
    }
    return {row.slug: row.id for row in connection.execute(_MAKE, values)}
