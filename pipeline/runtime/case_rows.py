"""Cases in the database: an asset's signals in, its case of each mode out, with questions, history and shadow.

An asset's cases of both modes are opened, assessed and closed together: the one of the organization's mode leads, is
verified and dispatched; the other one tells what the other mode would do. Nothing is ever deleted: a run changes the
open case, and what it said before stays in `case_assessments`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import (
    AssessedBecause,
    CaseEnd,
    RecommendedAction,
    SignalSource,
    SignalStatus,
    TaskResult,
    TriageMode,
)
from pipeline.core import scoring
from pipeline.core.scoring import Signal, Verdict
from pipeline.runtime import case_questions, case_shadows, triage_policies
from pipeline.runtime.triage_policies import Judging

#: Whoever assesses, verifies or closes cases holds their assets first, by id; so the rest needs no locks of its own.
_LOCK_ASSETS = text("""
    SELECT id, org_id, tag, lat, lon FROM assets WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR NO KEY UPDATE
""")
_OPEN = text("""
    SELECT id, asset_id, mode, verified_result, verified_at FROM cases
     WHERE asset_id = ANY(CAST(:ids AS uuid[])) AND state = 'open'
""")
#: Signals of the open cases, and those of no case yet, as far back from the newest as evidence counts.
_EVIDENCE = text("""
    SELECT s.id, s.external_id, s.asset_id, s.source, s.reporter, s.at, s.status, s.text
      FROM unnest(CAST(:assets AS uuid[]), CAST(:reaches AS interval[])) AS w(asset_id, reach)
     CROSS JOIN LATERAL (
           SELECT n.at FROM signals n WHERE n.asset_id = w.asset_id ORDER BY n.at DESC LIMIT 1) AS newest
      JOIN signals s ON s.asset_id = w.asset_id AND s.at >= newest.at - w.reach
     WHERE s.case_id IS NULL OR s.case_id = ANY(CAST(:cases AS uuid[]))
""")
_NUMBERS = text("""
    SELECT asset_id, max(number) AS number FROM cases WHERE asset_id = ANY(CAST(:ids AS uuid[])) GROUP BY asset_id
""")
_COLUMNS = (
    "priority_score, sla_hours, root_cause_tag, confidence, recommended_action, grid_stress_level, explanation, "
    "uncertainty_reasons, verification_required, policy_version, formula_hundredths, signal_count, first_signal_at, "
    "last_signal_at"
)
#: A row that says the same as before is left alone, so that versions tell changes.
_UPSERT = text(f"""
    INSERT INTO cases (org_id, asset_id, mode, code, number, {_COLUMNS}, decided_at, assessed_at)
    SELECT n.org_id, n.asset_id, n.mode, n.code, n.number, n.priority_score, n.sla_hours, n.root_cause_tag,
           n.confidence, n.recommended_action, n.grid_stress_level, n.explanation,
           CASE WHEN n.reasons = '' THEN '{{}}' ELSE string_to_array(n.reasons, ' ') END, n.verification_required,
           n.policy_version, n.formula_hundredths, n.signal_count, n.first_signal_at, n.last_signal_at,
           CASE WHEN NOT n.verification_required THEN now() END, now()
      FROM unnest(CAST(:org_id AS uuid[]), CAST(:asset_id AS uuid[]), CAST(:mode AS text[]), CAST(:code AS text[]),
                  CAST(:number AS int[]), CAST(:priority_score AS int[]), CAST(:sla_hours AS int[]),
                  CAST(:root_cause_tag AS text[]), CAST(:confidence AS numeric[]), CAST(:recommended_action AS text[]),
                  CAST(:grid_stress_level AS text[]), CAST(:explanation AS text[]), CAST(:reasons AS text[]),
                  CAST(:verification_required AS bool[]), CAST(:policy_version AS int[]),
                  CAST(:formula_hundredths AS int[]), CAST(:signal_count AS int[]),
                  CAST(:first_signal_at AS timestamptz[]), CAST(:last_signal_at AS timestamptz[]))
        AS n(org_id, asset_id, mode, code, number, priority_score, sla_hours, root_cause_tag, confidence,
             recommended_action, grid_stress_level, explanation, reasons, verification_required, policy_version,
             formula_hundredths, signal_count, first_signal_at, last_signal_at)
        ON CONFLICT (org_id, asset_id, mode) WHERE state = 'open' DO UPDATE SET
            priority_score = excluded.priority_score, sla_hours = excluded.sla_hours,
            root_cause_tag = excluded.root_cause_tag, confidence = excluded.confidence,
            recommended_action = excluded.recommended_action, grid_stress_level = excluded.grid_stress_level,
            explanation = excluded.explanation, uncertainty_reasons = excluded.uncertainty_reasons,
            verification_required = excluded.verification_required, policy_version = excluded.policy_version,
            formula_hundredths = excluded.formula_hundredths, signal_count = excluded.signal_count,
            first_signal_at = excluded.first_signal_at, last_signal_at = excluded.last_signal_at,
            decided_at = coalesce(cases.decided_at, excluded.decided_at), assessed_at = now(),
            version = cases.version + 1
      WHERE (cases.priority_score, cases.sla_hours, cases.root_cause_tag, cases.confidence, cases.recommended_action,
             cases.explanation, cases.uncertainty_reasons, cases.policy_version, cases.formula_hundredths,
             cases.signal_count, cases.first_signal_at, cases.last_signal_at)
            IS DISTINCT FROM
            (excluded.priority_score, excluded.sla_hours, excluded.root_cause_tag, excluded.confidence,
             excluded.recommended_action, excluded.explanation, excluded.uncertainty_reasons, excluded.policy_version,
             excluded.formula_hundredths, excluded.signal_count, excluded.first_signal_at, excluded.last_signal_at)
    RETURNING id, asset_id, mode, version
