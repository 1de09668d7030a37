"""How urgent and how certain an asset's trouble is: signals in, one case per asset out (contract 003).

With the built-in policy the numbers are exactly those of seed-behaviours, 4.2.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise

from models.enums import GridStress, RecommendedAction, RootCause, SignalStatus, TaskResult, TriageMode
from pipeline.core.text import normalised
from pipeline.core.triage_policy import ASSET, BUILT_IN, TriagePolicy


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
    """One report about one asset; a naive `at` is read as UTC, which `settled` writes down."""

    signal_id: str
    source: str
    at: datetime
    asset: str
    status: SignalStatus
    text: str = ""
    lat: float | None = None
    lon: float | None = None


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
class _Counted:
    """A report that counts, and the thousandths that its age has left of it."""

    signal: Signal
    thousandths: int

    @property
    def is_live(self) -> bool:
        """Whether it still speaks of now: it is younger than two half-lives."""
        return self.thousandths >= 250


@dataclass(frozen=True, slots=True)
class VerificationTask:
    """A question a person must answer before the case may be dispatched."""

    task_id: str
    case_id: str
    question: str
    owner: str = "FieldOps"
    status: str = "open"
    result: str | None = None


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


def triage(signals: Iterable[Signal], policy: TriagePolicy = BUILT_IN) -> list[Case]:
    """Return one case per asset, most urgent first, ties by asset; spellings of one asset id are one asset.

    "AUS_0123", "aus-0123" and "AUS 0123" share their case id, so they share the case, under the newest spelling.
    A signal id counts once, in its newest version. The order of `signals` does not matter.
    """
    groups: dict[str, list[Signal]] = {}
    for signal in settled(signals):
        groups.setdefault(asset_key(signal.asset), []).append(signal)
    cases = [_case(group[-1].asset, group, policy, None) for group in groups.values()]
    return sorted(cases, key=lambda case: (-case.priority_score, case.asset))


def assess(
    signals: Iterable[Signal], policy: TriagePolicy = BUILT_IN, *, asset: str = "", verdict: Verdict | None = None
) -> Case:
    """Return the case of the one asset all `signals` are about; `asset` names it when there are none.

    A verdict counts until somebody reports the contrary after it. Raises ValueError when the signals are about
    different assets.
    """
    told = list(signals)
    keys = {asset_key(signal.asset) for signal in told}
    if len(keys) > 1:
        raise ValueError(f"one case is about one asset, these signals name {len(keys)}: use triage")
    evidence = settled(told)
    return _case(evidence[-1].asset if evidence else asset, evidence, policy, verdict)


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


def priority(evidence: Sequence[Signal], policy: TriagePolicy = BUILT_IN) -> int:
    """Return 0..100 from the worst and the mean status, the sources and the volume; halves round to even.

    In exact arithmetic. No evidence is 0.
    """
    return _priority(_counted(evidence, policy), policy)


def certainty(evidence: Sequence[Signal], policy: TriagePolicy = BUILT_IN) -> tuple[float, tuple[Reason, ...]]:
    """Return the formula's confidence in `evidence` (oldest first), to two decimals, and why it is not higher."""
    hundredths, reasons = _certainty([one.signal for one in _counted(evidence, policy) if one.is_live], policy)
    return hundredths / 100, reasons


def root_cause(texts: Iterable[str], policy: TriagePolicy = BUILT_IN) -> RootCause:
    """Return the cause whose words occur most often in `texts`; a tie goes to the earlier cause, none is unknown."""
    own = policy.cause_of
    votes: Counter[RootCause] = Counter()
    for text in texts:
        for word in _WORD.findall(text[:_TEXT_LIMIT].lower()):
            if cause := _CAUSE_OF.get(word) or own.get(word):
                votes[cause] += 1
    # max keeps the first of equals, and _WORDS is in the contract's order.
    return max(_WORDS, key=lambda cause: votes[cause]) if votes else RootCause.UNKNOWN


def _counted(evidence: Sequence[Signal], policy: TriagePolicy) -> list[_Counted]:
    """Return the reports that count, oldest first: recent ones, repetitions of a report left out."""
    rules = policy.evidence
    if not evidence:
        return []
    newest = _at(evidence[-1])
    kept: list[_Counted] = []
    last: dict[tuple[str, SignalStatus], datetime] = {}
    for signal in evidence:
        at, who = _at(signal), (signal.source, signal.status)
        if newest - at > rules.reach or _repeats(at, last.get(who), rules.duplicates):
            continue
        last[who] = at
        kept.append(_Counted(signal, _left(newest - at, rules.half_life)))
    return kept


def _repeats(at: datetime, before: datetime | None, within: timedelta | None) -> bool:
    return within is not None and before is not None and at - before <= within


def _left(age: timedelta, half_life: timedelta | None) -> int:
    return 1000 if half_life is None else round(1000 * 0.5 ** (age / half_life))


