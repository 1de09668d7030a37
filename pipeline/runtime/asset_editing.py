"""Assets and patterns as people enter them: one by one, and by the hundred thousand; slugs are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from pipeline.core.asset_files import AssetRow, Problem
from pipeline.core.scoring import asset_key

_ASSET_COLUMNS = frozenset({"tag", "name", "aliases", "kind", "zone", "lat", "lon", "site_id"})
_PATTERN_COLUMNS = frozenset({"pattern", "tag", "position", "is_enabled"})
_LOCK = text("SELECT id, tag FROM assets WHERE org_id = :org AND id = :id FOR NO KEY UPDATE")
_ADD = text("""
    INSERT INTO assets (org_id, tag, slug, name, aliases, kind, zone, lat, lon, site_id)
    VALUES (:org, :tag, :slug, :name, CAST(:aliases AS text[]), :kind, :zone, :lat, :lon, :site_id) RETURNING id
""")
#: Whoever changes it has entered it.
_CHANGE = "UPDATE assets SET origin = 'registry', {sets} WHERE id = :id"
#: Another one that is spelt so.
_SPELT = text("SELECT tag FROM assets WHERE org_id = :org AND slug = :slug AND id IS DISTINCT FROM :id LIMIT 1")
_IS_SITE = text("SELECT EXISTS (SELECT FROM sites WHERE org_id = :org AND id = :id)")
_SITES = text("""
    SELECT lower(name) AS called, array_agg(id) AS ids FROM sites
     WHERE org_id = :org AND lower(name) = ANY(CAST(:names AS text[])) GROUP BY 1
     UNION ALL
    SELECT id::text, ARRAY[id] FROM sites WHERE org_id = :org AND id::text = ANY(CAST(:names AS text[]))
""")
_TAGS = text("""
    SELECT DISTINCT ON (slug) slug, tag FROM assets
     WHERE org_id = :org AND slug = ANY(CAST(:slugs AS text[])) ORDER BY slug, (tag = ANY(CAST(:tags AS text[]))) DESC
""")
_ROWS = """
    unnest(CAST(:tags AS text[]), CAST(:slugs AS text[]), CAST(:names AS text[]), CAST(:aliases AS text[]),
           CAST(:kinds AS text[]), CAST(:zones AS text[]), CAST(:lats AS float8[]), CAST(:lons AS float8[]),
           CAST(:sites AS uuid[]))
        AS n(tag, slug, name, aliases, kind, zone, lat, lon, site_id)
"""
_ALIASES = "coalesce(string_to_array(nullif(n.aliases, ''), ';'), '{}')"
#: What a file has no column for stays; what is the same already is not written.
_IMPORT = text(f"""
    WITH given AS (
        SELECT n.tag, n.slug,
               CASE WHEN :has_name OR a.id IS NULL THEN n.name ELSE a.name END AS name,
               CASE WHEN :has_aliases OR a.id IS NULL THEN {_ALIASES} ELSE a.aliases END AS aliases,
               CASE WHEN :has_kind OR a.id IS NULL THEN n.kind ELSE a.kind END AS kind,
               CASE WHEN :has_zone OR a.id IS NULL THEN n.zone ELSE a.zone END AS zone,
               CASE WHEN :has_lat OR a.id IS NULL THEN n.lat ELSE a.lat END AS lat,
               CASE WHEN :has_lon OR a.id IS NULL THEN n.lon ELSE a.lon END AS lon,
               CASE WHEN :has_site OR a.id IS NULL THEN n.site_id ELSE a.site_id END AS site_id
          FROM {_ROWS} LEFT JOIN assets a ON a.org_id = :org AND a.tag = n.tag
    ), written AS (
        INSERT INTO assets (org_id, tag, slug, name, aliases, kind, zone, lat, lon, site_id)
        SELECT :org, tag, slug, name, aliases, kind, zone, lat, lon, site_id FROM given ORDER BY tag
            ON CONFLICT (org_id, tag) DO UPDATE SET
                name = excluded.name, aliases = excluded.aliases, kind = excluded.kind, zone = excluded.zone,
                lat = excluded.lat, lon = excluded.lon, site_id = excluded.site_id, origin = 'registry'
          WHERE (assets.name, assets.aliases, assets.kind, assets.zone, assets.lat, assets.lon, assets.site_id,
                 assets.origin)
                IS DISTINCT FROM (excluded.name, excluded.aliases, excluded.kind, excluded.zone, excluded.lat,
                                  excluded.lon, excluded.site_id, 'registry')
        RETURNING xmax = 0 AS is_new
    )
    SELECT count(*) FILTER (WHERE is_new) AS added, count(*) FILTER (WHERE NOT is_new) AS changed FROM written
""")  # noqa: S608 - from above
_LOCK_PATTERN = text(
    "SELECT id, pattern, tag, is_enabled FROM asset_patterns WHERE org_id = :org AND id = :id FOR NO KEY UPDATE"
)
_ADD_PATTERN = text("""
    INSERT INTO asset_patterns (org_id, pattern, tag, position, is_enabled, created_by)
    VALUES (:org, :pattern, :tag, :position, :is_enabled, :by)
        ON CONFLICT (org_id, pattern) DO NOTHING RETURNING id
""")
_CHANGE_PATTERN = "UPDATE asset_patterns SET {sets} WHERE id = :id"
_COUNT_PATTERNS = text("SELECT count(*) FROM asset_patterns WHERE org_id = :org AND is_enabled")


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: rows that were the same already are neither."""

    added: int
    changed: int