""")  # noqa: S608 - columns from above
_KEEP = text("""
    INSERT INTO case_assessments (org_id, case_id, version, because, policy_version, priority_score, confidence,
                                  formula_hundredths, recommended_action, signal_count)
    SELECT c.org_id, c.id, c.version, :because, c.policy_version, c.priority_score, c.confidence, c.formula_hundredths,
           c.recommended_action, c.signal_count
      FROM cases c WHERE c.id = ANY(CAST(:ids AS uuid[])) ORDER BY c.id
""")
_ATTACH = text("""
    UPDATE signals SET case_id = t.case_id
      FROM unnest(CAST(:assets AS uuid[]), CAST(:cases AS uuid[])) AS t(asset_id, case_id)
     WHERE signals.asset_id = t.asset_id AND signals.case_id IS NULL
""")
_CLOSE = text("""
    UPDATE cases SET state = 'closed', closed_at = now(), closed_because = :because, version = version + 1,
                     decided_at = coalesce(decided_at, now())
     WHERE asset_id = ANY(CAST(:assets AS uuid[])) AND state = 'open' RETURNING id
""")


@dataclass(frozen=True, slots=True)
class Assessed:
    """A case as it was assessed, and the asset it is about; `is_changed` when it says something else than before."""

    org_id: UUID
    asset_id: UUID
    case_id: UUID
    mode: TriageMode
    case: scoring.Case
    number: int
    is_changed: bool

    @property
    def code(self) -> str:
        """The contract's id."""
        return code_of(self.case.asset, self.number)


@dataclass(frozen=True, slots=True)
class _Asset:
    """A locked asset with what its cases are made of."""

    row: Row[Any]
    judging: Judging
    evidence: Sequence[Signal]
    verdict: Verdict | None
    number: int
    is_open: bool

    @property
    def is_case(self) -> bool:
        """Whether there is one, or must be: good news alone opens none (seed-behaviours, 4.6 no. 8)."""
        return self.is_open or any(signal.status is not SignalStatus.ONLINE for signal in self.evidence)


@dataclass(frozen=True, slots=True)
class _Fresh:
    """What one policy says of one asset just now."""

    asset: _Asset
    mode: TriageMode
    case: scoring.Case


def code_of(asset: str, number: int) -> str:
    """Return the contract's id of an asset's case; no slug holds two underscores in a row, so none collides."""
    first = scoring.case_id(asset)
    return first if number == 1 else f"{first}__{number}"


def lock(connection: Connection, asset_ids: Iterable[UUID]) -> list[Row[Any]]:
    """Lock assets by id: nobody else assesses, verifies or closes their cases until the transaction is over."""
    return list(connection.execute(_LOCK_ASSETS, {"ids": sorted(set(asset_ids))}))


def assess(connection: Connection, asset_ids: Iterable[UUID], because: AssessedBecause) -> list[Assessed]:
    """Assess assets anew by all their signals; return the leading case of each, by asset. The assets are locked.

    Whatever came in which order, the same signals make the same case. Questions are asked, and taken back when they
    are not needed any more.
    """
    assets = _assets(connection, lock(connection, asset_ids))
    fresh = [_Fresh(asset, mode, _judge(asset, mode)) for asset in assets for mode in TriageMode]
    if not fresh:
        return []
    changed = {(row.asset_id, row.mode): row for row in connection.execute(_UPSERT, _values(fresh))}
    connection.execute(_KEEP, {"ids": [row.id for row in changed.values()], "because": because.value})
    ids = {(row.asset_id, row.mode): row.id for row in connection.execute(_OPEN, {"ids": [a.row.id for a in assets]})}
    leading = [_assessed(one, ids, changed) for one in fresh if one.mode is one.asset.judging.active.policy.mode]
    connection.execute(
        _ATTACH, {"assets": [one.asset_id for one in leading], "cases": [one.case_id for one in leading]}
    )
    policies = {asset.row.id: asset.judging.active.policy for asset in assets}
    case_questions.follow(connection, leading, policies)
    case_shadows.keep(connection, [(asset.judging.shadow, asset.evidence, asset.verdict) for asset in assets], leading)
    return leading