def _priority(counted: Sequence[_Counted], policy: TriagePolicy) -> int:
    if not counted:
        return 0
    rules = policy.weights
    weighed = [(rules.of(one.signal.status) * one.thousandths, one.thousandths) for one in counted]
    live = [one.signal for one in counted if one.is_live]
    sources, total = len({signal.source for signal in live}), sum(left for _, left in weighed)
    breadth = rules.source * min(sources, rules.most_sources) + rules.signal * min(len(live), rules.most_signals)
    worst = Fraction(rules.worst * max(weight for weight, _ in weighed), 100_000)
    mean = Fraction(rules.mean * sum(weight for weight, _ in weighed), 100 * total)
    return max(0, min(100, round(worst + mean + breadth)))


def _certainty(evidence: Sequence[Signal], policy: TriagePolicy) -> tuple[int, tuple[Reason, ...]]:
    """Return the formula's confidence in hundredths, and its reasons."""
    if not evidence:
        return 0, (Reason.NO_EVIDENCE,)
    rules = policy.doubts
    hundredths, reasons = rules.start, []
    for holds, change, reason in _findings(evidence, policy):
        if holds:
            hundredths += change
            reasons.append(reason)
    clamped = max(rules.lowest, min(rules.highest, hundredths))
    return clamped, tuple(reason for reason in reasons if reason is not None)


def _findings(evidence: Sequence[Signal], policy: TriagePolicy) -> tuple[tuple[bool, int, Reason | None], ...]:
    """Return the rows of the confidence table: does it hold, change in hundredths, reason it leaves."""
    rules = policy.doubts
    statuses = {signal.status for signal in evidence}
    sources = {signal.source for signal in evidence}
    count, mixed = len(evidence), len(statuses) > 1
    changes = sum(left.status != right.status for left, right in pairwise(evidence))
    faulty = not statuses.isdisjoint((SignalStatus.DOWN, SignalStatus.DEGRADED))
    return (
        (count == 1, rules.low_evidence_volume, Reason.ONE_SIGNAL),
        (count == 2, rules.limited_evidence_volume, Reason.TWO_SIGNALS),
        # The contract counts statuses, also those of one source (seed-behaviours, 4.6 no. 8): its vectors want it so.
        (mixed, rules.cross_source_disagreement, Reason.DISAGREEMENT),
        (SignalStatus.ONLINE in statuses and faulty, rules.status_conflict_recent, Reason.CONFLICT),
        (mixed and SignalStatus.UNKNOWN in statuses, rules.ambiguous_unknown_status, Reason.AMBIGUOUS),
        (changes >= 2, rules.status_flapping, Reason.FLAPPING),
        (statuses == {SignalStatus.DOWN}, rules.all_down, None),
        (count >= 3 and not mixed, rules.many_alike, None),
        (len(sources) >= 2, rules.several_sources, None),
        (True, max((_trust(source, policy) for source in sources), default=0), None),
    )


def _trust(source: str, policy: TriagePolicy) -> int:
    """Return the change of a source; `mail:ann@example.org` is the source mail."""
    kind = source.partition(":")[0]
    return next((change for known, change in policy.doubts.sources.items() if known.value == kind), 0)


def _case(asset: str, evidence: Sequence[Signal], policy: TriagePolicy, verdict: Verdict | None) -> Case:
    counted = _counted(evidence, policy)
    score = _priority(counted, policy)
    formula, reasons = _confidence([one.signal for one in counted if one.is_live], score, policy)
    holding = verdict if verdict is not None and _holds(verdict, evidence, policy) else None
    hundredths, reasons, verify = _judged(formula, reasons, policy, holding)
    cause = root_cause((signal.text for signal in evidence), policy)
    return Case(
        case_id=case_id(asset),
        asset=asset,
        priority_score=score,
        sla_hours=policy.deadlines.hours(score),
        root_cause_tag=cause,
        confidence=hundredths / 100,
        recommended_action=_action(score, policy, holding, verify=verify),
        evidence_ids=tuple(signal.signal_id for signal in reversed(evidence)),
        grid_stress_level=policy.deadlines.stress(score),
        explanation=_explain(evidence, cause, reasons, holding),
        uncertainty_reasons=reasons,
        verification_required=verify,
        formula_hundredths=formula,
    )


def _confidence(live: Sequence[Signal], score: int, policy: TriagePolicy) -> tuple[int, tuple[Reason, ...]]:
    if policy.mode is TriageMode.BASELINE:
        return round(100 * round(max(0.05, min(0.99, 0.55 + score / 200)), 2)), ()
    return _certainty(live, policy)


def _holds(verdict: Verdict, evidence: Sequence[Signal], policy: TriagePolicy) -> bool:
    """Return whether a verdict still says what to do: nobody reported the contrary since."""
    if policy.mode is TriageMode.BASELINE:
        return False
    since = {signal.status for signal in evidence if _at(signal) > verdict.at}
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


def settled(signals: Iterable[Signal]) -> list[Signal]:
    """Return each signal id once (the newest version of it), oldest first; the given order leaves no trace."""
    chosen: dict[str, Signal] = {}
    for signal in sorted(signals, key=_order):
        chosen[signal.signal_id] = signal
    return sorted(chosen.values(), key=_order)


def _order(signal: Signal) -> tuple[datetime, str, str, str, str, str]:
    return _at(signal), signal.signal_id, signal.source, signal.status, signal.asset, signal.text


def _at(signal: Signal) -> datetime:
    return signal.at if signal.at.utcoffset() is not None else signal.at.replace(tzinfo=UTC)