def lock(connection: Connection, org_id: UUID, asset_id: UUID) -> Row[Any] | None:
    """Lock an asset of an organization; return its id and tag."""
    return connection.execute(_LOCK, {"org": org_id, "id": asset_id}).one_or_none()


def spelt_alike(connection: Connection, org_id: UUID, tag: str, asset_id: UUID | None = None) -> str | None:
    """Return the tag of another asset that reports and mails could not tell from this one."""
    values = {"org": org_id, "slug": asset_key(tag), "id": asset_id}
    found: str | None = connection.execute(_SPELT, values).scalar_one_or_none()
    return found


def is_site(connection: Connection, org_id: UUID, site_id: UUID) -> bool:
    """Say whether an organization has a site."""
    return bool(connection.execute(_IS_SITE, {"org": org_id, "id": site_id}).scalar_one())


def add(connection: Connection, org_id: UUID, values: Mapping[str, Any]) -> UUID:
    """Add an asset. Raises IntegrityError for a tag that is there."""
    found: UUID = connection.execute(_ADD, {**values, "org": org_id, "slug": asset_key(values["tag"])}).scalar_one()
    return found


def change(connection: Connection, asset_id: UUID, values: Mapping[str, Any]) -> None:
    """Change columns of a locked asset. Raises IntegrityError for the tag of another."""
    slug = {"slug": asset_key(values["tag"])} if "tag" in values else {}
    sets = _sets({**values, **slug}, _ASSET_COLUMNS | {"slug"})
    connection.execute(text(_CHANGE.format(sets=sets)), {**values, **slug, "id": asset_id})


def import_rows(
    connection: Connection, org_id: UUID, columns: frozenset[str], rows: Sequence[AssetRow]
) -> Imported | list[Problem]:
    """Write all rows, by tag, or none; return what is wrong with them where something is."""
    sites, problems = _sites(connection, org_id, rows)
    problems += _misspelt(connection, org_id, rows)
    if problems:
        return sorted(problems, key=lambda one: one.line)
    values = {
        "org": org_id,
        **{f"has_{name}": name in columns for name in ("name", "aliases", "kind", "zone", "lat", "lon", "site")},
        "tags": [row.tag for row in rows],
        "slugs": [asset_key(row.tag) for row in rows],
        "names": [row.name for row in rows],
        "aliases": [";".join(row.aliases) for row in rows],
        "kinds": [row.kind for row in rows],
        "zones": [row.zone for row in rows],
        "lats": [row.lat for row in rows],
        "lons": [row.lon for row in rows],
        "sites": [None if row.site is None else sites[row.site.lower()] for row in rows],
    }
    done = connection.execute(_IMPORT, values).one()
    return Imported(done.added, done.changed)


def lock_pattern(connection: Connection, org_id: UUID, pattern_id: UUID) -> Row[Any] | None:
    """Lock a pattern of an organization."""
    return connection.execute(_LOCK_PATTERN, {"org": org_id, "id": pattern_id}).one_or_none()


def enabled_patterns(connection: Connection, org_id: UUID) -> int:
    """Return how many patterns mails are searched for."""
    return int(connection.execute(_COUNT_PATTERNS, {"org": org_id}).scalar_one())


def add_pattern(connection: Connection, org_id: UUID, values: Mapping[str, Any], by: str) -> UUID | None:
    """Add a pattern; None for one that is there."""
    found: UUID | None = connection.execute(_ADD_PATTERN, {**values, "org": org_id, "by": by}).scalar_one_or_none()
    return found


def change_pattern(connection: Connection, pattern_id: UUID, values: Mapping[str, Any]) -> None:
    """Change columns of a locked pattern. Raises IntegrityError for the pattern of another."""
    sets = _sets(values, _PATTERN_COLUMNS)
    connection.execute(text(_CHANGE_PATTERN.format(sets=sets)), {**values, "id": pattern_id})


def _sets(values: Mapping[str, Any], known: frozenset[str]) -> str:
    unknown = set(values) - known
    if unknown:
        raise ValueError(f"not to be changed: {', '.join(sorted(unknown))}")
    return ", ".join(f"{name} = :{name}" for name in sorted(values))


def _sites(connection: Connection, org_id: UUID, rows: Sequence[AssetRow]) -> tuple[dict[str, UUID], list[Problem]]:
    """Return the site of each name or id that rows tell, and what is wrong with the rest."""
    names = sorted({row.site.lower() for row in rows if row.site is not None})
    if not names:
        return {}, []
    found = {row.called: row.ids for row in connection.execute(_SITES, {"org": org_id, "names": names})}
    problems = [
        Problem(
            row.line,
            f"your organization has {'several sites' if row.site.lower() in found else 'no site'} {row.site!r}",
        )
        for row in rows
        if row.site is not None and len(found.get(row.site.lower(), ())) != 1
    ]
    return {name: ids[0] for name, ids in found.items()}, problems


def _misspelt(connection: Connection, org_id: UUID, rows: Sequence[AssetRow]) -> list[Problem]:
    """Return the rows whose tag is another spelling of one that is there."""
    values = {"org": org_id, "slugs": [asset_key(row.tag) for row in rows], "tags": [row.tag for row in rows]}
    there = {row.slug: row.tag for row in connection.execute(_TAGS, values)}
    return [
        Problem(row.line, f"{row.tag!r} is another spelling of {tag!r}, which is there")
        for row in rows
        if (tag := there.get(asset_key(row.tag), row.tag)) != row.tag
    ]
