"""Triage: signals about known assets out of the text, and the case they make, with priority and certainty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import DispatchState, RecommendedAction, SignalSource, SignalStatus, TriageMode
from models.lifecycle import AUTOMATIC_TRIAGE
from pipeline.core import scoring, signals
from pipeline.core.policies import OrganizationPolicy
from pipeline.runtime import automatic_moves, regrouping
from pipeline.runtime.automatic_moves import Moved
from pipeline.runtime.jobs import Emit, Job
from pipeline.stage import Stage, Work, each

_LOAD = text("""
    SELECT m.id, m.org_id, m.subject, m.from_address, m.received_at, c.body_text
      FROM messages m JOIN message_contents c ON c.message_id = m.id
     WHERE m.id = ANY(CAST(:ids AS bigint[]))
""")
_ASSETS = text("SELECT id, tag, name, aliases FROM assets WHERE org_id = :org ORDER BY id")
_POLICIES = text("SELECT id, policy FROM organizations WHERE id = ANY(CAST(:ids AS uuid[]))")
_LOCK_ASSETS = text("""
    SELECT id, org_id, tag, lat, lon FROM assets WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR NO KEY UPDATE
""")
_INSERT = text("""
    INSERT INTO signals (org_id, asset_id, source, reporter, message_id, at, status, text, span, rules_version)
    SELECT org_id, asset_id, :source, reporter, message_id, at, status, quote, ARRAY[span_start, span_end], :version
      FROM unnest(CAST(:org_id AS uuid[]), CAST(:asset_id AS uuid[]), CAST(:reporter AS text[]),
                  CAST(:message_id AS bigint[]), CAST(:at AS timestamptz[]), CAST(:status AS text[]),
                  CAST(:quote AS text[]), CAST(:span_start AS int[]), CAST(:span_end AS int[]))
        AS t(org_id, asset_id, reporter, message_id, at, status, quote, span_start, span_end)
        ON CONFLICT (message_id, asset_id) DO NOTHING
""")
_OPEN = text("""
    SELECT id, asset_id FROM cases WHERE asset_id = ANY(CAST(:ids AS uuid[])) AND mode = :mode AND state = 'open'
""")
_EVIDENCE = text("""
    SELECT id, asset_id, source, reporter, at, status, text FROM signals
     WHERE asset_id = ANY(CAST(:ids AS uuid[])) AND (case_id IS NULL OR case_id = ANY(CAST(:cases AS uuid[])))
     ORDER BY at, id
""")
_UPSERT = text("""
    INSERT INTO cases (org_id, asset_id, mode, priority_score, sla_hours, root_cause_tag, confidence,
                       recommended_action, grid_stress_level, explanation, uncertainty_reasons,
                       verification_required, assessed_at)
    VALUES (:org_id, :asset_id, :mode, :priority_score, :sla_hours, :root_cause_tag, :confidence,
            :recommended_action, :grid_stress_level, :explanation, :uncertainty_reasons, :verification_required, now())
        ON CONFLICT (org_id, asset_id, mode) WHERE state = 'open' DO UPDATE SET
            priority_score = excluded.priority_score, sla_hours = excluded.sla_hours,
            root_cause_tag = excluded.root_cause_tag, confidence = excluded.confidence,
            recommended_action = excluded.recommended_action, grid_stress_level = excluded.grid_stress_level,
            explanation = excluded.explanation, uncertainty_reasons = excluded.uncertainty_reasons,
            verification_required = excluded.verification_required, assessed_at = now(), version = cases.version + 1
    RETURNING id
""")
_ATTACH = text("""
    UPDATE signals SET case_id = t.case_id
      FROM unnest(CAST(:assets AS uuid[]), CAST(:cases AS uuid[])) AS t(asset_id, case_id)
     WHERE signals.asset_id = t.asset_id AND signals.case_id IS NULL
""")
_VERIFY = text("""
    INSERT INTO verification_tasks (org_id, case_id, question, owner)
    SELECT org, case_id, question, owner
      FROM unnest(CAST(:orgs AS uuid[]), CAST(:cases AS uuid[]), CAST(:questions AS text[]), CAST(:owners AS text[]))
        AS t(org, case_id, question, owner)
        ON CONFLICT (case_id) WHERE status = 'open' DO NOTHING
""")
_TRIAGED = text("""
    UPDATE tickets SET dispatch_state = 'TRIAGED', version = version + 1
     WHERE id = ANY(CAST(:ids AS uuid[])) AND dispatch_state = 'NEW'
    RETURNING id, org_id
""")
_NEW_STATE, _TRIAGED_STATE = DispatchState.NEW.value, DispatchState.TRIAGED.value


@dataclass(frozen=True, slots=True)
class Report:
    """One message's text, its organization's assets by name, and its organization's policy."""

    row: Any
    index: signals.AssetIndex
    policy: OrganizationPolicy


@dataclass(frozen=True, slots=True)
class Assessed:
    """A case as it was assessed, and the asset it is about."""

    org_id: UUID
    asset_id: UUID
    mode: TriageMode
    case: scoring.Case


@lru_cache(maxsize=64)
def _index(assets: tuple[signals.Asset, ...]) -> signals.AssetIndex:
    """Compile an organization's assets once per change of them."""
    return signals.AssetIndex(assets)


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Report]:
    """Return the texts of organizations that have assets; without assets there is nothing to recognise."""
    orgs = sorted({job.org_id for job in jobs})
    indexes = {org_id: _index(_assets(connection, org_id)) for org_id in orgs}
    policies = {row.id: OrganizationPolicy.read(row.policy) for row in connection.execute(_POLICIES, {"ids": orgs})}
    rows = {str(row.id): row for row in connection.execute(_LOAD, {"ids": [int(job.key) for job in jobs]})}
    return {
        job.job_id: Report(rows[job.key], indexes[job.org_id], policies[job.org_id]) for job in jobs if job.key in rows
    }


