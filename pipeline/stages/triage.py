"""Triage: signals about known assets out of the text, and the case they make, with priority and certainty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import AssessedBecause, DispatchState, SignalSource
from models.lifecycle import AUTOMATIC_TRIAGE
from pipeline.core import signals
from pipeline.runtime import automatic_moves, case_rows, regrouping
from pipeline.runtime.automatic_moves import Moved
from pipeline.runtime.case_rows import Assessed
from pipeline.runtime.jobs import Emit, Job
from pipeline.stage import Stage, Work, each

_LOAD = text("""
    SELECT m.id, m.org_id, m.subject, m.from_address, m.received_at, c.body_text
      FROM messages m JOIN message_contents c ON c.message_id = m.id
     WHERE m.id = ANY(CAST(:ids AS bigint[]))
""")
_ASSETS = text("SELECT id, tag, name, aliases FROM assets WHERE org_id = :org ORDER BY id")
_INSERT = text("""
    INSERT INTO signals (org_id, asset_id, source, reporter, message_id, at, status, text, span, rules_version)
    SELECT org_id, asset_id, :source, reporter, message_id, at, status, quote, ARRAY[span_start, span_end], :version
      FROM unnest(CAST(:org_id AS uuid[]), CAST(:asset_id AS uuid[]), CAST(:reporter AS text[]),
                  CAST(:message_id AS bigint[]), CAST(:at AS timestamptz[]), CAST(:status AS text[]),
                  CAST(:quote AS text[]), CAST(:span_start AS int[]), CAST(:span_end AS int[]))
        AS t(org_id, asset_id, reporter, message_id, at, status, quote, span_start, span_end)
        ON CONFLICT (message_id, asset_id) DO NOTHING
""")
_TRIAGED = text("""
    UPDATE tickets SET dispatch_state = 'TRIAGED', version = version + 1
     WHERE id = ANY(CAST(:ids AS uuid[])) AND dispatch_state = 'NEW'
    RETURNING id, org_id
""")
_NEW_STATE, _TRIAGED_STATE = DispatchState.NEW.value, DispatchState.TRIAGED.value


@dataclass(frozen=True, slots=True)
class Report:
    """One message's text, and its organization's assets by name."""

    row: Any
    index: signals.AssetIndex


@lru_cache(maxsize=64)
def _index(assets: tuple[signals.Asset, ...]) -> signals.AssetIndex:
    """Compile an organization's assets once per change of them."""
    return signals.AssetIndex(assets)


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Report]:
    """Return the texts of organizations that have assets; without assets there is nothing to recognise."""
    orgs = sorted({job.org_id for job in jobs})
    indexes = {org_id: _index(_assets(connection, org_id)) for org_id in orgs}
    rows = {str(row.id): row for row in connection.execute(_LOAD, {"ids": [int(job.key) for job in jobs]})}
    return {job.job_id: Report(rows[job.key], indexes[job.org_id]) for job in jobs if job.key in rows}


def _assets(connection: Connection, org_id: UUID) -> tuple[signals.Asset, ...]:
    rows = connection.execute(_ASSETS, {"org": org_id})
    return tuple(signals.Asset(row.id, row.tag, row.name, tuple(row.aliases)) for row in rows)


def _extract(report: Report) -> list[signals.Extraction]:
    return signals.extract(report.row.subject, report.row.body_text, report.index)


def save(connection: Connection, works: Sequence[Work[Report, list[signals.Extraction]]]) -> Sequence[Emit]:
    """Keep the signals, assess every asset they touch anew, and ask for dispatch."""
    found = [(done, extraction) for done in works for extraction in done.result]
    if not found:
        return []
    asset_ids = sorted({extraction.asset_id for _, extraction in found})
    case_rows.lock(connection, asset_ids)
    connection.execute(_INSERT, _columns(found))
    assessed = case_rows.assess(connection, asset_ids, AssessedBecause.SIGNALS)
    places = regrouping.lock_tickets_of(connection, sorted({done.item.row.id for done, _ in found}))
    traces = {places[done.item.row.id]: done.job.trace_id for done, _ in found if done.item.row.id in places}
    triaged = connection.execute(_TRIAGED, {"ids": sorted(traces)})
    moved = [Moved(row.org_id, row.id, _NEW_STATE, _TRIAGED_STATE, traces[row.id]) for row in triaged]
    automatic_moves.record(connection, moved, AUTOMATIC_TRIAGE)
    return _dispatches(found, assessed)


def _columns(found: Iterable[tuple[Work[Report, Any], signals.Extraction]]) -> dict[str, Any]:
    pairs = sorted(found, key=lambda pair: (pair[0].item.row.id, pair[1].asset_id))
    return {
        "source": SignalSource.MAIL.value,
        "version": signals.RULES_VERSION,
        "org_id": [done.item.row.org_id for done, _ in pairs],
        "asset_id": [extraction.asset_id for _, extraction in pairs],
        "reporter": [done.item.row.from_address or "" for done, _ in pairs],
        "message_id": [done.item.row.id for done, _ in pairs],
        "at": [done.item.row.received_at for done, _ in pairs],
        "status": [extraction.status.value for _, extraction in pairs],
        "quote": [extraction.quote for _, extraction in pairs],
        "span_start": [extraction.span.start for _, extraction in pairs],
        "span_end": [extraction.span.end for _, extraction in pairs],
    }


def _dispatches(
    found: Sequence[tuple[Work[Report, Any], signals.Extraction]], assessed: Sequence[Assessed]
) -> list[Emit]:
    """Send on the cases that ask for a technician, each under the trace of its newest message."""
    asking = {one.asset_id: one.case_id for one in case_rows.to_dispatch(assessed)}
    by_age = sorted(found, key=lambda pair: pair[0].item.row.received_at)
    newest = {extraction.asset_id: done for done, extraction in by_age}
    return [done.job.then("dispatch", str(asking[asset])) for asset, done in newest.items() if asset in asking]


STAGE = Stage(
    name="triage",
    about="Signals about known assets, and the case they make.",
    load=load,
    work=each(_extract),
    save=save,
    emits=("dispatch",),
    batch=200,
)
