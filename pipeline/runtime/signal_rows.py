"""Signals that programs report: each id once, in its newest version, about assets of any spelling (contract 003)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.core.scoring import Signal, asset_key
from pipeline.runtime import asset_rows, case_rows
from pipeline.runtime.asset_rows import Reported

#: What is told again is written again only where it differs; a report that names another asset moves there.
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
            case_id = CASE WHEN signals.asset_id = excluded.asset_id THEN signals.case_id END
      WHERE (signals.asset_id, signals.source, signals.at, signals.status, signals.text, signals.lat, signals.lon)
            IS DISTINCT FROM (excluded.asset_id, excluded.source, excluded.at, excluded.status, excluded.text,
                              excluded.lat, excluded.lon)
""")
_KNOWN = text("""
    SELECT DISTINCT asset_id FROM signals WHERE org_id = :org AND external_id = ANY(CAST(:ids AS text[]))
""")


def report(connection: Connection, org_id: UUID, signals: Sequence[Signal]) -> list[UUID]:
    """Keep what programs report; return the assets that must be assessed anew, which are locked.

    `signals` are settled: each id once (`scoring.settled`), with times that have a zone.
    """
    if not signals:
        return []
    keys = {signal.signal_id: asset_key(signal.asset) for signal in signals}
    named = {keys[one.signal_id]: Reported(one.asset, one.lat, one.lon) for one in reversed(signals)}
    assets = asset_rows.ensure(connection, org_id, named)
    values = {"org": org_id, "ids": [signal.signal_id for signal in signals]}
    # A report that is moved leaves the case of its asset of before changed, too.
    known = set(connection.execute(_KNOWN, values).scalars())
    touched = sorted({assets[key] for key in keys.values()} | known)
    case_rows.lock(connection, touched)
    connection.execute(_KEEP, values | _columns(signals, [assets[keys[one.signal_id]] for one in signals]))
    return touched


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