def _assets(connection: Connection, org_id: UUID) -> tuple[signals.Asset, ...]:
    rows = connection.execute(_ASSETS, {"org": org_id})
    return tuple(signals.Asset(row.id, row.tag, row.name, tuple(row.aliases)) for row in rows)


def _extract(report: Report) -> list[signals.Extraction]:
    return signals.extract(report.row.subject, report.row.body_text, report.index)


def save(connection: Connection, works: Sequence[Work[Report, list[signals.Extraction]]]) -> Sequence[Emit]:
    """Keep the signals, assess every asset they touch anew, and ask for dispatch or verification."""
    found = [(done, extraction) for done in works for extraction in done.result]
    if not found:
        return []
    asset_ids = sorted({extraction.asset_id for _, extraction in found})
    assets = {row.id: row for row in connection.execute(_LOCK_ASSETS, {"ids": asset_ids})}
    connection.execute(_INSERT, _columns(found))
    modes = {done.item.row.org_id: done.item.policy.triage_mode for done, _ in found}
    assessed = [case for mode in set(modes.values()) for case in _assess(connection, assets, mode, modes)]
    cases = {case.asset_id: connection.execute(_UPSERT, _values(case)).scalar_one() for case in assessed}
    connection.execute(_ATTACH, {"assets": list(cases), "cases": list(cases.values())})
    _ask_for_verification(connection, [(cases[case.asset_id], case) for case in assessed])
    places = regrouping.lock_tickets_of(connection, sorted({done.item.row.id for done, _ in found}))
    traces = {places[done.item.row.id]: done.job.trace_id for done, _ in found if done.item.row.id in places}
    triaged = connection.execute(_TRIAGED, {"ids": sorted(traces)})
    moved = [Moved(row.org_id, row.id, _NEW_STATE, _TRIAGED_STATE, traces[row.id]) for row in triaged]
    automatic_moves.record(connection, moved, AUTOMATIC_TRIAGE)
    return _dispatches(found, cases, assessed)


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


def _assess(
    connection: Connection, assets: Mapping[UUID, Any], mode: TriageMode, modes: Mapping[UUID, TriageMode]
) -> list[Assessed]:
    """Assess each asset by all signals of its open case; good news alone opens none (seed-behaviours, 4.6 no. 8)."""
    ids = [asset_id for asset_id, asset in assets.items() if modes.get(asset.org_id) is mode]
    open_cases = {row.asset_id: row.id for row in connection.execute(_OPEN, {"ids": ids, "mode": mode.value})}
    evidence: dict[UUID, list[scoring.Signal]] = {}
    for row in connection.execute(_EVIDENCE, {"ids": ids, "cases": list(open_cases.values())}):
        evidence.setdefault(row.asset_id, []).append(_signal(row, assets[row.asset_id]))
    return [
        Assessed(assets[asset_id].org_id, asset_id, mode, scoring.assess(found, mode))
        for asset_id, found in sorted(evidence.items())
        if asset_id in open_cases or any(signal.status is not SignalStatus.ONLINE for signal in found)
    ]


def _signal(row: Any, asset: Any) -> scoring.Signal:
    # Several people who write are several sources: the mailbox they share is only the way it came.
    source = f"{row.source}:{row.reporter}" if row.source == SignalSource.MAIL else row.source
    return scoring.Signal(
        str(row.id), source, row.at, asset.tag, SignalStatus(row.status), row.text, asset.lat, asset.lon
    )


def _values(assessed: Assessed) -> dict[str, Any]:
    case = assessed.case
    return {
        "org_id": assessed.org_id,
        "asset_id": assessed.asset_id,
        "mode": assessed.mode.value,
        "priority_score": case.priority_score,
        "sla_hours": case.sla_hours,
        "root_cause_tag": case.root_cause_tag.value,
        "confidence": case.confidence,
        "recommended_action": case.recommended_action.value,
        "grid_stress_level": case.grid_stress_level.value,
        "explanation": case.explanation,
        "uncertainty_reasons": [reason.value for reason in case.uncertainty_reasons],
        "verification_required": case.verification_required,
    }


def _ask_for_verification(connection: Connection, cases: Sequence[tuple[UUID, Assessed]]) -> None:
    wanted = [(case_id, case) for case_id, case in cases if case.case.verification_required]
    tasks = [scoring.verification_tasks([case.case])[0] for _, case in wanted]
    if wanted:
        connection.execute(
            _VERIFY,
            {
                "orgs": [case.org_id for _, case in wanted],
                "cases": [case_id for case_id, _ in wanted],
                "questions": [task.question for task in tasks],
                "owners": [task.owner for task in tasks],
            },
        )


def _dispatches(
    found: Sequence[tuple[Work[Report, Any], signals.Extraction]],
    cases: Mapping[UUID, UUID],
    assessed: Sequence[Assessed],
) -> list[Emit]:
    """Send on the cases that ask for a technician, each under the trace of its newest message."""
    asking = {case.asset_id for case in assessed if case.case.recommended_action is RecommendedAction.DISPATCH}
    by_age = sorted(found, key=lambda pair: pair[0].item.row.received_at)
    newest = {extraction.asset_id: done for done, extraction in by_age}
    return [done.job.then("dispatch", str(cases[asset])) for asset, done in newest.items() if asset in asking]


STAGE = Stage(
    name="triage",
    about="Signals about known assets, and the case they make.",
    load=load,
    work=each(_extract),
    save=save,
    emits=("dispatch",),
    batch=200,
)
