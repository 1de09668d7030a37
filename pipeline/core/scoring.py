"""How urgent and how certain an asset's trouble is: signals in, one case per asset out (contract 003).

With the built-in policy the numbers are exactly those of seed-behaviours, 4.2.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from models.enums import GridStress, RecommendedAction, RootCause, SignalStatus, TaskResult, TriageMode
from pipeline.core import doubts, weighing
from pipeline.core.doubts import Reason
from pipeline.core.text import normalised
from pipeline.core.triage_policy import ASSET, BUILT_IN, TriagePolicy
from pipeline.core.weighing import Signal, Weighed, priority, settled

__all__ = (
    "Case", "Reason", "Signal", "Verdict", "VerificationTask", "assess", "assess_modes", "asset_key", "case_id",
    "holds", "priority", "settled", "triage", "verification_tasks",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a person found when they verified a case."""

    result: TaskResult
    at: datetime


@dataclass(frozen=True, slots=True)
class Case:
    """The triage view of one asset's trouble; `asset` is the contract's `charger_id`, evidence ids newest first."""

    case_id: str
    asset: str
    priority_score: int
    sla_hours: int
    root_cause_tag: RootCause
    confidence: float
    recommended_action: RecommendedAction
    evidence_ids: tuple[str, ...]
    grid_stress_level: GridStress
    explanation: str
    uncertainty_reasons: tuple[Reason, ...]
    verification_required: bool
    #: The formula's confidence in hundredths, before calibration said what it means.
    formula_hundredths: int = 0


@dataclass(frozen=True, slots=True)
class VerificationTask:
    """A question a person must answer before the case may be dispatched."""

    task_id: str
    case_id: str
    question: str
    owner: str = "FieldOps"
    status: str = "open"
    result: str | None = None


_GAPS = re.compile(r"[\W_]+")
_NOT_ASCII_SLUG = re.compile(r"[^a-z0-9]+")


def triage(signals: Iterable[Signal], policy: TriagePolicy = BUILT_IN) -> list[Case]:
    """Return one case per asset, most urgent first, ties by asset; spellings of one asset id are one asset.

    "AUS_0123", "aus-0123" and "AUS 0123" share their case id, so they share the case, under the newest spelling.
    A signal id counts once, in its newest version. The order of `signals` does not matter.
    """
    groups: dict[str, list[Signal]] = {}
    for signal in settled(signals):
        groups.setdefault(asset_key(signal.asset), []).append(signal)
    cases = [_case(group[-1].asset, weighing.weigh(group, policy), policy, None) for group in groups.values()]
    return sorted(cases, key=lambda case: (-case.priority_score, case.asset))


def assess(
    signals: Iterable[Signal], policy: TriagePolicy = BUILT_IN, *, asset: str = "", verdict: Verdict | None = None
) -> Case:
    """Return the case of the one asset all `signals` are about; `asset` names it when there are none.

    A verdict counts until somebody reports the contrary after it. Raises ValueError when the signals are about
    different assets.
    """
    asset, evidence = _of_one(signals, asset)
    return _case(asset, weighing.weigh(evidence, policy), policy, verdict)


def assess_modes(
    signals: Iterable[Signal],
    policies: Mapping[TriageMode, TriagePolicy],
    *,
    asset: str = "",
    verdict: Verdict | None = None,
) -> dict[TriageMode, Case]:
    """Return what `assess` says by each policy; they differ in their mode only, so reports are weighed once."""
    asset, evidence = _of_one(signals, asset)
    weighed = weighing.weigh(evidence, next(iter(policies.values())))
    return {mode: _case(asset, weighed, policy, verdict) for mode, policy in policies.items()}


def _of_one(signals: Iterable[Signal], asset: str) -> tuple[str, list[Signal]]:
    """Return the newest spelling of the one asset, and its settled reports."""
    told = list(signals)
    keys = {asset_key(spelling) for spelling in {signal.asset for signal in told}}
    if len(keys) > 1:
        raise ValueError(f"one case is about one asset, these signals name {len(keys)}: use triage")
    evidence = settled(told)
    return evidence[-1].asset if evidence else asset, evidence


def verification_tasks(cases: Iterable[Case], policy: TriagePolicy = BUILT_IN) -> list[VerificationTask]:
    """Return the questions the cases wait for, by case id."""
    waiting = sorted((case for case in cases if case.verification_required), key=lambda case: case.case_id)
    asks = policy.verification
    return [
        VerificationTask(
            f"ver_{case.case_id.removeprefix('case_')}",
            case.case_id,
            asks.question.replace(ASSET, case.asset),
            asks.owner,
        )
        for case in waiting
    ]


