"""Signals that programs report: each id once, in its newest version, about assets of any spelling (contract 003)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from pipeline.core.scoring import Signal, asset_key
from pipeline.runtime import asset_rows, case_rows
from pipeline.runtime.asset_rows import Reported

#: What is told again is written again only where it differs; a report that names another asset moves there. An older
#: version comes too late, whatever way it took: so the order of calls leaves no trace.
#: A newer version of what belongs to a case that ended before it is about the next trouble.
_KEEP = text("""
    INSERT INTO signals (org_id, asset_id, source, external_id, at, status, text, lat, lon, rules_version, extracted_by)
    SELECT :org, asset_id, source, external_id, at, status, said, lat, lon, 0, 'api'
      FROM unnest(CAST(:assets AS uuid[]), CAST(:sources AS text[]), CAST(:ids AS text[]),
                  CAST(:times AS timestamptz[]), CAST(:statuses AS text[]), CAST(:texts AS text[]),
                  CAST(:lats AS float8[]), CAST(:lons AS float8[]))
        AS n(asset_id, source, external_id, at, status, said, lat, lon)
     ORDER BY external_id
        ON CONFLICT (org_id, external_id) WHERE external_id IS NOT NULL DO UPDATE SET
            asset_id = excluded.asset_id, source = excluded.source, at = excluded.at, status = excluded.status,
            text = excluded.text, lat = excluded.lat, lon = excluded.lon,
            case_id = CASE WHEN signals.asset_id = excluded.asset_id AND NOT EXISTS (
                                    SELECT FROM cases k WHERE k.id = signals.case_id AND k.closed_at < excluded.at)
                           THEN signals.case_id END
      WHERE signals.at <= excluded.at AND signals.asset_id = ANY(CAST(:locked AS uuid[]))
        AND (signals.asset_id, signals.source, signals.at, signals.status, signals.text, signals.lat, signals.lon)
            IS DISTINCT FROM (excluded.asset_id, excluded.source, excluded.at, excluded.status, excluded.text,
                              excluded.lat, excluded.lon)
    RETURNING external_id
""")
#: What a call about reports begins with: the assets that it names, and those that its reports were about until now.
_SEEN = text("""
    SELECT now() AS now, CAST(NULL AS text) AS slug, CAST(NULL AS uuid) AS asset_id
     UNION ALL
    (SELECT DISTINCT ON (slug) CAST(NULL AS timestamptz), slug, id FROM assets
      WHERE org_id = :org AND slug = ANY(CAST(:slugs AS text[])) ORDER BY slug, id)
     UNION ALL
    (SELECT DISTINCT CAST(NULL AS timestamptz), CAST(NULL AS text), asset_id FROM signals
      WHERE org_id = :org AND external_id = ANY(CAST(:ids AS text[])))
""")
_KNOWN = text("""
    SELECT DISTINCT asset_id FROM signals WHERE org_id = :org AND external_id = ANY(CAST(:ids AS text[]))
""")


@dataclass(frozen=True, slots=True)
class Seen:
    """Reports as they stood before anything was locked, and the time."""

    now: datetime
    signals: Sequence[Signal]
    #: By `scoring.asset_key`, those that are there.
    assets: Mapping[str, UUID]
    #: What was told before was about these.
    before: frozenset[UUID]


class _Elsewhere(Exception):
    """Some reports are about assets that are not locked."""

    def __init__(self, asset_ids: set[UUID]) -> None:
        super().__init__()
        self.asset_ids = asset_ids


def look(connection: Connection, org_id: UUID, signals: Sequence[Signal]) -> Seen:
    """Look at what is reported: signals that are settled (`scoring.settled`), each id once, with times in a zone."""
    keys = sorted({asset_key(signal.asset) for signal in signals})
    values = {"org": org_id, "slugs": keys, "ids": [signal.signal_id for signal in signals]}
    rows = connection.execute(_SEEN, values).all()
    assets = {row.slug: row.asset_id for row in rows if row.slug is not None}
    before = {row.asset_id for row in rows if row.slug is None and row.asset_id is not None}
    return Seen(next(row.now for row in rows if row.now is not None), signals, assets, frozenset(before))


def report(connection: Connection, org_id: UUID, seen: Seen) -> list[Row[Any]]:
    """Keep what programs report; return the assets that must be assessed anew, as `case_rows.lock` returns them.

    A report that is moved leaves the case of its asset of before changed, too.
    """
    signals = seen.signals
    if not signals:
        return []
    keys = {signal.signal_id: asset_key(signal.asset) for signal in signals}
    named = {keys[one.signal_id]: Reported(one.asset, one.lat, one.lon) for one in reversed(signals)}
    assets = asset_rows.ensure(connection, org_id, named, seen.assets)
    values = {"org": org_id, "ids": list(keys), **_columns(signals, [assets[key] for key in keys.values()])}
    wanted = {*assets.values(), *seen.before}
    # What nobody had told was about no asset: only who tells it at the same moment can have it about another one.
    return _moved(connection, values, wanted) if seen.before else _new(connection, values, wanted)


def _moved(connection: Connection, values: Mapping[str, Any], wanted: set[UUID]) -> list[Row[Any]]:
    """Keep reports of which some were there; return the assets that are locked.

    Some may be about further assets by now. Locks come by id, so all of them are given back and taken anew.
    """
    while True:
        try:
            with connection.begin_nested():
                return _all_locked(connection, values, wanted)
        except _Elsewhere as elsewhere:
            wanted |= elsewhere.asset_ids


def _all_locked(connection: Connection, values: Mapping[str, Any], wanted: set[UUID]) -> list[Row[Any]]:
    """Keep reports while all assets that they are about are locked. Raises `_Elsewhere`."""
    locked = case_rows.lock(connection, wanted)
    if late := _kept(connection, values, wanted):
        raise _Elsewhere(late)
    return locked


def _new(connection: Connection, values: Mapping[str, Any], wanted: set[UUID]) -> list[Row[Any]]:
    """Keep reports that were not there a moment ago; return the assets that are locked."""
    locked = case_rows.lock(connection, wanted)
    while late := _kept(connection, values, {row.id for row in locked}):
        locked += case_rows.lock(connection, late)
    return locked


def _kept(connection: Connection, values: Mapping[str, Any], locked: Set[UUID]) -> set[UUID]:
    """Keep reports; return further assets that some were about meanwhile, which must be locked before these move."""
    written = set(connection.execute(_KEEP, {**values, "locked": list(locked)}).scalars())
    rest = [signal_id for signal_id in values["ids"] if signal_id not in written]
    if not rest:
        return set()
    return set(connection.execute(_KNOWN, {"org": values["org"], "ids": rest}).scalars()) - locked


def _columns(signals: Sequence[Signal], asset_ids: Sequence[UUID]) -> dict[str, Any]:
    return {
        "assets": list(asset_ids),
        "sources": [signal.source for signal in signals],
        "times": [signal.at for signal in signals],
        "statuses": [signal.status.value for signal in signals],
        "texts": [signal.text for signal in signals],
        "lats": [signal.lat for signal in signals],
        "lons": [signal.lon for signal in signals],
    }
