"""How urgent and how certain an asset's trouble is: signals in, one case per asset out (contract 003)."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise

from models.enums import GridStress, RecommendedAction, RootCause, SignalStatus, TriageMode
from pipeline.core.text import normalised


class Reason(StrEnum):
    """Why a case is uncertain."""

    NO_EVIDENCE = "no_evidence"
    ONE_SIGNAL = "low_evidence_volume"
    TWO_SIGNALS = "limited_evidence_volume"
    DISAGREEMENT = "cross_source_disagreement"
    CONFLICT = "status_conflict_recent"
    AMBIGUOUS = "ambiguous_unknown_status"
    FLAPPING = "status_flapping"


@dataclass(frozen=True, slots=True)
class Signal:
    """One report about one asset; a naive `at` is read as UTC."""

    signal_id: str
    source: str
    at: datetime
    asset: str
    status: SignalStatus
    text: str
    lat: float | None = None
    lon: float | None = None


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


@dataclass(frozen=True, slots=True)
class VerificationTask:
    """A question a person must answer before the case may be dispatched."""

    task_id: str
    case_id: str
    question: str
    owner: str = "FieldOps"
    status: str = "open"
    result: str | None = None


#: Weights in hundredths: whole numbers keep sums exact and independent of order.
_WEIGHTS = {SignalStatus.DOWN: 100, SignalStatus.DEGRADED: 65, SignalStatus.UNKNOWN: 40, SignalStatus.ONLINE: 0}
_SLA_HOURS = ((85, 2), (70, 4), (50, 8))
_VERIFY_BELOW = 0.65
_DISPATCH_FROM = 65

#: The contract's keywords with their inflections. Matched as whole words: as substrings "support" would be a port,
#: "stopping" a ping and "discard" a card.
_WORDS = {
    RootCause.PAYMENT_TERMINAL: (
        "payment payments card cards tap taps tapped tapping terminal terminals reader readers",
    ),
    RootCause.CONNECTOR: (
        "connector connectors plug plugs plugged plugging unplug unplugs unplugged unplugging",
        "cable cables cabling port ports bent",
    ),
    RootCause.NETWORK: (
        "network networks networking timeout timeouts offline latency latencies",
        "ping pings pinged pinging modem modems router routers",
    ),
}
_CAUSE_OF = {word: cause for cause, lines in _WORDS.items() for line in lines for word in line.split()}
_WORD = re.compile(r"[^\W_]+")
_GAPS = re.compile(r"[\W_]+")
_NOT_ASCII_SLUG = re.compile(r"[^a-z0-9]+")
#: More of one report than this tells nothing new about its cause.
_TEXT_LIMIT = 65_536


def triage(signals: Iterable[Signal], mode: TriageMode) -> list[Case]:
    """Return one case per asset, most urgent first, ties by asset; spellings of one asset id are one asset.

    "AUS_0123", "aus-0123" and "AUS 0123" share their case id, so they share the case, under the newest spelling.
    A signal id counts once, in its newest version. The order of `signals` does not matter.
    """
    groups: dict[str, list[Signal]] = {}
    for signal in _settled(signals):
        groups.setdefault(asset_key(signal.asset), []).append(signal)
    cases = [_case(group[-1].asset, group, mode) for group in groups.values()]
    return sorted(cases, key=lambda case: (-case.priority_score, case.asset))


def assess(signals: Iterable[Signal], mode: TriageMode, *, asset: str = "") -> Case:
    """Return the case of the one asset all `signals` are about; `asset` names it when there are none.

    Raises ValueError when the signals are about different assets.
    """
    told = list(signals)
    keys = {asset_key(signal.asset) for signal in told}
    if len(keys) > 1:
        raise ValueError(f"one case is about one asset, these signals name {len(keys)}: use triage")
    evidence = _settled(told)
    return _case(evidence[-1].asset if evidence else asset, evidence, mode)


def verification_tasks(cases: Iterable[Case]) -> list[VerificationTask]:
    """Return the questions the cases wait for, by case id."""
    waiting = sorted((case for case in cases if case.verification_required), key=lambda case: case.case_id)
    return [
        VerificationTask(
            f"ver_{case.case_id.removeprefix('case_')}",
            case.case_id,
            f"Is charger {case.asset} physically offline right now?",
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


def priority(evidence: Sequence[Signal]) -> int:
    """Return 0..100 from the worst and the mean status, the sources and the volume; halves round to even.

    Seed behaviours 4.2, in exact arithmetic. No evidence is 0.
    """
    if not evidence:
        return 0
    weights = [_WEIGHTS[signal.status] for signal in evidence]
    breadth = 3 * min(len({signal.source for signal in evidence}), 3) + 2 * min(len(evidence), 5)
    severity = Fraction(70 * max(weights) * len(weights) + 20 * sum(weights), 100 * len(weights))
    return max(0, min(100, round(severity + breadth)))


def certainty(evidence: Sequence[Signal]) -> tuple[float, tuple[Reason, ...]]:
    """Return the confidence in `evidence` (oldest first), to two decimals, and why it is not higher (4.2)."""
    if not evidence:
        return 0.0, (Reason.NO_EVIDENCE,)
    hundredths, reasons = 88, []
    for holds, change, reason in _findings(evidence):
        if holds:
            hundredths += change
            reasons.append(reason)
    clamped = max(5, min(99, hundredths))
    return clamped / 100, tuple(reason for reason in reasons if reason is not None)


def root_cause(texts: Iterable[str]) -> RootCause:
    """Return the cause whose words occur most often in `texts`; a tie goes to the earlier cause, none is unknown."""
    votes: Counter[RootCause] = Counter()
    for text in texts:
        for word in _WORD.findall(text[:_TEXT_LIMIT].lower()):
            if cause := _CAUSE_OF.get(word):
                votes[cause] += 1
    # max keeps the first of equals, and _WORDS is in the contract's order.
    return max(_WORDS, key=lambda cause: votes[cause]) if votes else RootCause.UNKNOWN


def _findings(evidence: Sequence[Signal]) -> tuple[tuple[bool, int, Reason | None], ...]:
    """Return the rows of the confidence table: does it hold, change in hundredths, reason it leaves."""
    statuses = {signal.status for signal in evidence}
    count, mixed = len(evidence), len(statuses) > 1
    changes = sum(left.status != right.status for left, right in pairwise(evidence))
    return (
        (count == 1, -24, Reason.ONE_SIGNAL),
        (count == 2, -10, Reason.TWO_SIGNALS),
        (mixed, -16, Reason.DISAGREEMENT),
        (
            SignalStatus.ONLINE in statuses and not statuses.isdisjoint((SignalStatus.DOWN, SignalStatus.DEGRADED)),
            -24,
            Reason.CONFLICT,
        ),
        (mixed and SignalStatus.UNKNOWN in statuses, -8, Reason.AMBIGUOUS),
        (changes >= 2, -20, Reason.FLAPPING),
        (statuses == {SignalStatus.DOWN}, 7, None),
        (count >= 3 and not mixed, 5, None),
        (len({signal.source for signal in evidence}) >= 2, 3, None),
    )


def _case(asset: str, evidence: Sequence[Signal], mode: TriageMode) -> Case:
    score = priority(evidence)
    confidence, reasons = certainty(evidence) if mode is TriageMode.CERTAINTY else (_baseline_confidence(score), ())
    verify = mode is TriageMode.CERTAINTY and confidence < _VERIFY_BELOW
    cause = root_cause(signal.text for signal in evidence)
    return Case(
        case_id=case_id(asset),
        asset=asset,
        priority_score=score,
        sla_hours=next((hours for floor, hours in _SLA_HOURS if score >= floor), 24),
        root_cause_tag=cause,
        confidence=confidence,
        recommended_action=_action(score, verify=verify),
        evidence_ids=tuple(signal.signal_id for signal in reversed(evidence)),
        grid_stress_level=_stress(score),
        explanation=_explain(evidence, cause, reasons),
        uncertainty_reasons=reasons,
        verification_required=verify,
    )


def _baseline_confidence(score: int) -> float:
    return round(max(0.05, min(0.99, 0.55 + score / 200)), 2)


def _action(score: int, *, verify: bool) -> RecommendedAction:
    if verify:
        return RecommendedAction.VERIFY
    return RecommendedAction.DISPATCH if score >= _DISPATCH_FROM else RecommendedAction.RESET


def _stress(score: int) -> GridStress:
    if score >= 80:
        return GridStress.HIGH
    return GridStress.ELEVATED if score >= 60 else GridStress.NORMAL


def _explain(evidence: Sequence[Signal], cause: RootCause, reasons: Sequence[Reason]) -> str:
    """Say in one or two sentences what was counted, so that a reader can check the score."""
    if not evidence:
        return "No signals name this asset."
    counts = Counter(signal.status for signal in evidence)
    told = ", ".join(f"{counts[status]} {status}" for status in SignalStatus if counts[status])
    sources = len({signal.source for signal in evidence})
    plural = "source" if sources == 1 else "sources"
    likely = "" if cause is RootCause.UNKNOWN else f"; the texts point to {cause.replace('_', ' ')}"
    doubt = f" Uncertain: {', '.join(reasons)}." if reasons else ""
    return f"Signals: {told} from {sources} {plural}, newest {evidence[-1].status}{likely}.{doubt}"


def _settled(signals: Iterable[Signal]) -> list[Signal]:
    """Return each signal id once (the newest version of it), oldest first; the given order leaves no trace."""
    chosen: dict[str, Signal] = {}
    for signal in sorted(signals, key=_order):
        chosen[signal.signal_id] = signal
    return sorted(chosen.values(), key=_order)


def _order(signal: Signal) -> tuple[datetime, str, str, str, str, str]:
    at = signal.at if signal.at.utcoffset() is not None else signal.at.replace(tzinfo=UTC)
    return at, signal.signal_id, signal.source, signal.status, signal.asset, signal.text