def asset_key(asset: str) -> str:
    """Return what all spellings of one asset id share: lower case, runs of other characters as one underscore."""
    folded = normalised(asset, "NFKC").casefold()
    return _GAPS.sub("_", folded).strip("_") or "unknown"


def case_id(asset: str) -> str:
    """Return `case_<slug>`; letters beyond a-z do not survive the slug, so a digest then keeps two assets apart."""
    key = asset_key(asset)
    slug = _NOT_ASCII_SLUG.sub("_", key).strip("_")
    if slug == key:
        return f"case_{slug}"
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"case_{slug}_{digest}" if slug else f"case_{digest}"


def _case(asset: str, weighed: Weighed, policy: TriagePolicy, verdict: Verdict | None) -> Case:
    evidence, score = weighed.evidence, weighed.score
    formula, reasons = _confidence(weighed.live, score, policy)
    is_heard = verdict is not None and policy.mode is not TriageMode.BASELINE and holds(verdict, evidence)
    holding = verdict if is_heard else None
    hundredths, reasons, verify = _judged(formula, reasons, policy, holding)
    return Case(
        case_id=case_id(asset),
        asset=asset,
        priority_score=score,
        sla_hours=policy.deadlines.hours(score),
        root_cause_tag=weighed.cause,
        confidence=hundredths / 100,
        recommended_action=_action(score, policy, holding, verify=verify),
        evidence_ids=tuple(signal.signal_id for signal in reversed(evidence)),
        grid_stress_level=policy.deadlines.stress(score),
        explanation=_explain(evidence, weighed.cause, reasons, holding),
        uncertainty_reasons=reasons,
        verification_required=verify,
        formula_hundredths=formula,
    )


def _confidence(live: Sequence[Signal], score: int, policy: TriagePolicy) -> tuple[int, tuple[Reason, ...]]:
    if policy.mode is TriageMode.BASELINE:
        return round(100 * round(max(0.05, min(0.99, 0.55 + score / 200)), 2)), ()
    return doubts.certainty([signal.status for signal in live], {signal.source for signal in live}, policy)


def holds(verdict: Verdict, evidence: Iterable[Signal]) -> bool:
    """Return whether a verdict still counts: of what counts as evidence, nothing reported the contrary since."""
    since = {signal.status for signal in evidence if signal.at > verdict.at}
    if verdict.result is TaskResult.CONFIRMED_ISSUE:
        return SignalStatus.ONLINE not in since
    if verdict.result is TaskResult.FALSE_ALARM:
        return since <= {SignalStatus.ONLINE}
    return not since


def _judged(
    formula: int, reasons: tuple[Reason, ...], policy: TriagePolicy, verdict: Verdict | None
) -> tuple[int, tuple[Reason, ...], bool]:
    """Return the confidence in hundredths, its reasons, and whether somebody must verify the case."""
    if policy.mode is TriageMode.BASELINE:
        return formula, reasons, False
    if verdict is not None and verdict.result is not TaskResult.NEEDS_MORE_DATA:
        return policy.verification.certainty, (), False
    hundredths = policy.calibration.meaning(formula)
    return hundredths, reasons, verdict is not None or hundredths < policy.verification.below


def _action(score: int, policy: TriagePolicy, verdict: Verdict | None, *, verify: bool) -> RecommendedAction:
    if verify:
        return RecommendedAction.VERIFY
    if verdict is not None:
        is_real = verdict.result is TaskResult.CONFIRMED_ISSUE
        return RecommendedAction.DISPATCH if is_real else RecommendedAction.RESET
    return RecommendedAction.DISPATCH if score >= policy.dispatch.from_priority else RecommendedAction.RESET


def _explain(evidence: Sequence[Signal], cause: RootCause, reasons: Sequence[Reason], verdict: Verdict | None) -> str:
    """Say in a few sentences what was counted, so that a reader can check the score."""
    if not evidence:
        return "No signals name this asset."
    counts = Counter(signal.status for signal in evidence)
    told = ", ".join(f"{counts[status]} {status}" for status in SignalStatus if counts[status])
    sources = len({signal.source for signal in evidence})
    plural = "source" if sources == 1 else "sources"
    likely = "" if cause is RootCause.UNKNOWN else f"; the texts point to {cause.replace('_', ' ')}"
    doubt = f" Uncertain: {', '.join(reasons)}." if reasons else ""
    found = f" Verified: {verdict.result.replace('_', ' ')}." if verdict else ""
    return f"Signals: {told} from {sources} {plural}, newest {evidence[-1].status}{likely}.{doubt}{found}"
