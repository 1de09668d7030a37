"""Reports about one asset, and what they come to together: which count, how urgent they are, what they point to.

Everything that does not depend on the mode (contract 003; seed-behaviours, 4.2), in whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter

from models.enums import RootCause, SignalStatus
from pipeline.core.causes import root_cause
from pipeline.core.triage_policy import BUILT_IN, TriagePolicy

#: A report speaks of now while age has left it this many thousandths: it is younger than two half-lives.
_LIVE = 250
_place = attrgetter("at", "signal_id")


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
class Weighed:
    """All reports (settled), those of them that count and still speak of now, and what they come to."""

    evidence: Sequence[Signal]
    live: Sequence[Signal]
    score: int
    cause: RootCause


def settled(signals: Iterable[Signal]) -> list[Signal]:
    """Return each signal id once (the newest version of it), oldest first, with zones; their order leaves no trace."""
    chosen: dict[str, Signal] = {}
    for signal in map(_zoned, signals):
        known = chosen.setdefault(signal.signal_id, signal)
        if known is not signal and _rank(known) < _rank(signal):
            chosen[signal.signal_id] = signal
    return sorted(chosen.values(), key=_place)


def weigh(evidence: Sequence[Signal], policy: TriagePolicy) -> Weighed:
    """Weigh settled reports; the policy's mode does not matter."""
    counted = _counted(evidence, policy)
    score, cause = _priority(counted, policy), root_cause((signal.text for signal in evidence), policy)
    return Weighed(evidence, _live(counted), score, cause)


def priority(evidence: Sequence[Signal], policy: TriagePolicy = BUILT_IN) -> int:
    """Return 0..100 from the worst and the mean status, the sources and the volume; halves round to even.

    In exact arithmetic. No evidence is 0.
    """
    return _priority(_counted(list(map(_zoned, evidence)), policy), policy)


def _zoned(signal: Signal) -> Signal:
    return signal if signal.at.utcoffset() is not None else replace(signal, at=signal.at.replace(tzinfo=UTC))


def _rank(signal: Signal) -> tuple[datetime, str, str, str, str, tuple[bool, float, bool, float]]:
    """Order versions of one report: the newest last, and of equally new ones always the same."""
    place = (signal.lat is None, signal.lat or 0.0, signal.lon is None, signal.lon or 0.0)
    return signal.at, signal.source, signal.status, signal.asset, signal.text, place


def _counted(evidence: Sequence[Signal], policy: TriagePolicy) -> list[tuple[Signal, int]]:
    """Return the reports that count, oldest first, and the thousandths that age has left of each.

    Those beyond reach and repetitions of a report are left out.
    """
    if not evidence:
        return []
    rules, newest = policy.evidence, evidence[-1].at
    reach, half_life, within = rules.reach, rules.half_life, rules.duplicates
    recent = [signal for signal in evidence if newest - signal.at <= reach]
    if within is not None:
        recent = list(_unrepeated(recent, within))
    return [(signal, _left(newest - signal.at, half_life)) for signal in recent]


def _unrepeated(evidence: Iterable[Signal], within: timedelta) -> Iterable[Signal]:
    last: dict[tuple[str, SignalStatus], datetime] = {}
    for signal in evidence:
        who = (signal.source, signal.status)
        before = last.get(who)
        if before is None or signal.at - before > within:
            last[who] = signal.at
            yield signal


def _left(age: timedelta, half_life: timedelta | None) -> int:
    return 1000 if half_life is None else round(1000 * 0.5 ** (age / half_life))


def _live(counted: Sequence[tuple[Signal, int]]) -> list[Signal]:
    return [signal for signal, thousandths in counted if thousandths >= _LIVE]


def _priority(counted: Sequence[tuple[Signal, int]], policy: TriagePolicy) -> int:
    """Return the rounded sum of three fractions, by whole numbers: over the one denominator that they share."""
    if not counted:
        return 0
    rules = policy.weights
    of = {status: rules.of(status) for status in {signal.status for signal, _ in counted}}
    weighed = [of[signal.status] * left for signal, left in counted]
    live, total = _live(counted), sum(left for _, left in counted)
    sources = len({signal.source for signal in live})
    breadth = rules.source * min(sources, rules.most_sources) + rules.signal * min(len(live), rules.most_signals)
    whole = 100_000 * total
    part = rules.worst * max(weighed) * total + 1000 * rules.mean * sum(weighed) + breadth * whole
    return min(100, _rounded(part, whole))


def _rounded(part: int, whole: int) -> int:
    """Return a fraction of 0 or more as the nearest whole number, halves to even."""
    number, rest = divmod(part, whole)
    return number + 1 if 2 * rest > whole or (2 * rest == whole and number % 2) else number
