"""What triage was worth, by what turned out to be true: contract 003's three numbers, and how true certainties were.

Decision 50 defines each figure. Everything here is by trouble: what one asset had, which both modes judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from models.enums import TriageMode
from pipeline.core import calibration
from pipeline.core.calibration import Interval, Pair
from pipeline.core.percentiles import p50_p95

#: From this priority on a real trouble is critical (seed-behaviours, 4.3).
CRITICAL_FROM = 80
#: What the contract's own service takes as the minutes of a mode that was not measured (seed-behaviours, 4.3).
BASELINE_MINUTES, CERTAINTY_MINUTES, TASK_MINUTES = 6.0, 4.0, 2.0


@dataclass(frozen=True, slots=True)
class Saying:
    """What a case said on evidence alone, before anybody had looked: by which policy, how certain, and what."""

    policy_version: int
    formula: int
    told: int
    #: That somebody must go; else that nobody must.
    says_go: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """What one mode made of a trouble."""

    #: When it first asked for a technician; None: never.
    asked_at: datetime | None = None
    #: It had to ask a person at least once.
    is_doubtful: bool = False
    saying: Saying | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """What one asset had, as both modes judged it, and what became of it."""

    lead: TriageMode
    modes: Mapping[TriageMode, Judged]
    #: The highest that it was ever given, and the time that goes with it: what ages is as critical as it was.
    priority: int
    sla: timedelta
    #: When the first report that something is wrong came.
    arrived_at: datetime
    is_real: bool | None = None
    #: When its first order was made: by the mode that led, or by a person.
    ordered_at: datetime | None = None
    #: When the mode that led had decided; None: not yet, or it was closed without a decision.
    decided_at: datetime | None = None
    #: Nobody said so: the work was completed with evidence, or a repair passed its check.
    is_assumed: bool = False
    #: Which version of the policy decided; None: what an older version of Fieldpost left has no history.
    policy_version: int | None = None

    @property
    def is_critical(self) -> bool:
        """Whether it was real, and urgent."""
        return self.is_real is True and self.priority >= CRITICAL_FROM

    @property
    def minutes(self) -> float | None:
        """Measured minutes from the first report to the decision; None: not measured."""
        ends = [at for at in (self.decided_at, self.ordered_at) if at is not None]
        return max(0.0, (min(ends) - self.arrived_at) / timedelta(minutes=1)) if ends else None

    def sent_at(self, mode: TriageMode) -> datetime | None:
        """Return when a mode sends somebody: when it first asked for it, or when an order was made while it led."""
        times = [self.modes[mode].asked_at, self.ordered_at if mode is self.lead else None]
        return min((at for at in times if at is not None), default=None)

    def is_caught(self, mode: TriageMode) -> bool:
        """Say whether a mode sends somebody within the time that the priority gives."""
        at = self.sent_at(mode)
        return at is not None and at <= self.arrived_at + self.sla

    def minutes_of(self, mode: TriageMode) -> float:
        """Return the minutes of a mode: measured of the one that led, the contract's standard of the other."""
        if mode is self.lead and self.minutes is not None:
            return self.minutes
        if mode is TriageMode.BASELINE:
            return BASELINE_MINUTES
        return CERTAINTY_MINUTES + TASK_MINUTES * self.modes[TriageMode.CERTAINTY].is_doubtful


_B, _C = TriageMode.BASELINE, TriageMode.CERTAINTY


def compare(troubles: Sequence[Trouble]) -> dict[str, Any]:
    """Return contract 003's three numbers, with what they were counted from; all finite, rounded to two places."""
    false = [one for one in troubles if one.is_real is False]
    critical = [one for one in troubles if one.is_critical]
    sent = {mode: sum(one.sent_at(mode) is not None for one in false) for mode in TriageMode}
    caught = {mode: sum(one.is_caught(mode) for one in critical) for mode in TriageMode}
    minutes = {mode: math.fsum(one.minutes_of(mode) for one in troubles) for mode in TriageMode}
    return {
        "false_dispatch_reduction_pct": _percent(sent[_B] - sent[_C], sent[_B]),
        "triage_time_reduction_pct": _percent(minutes[_B] - minutes[_C], minutes[_B]),
        "critical_catch_rate_delta_pct": _percent(caught[_C] - caught[_B], len(critical)),
        "counts": {
            **counts(troubles),
            "false_dispatches": {mode.value: number for mode, number in sent.items()},
            "criticals_caught": {mode.value: number for mode, number in caught.items()},
            "minutes": {mode.value: round(number, 2) for mode, number in minutes.items()},
        },
        "intervals": {
            "false_dispatch_rate_pct": {mode.value: _share(sent[mode], len(false)) for mode in TriageMode},
            "critical_catch_rate_pct": {mode.value: _share(caught[mode], len(critical)) for mode in TriageMode},
        },
    }


