"""Cases in the database: an asset's signals in, its case of each mode out, with questions, history and shadow.

An asset's cases of both modes are opened, assessed and closed together: the one of the organization's mode leads, is
verified and dispatched; the other one tells what the other mode would do. Nothing is ever deleted: a run changes the
open case, and what it said before stays in `case_assessments`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import (
    AssessedBecause,
    CaseEnd,
    Lane,
    TaskResult,
    TriageMode,
)
from pipeline.core import dispatching, scoring
from pipeline.runtime import case_evidence, case_leads, case_questions, case_shadows
from pipeline.runtime.case_evidence import Asset
from pipeline.runtime.jobs import Emit

#: Whoever assesses, verifies or closes cases holds their assets first, by id; so the rest needs no locks of its own.
_LOCK_ASSETS = text("""
    SELECT id, org_id, tag FROM assets
     WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR NO KEY UPDATE
""")
_COLUMNS = (
    "priority_score, sla_hours, root_cause_tag, confidence, recommended_action, grid_stress_level, explanation, "
    "uncertainty_reasons, verification_required, policy_version, formula_hundredths, signal_count, first_signal_at, "
    "last_signal_at"
)
#: A row that says the same as before is left alone, so that versions tell changes; what changed is kept as an
#: assessment, and evidence of no case yet belongs to the one that leads: one statement, for every report waits for it.
_WRITE = text(f"""
    WITH changed AS (
        INSERT INTO cases (org_id, asset_id, mode, code, number, {_COLUMNS}, decided_at, assessed_at)
        SELECT n.org_id, n.asset_id, n.mode, n.code, n.number, n.priority_score, n.sla_hours, n.root_cause_tag,
               n.confidence, n.recommended_action, n.grid_stress_level, n.explanation,
               CASE WHEN n.reasons = '' THEN '{{}}' ELSE string_to_array(n.reasons, ' ') END, n.verification_required,
               n.policy_version, n.formula_hundredths, n.signal_count, n.first_signal_at, n.last_signal_at,
               CASE WHEN NOT n.verification_required THEN now() END, now()
          FROM unnest(CAST(:org_id AS uuid[]), CAST(:asset_id AS uuid[]), CAST(:mode AS text[]), CAST(:code AS text[]),
                      CAST(:number AS int[]), CAST(:priority_score AS int[]), CAST(:sla_hours AS int[]),
                      CAST(:root_cause_tag AS text[]), CAST(:confidence AS numeric[]),
                      CAST(:recommended_action AS text[]), CAST(:grid_stress_level AS text[]),
                      CAST(:explanation AS text[]), CAST(:reasons AS text[]), CAST(:verification_required AS bool[]),
                      CAST(:policy_version AS int[]), CAST(:formula_hundredths AS int[]), CAST(:signal_count AS int[]),
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
          WHERE (cases.priority_score, cases.sla_hours, cases.root_cause_tag, cases.confidence,
                 cases.recommended_action, cases.explanation, cases.uncertainty_reasons, cases.policy_version,
                 cases.formula_hundredths, cases.signal_count, cases.first_signal_at, cases.last_signal_at)
                IS DISTINCT FROM
                (excluded.priority_score, excluded.sla_hours, excluded.root_cause_tag, excluded.confidence,
                 excluded.recommended_action, excluded.explanation, excluded.uncertainty_reasons,
                 excluded.policy_version, excluded.formula_hundredths, excluded.signal_count,
                 excluded.first_signal_at, excluded.last_signal_at)
        RETURNING id, org_id, asset_id, mode, version, policy_version, priority_score, confidence, formula_hundredths,
                  recommended_action, signal_count
    ), kept AS (
        INSERT INTO case_assessments (org_id, case_id, version, because, policy_version, priority_score, confidence,
                                      formula_hundredths, recommended_action, signal_count)
        SELECT org_id, id, version, :because, policy_version, priority_score, confidence, formula_hundredths,
               recommended_action, signal_count
          FROM changed ORDER BY id
    ), attached AS (
        UPDATE signals SET case_id = coalesce(l.case_id, c.id)
          FROM unnest(CAST(:loose AS uuid[]), CAST(:loose_assets AS uuid[]), CAST(:leads AS text[]),
                      CAST(:lead_cases AS uuid[])) AS l(signal_id, asset_id, mode, case_id)
          LEFT JOIN changed c ON c.asset_id = l.asset_id AND c.mode = l.mode
         WHERE signals.id = l.signal_id AND signals.case_id IS NULL
    )
    SELECT id, asset_id, mode FROM changed
""")  # noqa: S608 - columns from above
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
    #: Whether its organization's policy sends somebody without asking a person.
    is_asking: bool = False
    #: Whether somebody was asked to verify it before.
    is_asked: bool = False

    @property
    def code(self) -> str:
        """The contract's id."""
        return code_of(self.case.asset, self.number)


@dataclass(frozen=True, slots=True)
class _Fresh:
    """What one policy says of one asset just now."""

    asset: Asset
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
    """Assess assets anew by all their signals; return the leading case of each, by asset. Locks them.

    Whatever came in which order, the same signals make the same case. Questions are asked, and taken back when they
    are not needed any more.
    """
    return assess_locked(connection, lock(connection, asset_ids), because)


def assess_locked(connection: Connection, locked: Sequence[Row[Any]], because: AssessedBecause) -> list[Assessed]:
    """Do what `assess` does with assets as `lock` returned them, each once."""
    assets = case_evidence.read(connection, locked)
    fresh = [_Fresh(asset, mode, case) for asset in assets for mode, case in _judge(asset).items()]
    if not fresh:
        return []
    values = _values(fresh) | _loose(assets) | {"because": because.value}
    changed = {(row.asset_id, row.mode): row.id for row in connection.execute(_WRITE, values)}
    leading = [_assessed(one, changed) for one in fresh if one.mode is one.asset.lead]
    pairs = list(zip(assets, leading, strict=True))
    leads = {before: one.case_id for asset, one in pairs for before in asset.evidence.cases if before != one.case_id}
    case_leads.pass_on(connection, leads)
    case_questions.follow(connection, leading, {asset.row.id: asset.judging.active.policy for asset in assets})
    said = [
        (asset.judging.shadow, [*asset.evidence.signals, *asset.evidence.beyond], asset.verdict) for asset in assets
    ]
    case_shadows.keep(connection, said, leading)
    return leading


def close(connection: Connection, asset_ids: Iterable[UUID], because: CaseEnd) -> list[UUID]:
    """Close the open cases of locked assets, of both modes; return their ids. What they ask is not asked any more."""
    closed = connection.execute(_CLOSE, {"assets": sorted(set(asset_ids)), "because": because.value})
    ids = list(closed.scalars())
    case_questions.take_back(connection, ids)
    return ids


def _judge(asset: Asset) -> dict[TriageMode, scoring.Case]:
    said = asset.evidence.signals
    return scoring.assess_modes(said, asset.policies, asset=asset.row.tag, verdict=asset.verdict)


def _loose(assets: Sequence[Asset]) -> dict[str, Any]:
    """Return the evidence that belongs to no case yet, and the case that it will belong to, where it is there."""
    loose = [(signal_id, asset) for asset in assets for signal_id in asset.evidence.loose]
    leading = [asset.open_cases.get(asset.lead) for _, asset in loose]
    return {
        "loose": [signal_id for signal_id, _ in loose],
        "loose_assets": [asset.row.id for _, asset in loose],
        "leads": [asset.lead.value for _, asset in loose],
        "lead_cases": [None if case is None else case.id for case in leading],
    }


def _values(fresh: Sequence[_Fresh]) -> dict[str, Any]:
    """Return the columns of cases as arrays, in order of assets."""
    said = [one.case for one in fresh]
    times = [[signal.at for signal in one.asset.evidence.signals] for one in fresh]
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


def _assessed(one: _Fresh, changed: Mapping[tuple[UUID, str], UUID]) -> Assessed:
    row, changed_id = one.asset.row, changed.get((one.asset.row.id, one.mode.value))
    # What was left alone was there before.
    case_id = changed_id or one.asset.open_cases[one.mode].id
    rules, verdict = one.asset.judging.active.policy.dispatch, one.asset.verdict
    is_confirmed = (
        verdict is not None
        and verdict.result is TaskResult.CONFIRMED_ISSUE
        and scoring.holds(verdict, one.asset.evidence.signals)
    )
    is_asking, _ = dispatching.should_dispatch(one.case, rules, is_confirmed=is_confirmed)
    before = one.asset.open_cases.get(one.mode)
    return Assessed(
        row.org_id,
        row.id,
        case_id,
        one.mode,
        one.case,
        one.asset.number,
        changed_id is not None,
        is_asking,
        before is not None and before.is_asked,
    )


def to_dispatch(assessed: Iterable[Assessed]) -> list[Assessed]:
    """Return the cases that are dispatched without a person: each wants a job of the stage `dispatch`.

    Not those that say what they said before: what is reported again must not bring back an order that was called off.
    """
    return [one for one in assessed if one.is_asking and one.is_changed]


def dispatch_steps(assessed: Iterable[Assessed], trace_id: str) -> list[Emit]:
    """Return the jobs of the cases that are dispatched without a person, under one trace."""
    return [
        Emit("dispatch", str(one.case_id), one.org_id, None, Lane.LIVE, 0, trace_id) for one in to_dispatch(assessed)
    ]