def close(connection: Connection, asset_ids: Iterable[UUID], because: CaseEnd) -> list[UUID]:
    """Close the open cases of locked assets, of both modes; return their ids. What they ask is not asked any more."""
    closed = connection.execute(_CLOSE, {"assets": sorted(set(asset_ids)), "because": because.value})
    ids = list(closed.scalars())
    case_questions.take_back(connection, ids)
    return ids


def _assets(connection: Connection, rows: Sequence[Row[Any]]) -> list[_Asset]:
    """Return the assets that have a case, or must have one."""
    ids = [row.id for row in rows]
    judges = triage_policies.judging(connection, [row.org_id for row in rows])
    open_cases: dict[UUID, list[Row[Any]]] = {}
    for row in connection.execute(_OPEN, {"ids": ids}):
        open_cases.setdefault(row.asset_id, []).append(row)
    evidence = _evidence(connection, rows, judges, [one.id for found in open_cases.values() for one in found])
    numbers = {row.asset_id: row.number for row in connection.execute(_NUMBERS, {"ids": ids})}
    found = [
        _Asset(
            row,
            judges[row.org_id],
            evidence.get(row.id, ()),
            _verdict(open_cases.get(row.id, ())),
            numbers.get(row.id, 0) + (0 if row.id in open_cases else 1),
            row.id in open_cases,
        )
        for row in rows
    ]
    return [asset for asset in found if asset.is_case]


def _evidence(
    connection: Connection, rows: Sequence[Row[Any]], judges: Mapping[UUID, Judging], cases: Sequence[UUID]
) -> dict[UUID, list[Signal]]:
    assets = {row.id: row for row in rows}
    values = {
        "assets": list(assets),
        "reaches": [judges[row.org_id].active.policy.evidence.reach for row in rows],
        "cases": list(cases),
    }
    found: dict[UUID, list[Signal]] = {}
    for row in connection.execute(_EVIDENCE, values):
        found.setdefault(row.asset_id, []).append(_signal(row, assets[row.asset_id].tag))
    return found


def _signal(row: Row[Any], tag: str) -> Signal:
    # Several people who write are several sources: the mailbox they share is only the way it came.
    source = f"{row.source}:{row.reporter}" if row.source == SignalSource.MAIL else row.source
    return Signal(row.external_id or str(row.id), source, row.at, tag, SignalStatus(row.status), row.text)


def _verdict(rows: Sequence[Row[Any]]) -> Verdict | None:
    """Return what was found last about any of an asset's open cases."""
    said: list[tuple[datetime, str]] = [(row.verified_at, row.verified_result) for row in rows if row.verified_at]
    if not said:
        return None
    at, result = max(said)
    return Verdict(TaskResult(result), at)


def _judge(asset: _Asset, mode: TriageMode) -> scoring.Case:
    policy = asset.judging.active.policy.as_mode(mode)
    return scoring.assess(asset.evidence, policy, asset=asset.row.tag, verdict=asset.verdict)


def _values(fresh: Sequence[_Fresh]) -> dict[str, Any]:
    """Return the columns of cases as arrays, in order of assets."""
    said = [one.case for one in fresh]
    times = [[signal.at for signal in one.asset.evidence] for one in fresh]
    return {
        "org_id": [one.asset.row.org_id for one in fresh],
        "asset_id": [one.asset.row.id for one in fresh],
        "mode": [one.mode.value for one in fresh],
        "code": [code_of(one.asset.row.tag, one.asset.number) for one in fresh],
        "number": [one.asset.number for one in fresh],
        "priority_score": [case.priority_score for case in said],
        "sla_hours": [case.sla_hours for case in said],
        "root_cause_tag": [case.root_cause_tag.value for case in said],
        "confidence": [case.confidence for case in said],
        "recommended_action": [case.recommended_action.value for case in said],
        "grid_stress_level": [case.grid_stress_level.value for case in said],
        "explanation": [case.explanation for case in said],
        "reasons": [" ".join(reason.value for reason in case.uncertainty_reasons) for case in said],
        "verification_required": [case.verification_required for case in said],
        "policy_version": [one.asset.judging.active.number for one in fresh],
        "formula_hundredths": [case.formula_hundredths for case in said],
        "signal_count": [len(case.evidence_ids) for case in said],
        "first_signal_at": [min(at, default=None) for at in times],
        "last_signal_at": [max(at, default=None) for at in times],
    }


def _assessed(
    one: _Fresh, ids: Mapping[tuple[UUID, str], UUID], changed: Mapping[tuple[UUID, str], Row[Any]]
) -> Assessed:
    row, place = one.asset.row, (one.asset.row.id, one.mode.value)
    return Assessed(row.org_id, row.id, ids[place], one.mode, one.case, one.asset.number, place in changed)


def to_dispatch(assessed: Iterable[Assessed]) -> list[Assessed]:
    """Return the cases that ask for a technician."""
    return [one for one in assessed if one.case.recommended_action is RecommendedAction.DISPATCH]