def counts(troubles: Sequence[Trouble]) -> dict[str, int]:
    """Return how many troubles there are, and of how many something is known."""
    return {
        "cases": len(troubles),
        "known": sum(one.is_real is not None for one in troubles),
        "assumed": sum(one.is_real is not None and one.is_assumed for one in troubles),
        "real": sum(one.is_real is True for one in troubles),
        "not_real": sum(one.is_real is False for one in troubles),
        "criticals": sum(one.is_critical for one in troubles),
        "measured": sum(one.minutes is not None for one in troubles),
    }


def by_policy(troubles: Iterable[Trouble]) -> list[dict[str, Any]]:
    """Return what each version of the policy that decided was worth, by the mode that led; the newest version first."""
    groups: dict[int, list[Trouble]] = {}
    for one in troubles:
        if one.policy_version is not None:
            groups.setdefault(one.policy_version, []).append(one)
    return [{"policy_version": version, **_worth(groups[version], version)} for version in sorted(groups, reverse=True)]


def said_by(troubles: Iterable[Trouble], mode: TriageMode | None, versions: Collection[int]) -> list[Trouble]:
    """Return the troubles of which some versions of the policy are the ones that a mode's saying is of."""
    sayings = [(one, one.modes[mode or one.lead].saying) for one in troubles]
    return [one for one, saying in sayings if saying is not None and saying.policy_version in versions]


def pairs(troubles: Iterable[Trouble], mode: TriageMode | None, told: Callable[[Saying], int]) -> list[Pair]:
    """Return what a mode (None: the one that led) said of each known trouble, and whether that was right."""
    sayings = [(one.modes[mode or one.lead].saying, one.is_real) for one in troubles]
    return [
        (told(saying), saying.says_go is is_real)
        for saying, is_real in sayings
        if saying is not None and is_real is not None
    ]


def _worth(troubles: Sequence[Trouble], version: int) -> dict[str, Any]:
    said = pairs(said_by(troubles, None, {version}), None, lambda saying: saying.told)
    false = [one for one in troubles if one.is_real is False]
    sent = sum(one.sent_at(one.lead) is not None for one in false)
    missed = sum(one.is_critical and not one.is_caught(one.lead) for one in troubles)
    p50, p95 = p50_p95([one.minutes for one in troubles if one.minutes is not None])
    return {
        **counts(troubles),
        "false_dispatches": sent,
        "false_dispatch_rate_pct": _share(sent, len(false)),
        "missed_criticals": missed,
        "triage_minutes_p50": round(p50, 2),
        "triage_minutes_p95": round(p95, 2),
        "expected_calibration_error": round(calibration.expected_error(said), 4),
        "brier_score": round(calibration.brier(said), 4),
        "reliability": [_bin(one) for one in calibration.diagram(said, with_empty=True)],
    }


def _bin(one: calibration.Bin) -> dict[str, Any]:
    return {name: round(value, 4) for name, value in asdict(one).items()}


def _share(hits: int, of: int) -> dict[str, float]:
    """Return a share with its interval, in percent."""
    found: Interval = calibration.wilson(hits, of)
    return {name: round(100 * value, 2) for name, value in asdict(found).items()}


def _percent(part: float, whole: float) -> float:
    """Return a share in percent; of nothing it is 0 (contract 003: finite numbers)."""
    # The sum wipes out a zero's sign.
    return round(100 * part / whole, 2) + 0.0 if whole else 0.0
