"""Looks for a policy that costs less, on histories that it may see: random search, then one rule at a time.

What was found must be measured on other histories: `fieldpost triage tune` refuses seeds that overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from random import Random
from typing import Any

from models.enums import SignalSource
from pipeline.core.backtesting import Cost
from pipeline.core.calibration import Pair
from pipeline.core.triage_policy import TriagePolicy

#: What may be chosen for each rule, from low to high.
Choices = Mapping[str, Sequence[int]]
SPACE: Choices = {
    "verification.below": (50, 55, 60, 65, 70, 75, 80, 85, 90, 95),
    "dispatch.from_priority": (50, 55, 60, 65, 70, 75),
    "evidence.half_life_minutes": (0, 60, 120, 240, 480, 1440, 4320),
    "evidence.duplicate_minutes": (0, 10, 30, 60, 120, 240),
    "doubts.low_evidence_volume": (-40, -32, -24, -16, -8),
    "doubts.limited_evidence_volume": (-30, -20, -10, 0),
    "doubts.cross_source_disagreement": (-24, -16, -8, 0),
    "doubts.status_conflict_recent": (-40, -32, -24, -16, -8),
    "doubts.ambiguous_unknown_status": (-16, -8, 0),
    "doubts.status_flapping": (-30, -20, -10),
    "doubts.many_alike": (0, 5, 10, 15),
    "doubts.several_sources": (0, 3, 8, 14, 20),
    **{f"doubts.sources.{source}": (-20, -12, -6, 0, 6, 12) for source in SignalSource},
    "quiet_days": (1, 2, 4, 7, 14, 30),
}


@dataclass(frozen=True, slots=True)
class Tried:
    """A policy that was tried, and what it cost; `is_allowed`: it caught at least as many criticals as it must."""

    values: Mapping[str, int]
    policy: TriagePolicy
    cost: Cost
    is_allowed: bool

    @property
    def rank(self) -> tuple[bool, float]:
        """The smaller the better."""
        return not self.is_allowed, self.cost.weighed


#: What a policy costs on the first so many of the histories.
Measure = Callable[[TriagePolicy, int], Cost]


@dataclass(frozen=True, slots=True)
class Search:
    """A search over histories that it may see; the first `few` of them sift what is measured on all.

    `must_catch` is what share of the criticals must be caught, by how many histories were looked at.
    """

    start: TriagePolicy
    measure: Measure
    must_catch: Callable[[int], float]
    few: int
    histories: int
    seed: int = 0
    space: Choices = field(default_factory=lambda: SPACE)

    def tries(self, drawn: int) -> Iterator[Tried]:
        """Yield the best so far: at the start, after each of `drawn` random tries, and after each step from there.

        A step is along one rule. Ends when none makes it better; who has seen enough may stop before.
        """
        random = Random(self.seed)  # noqa: S311 - a search must be repeatable
        best, sifted = self._try({}, self.histories), self._try({}, self.few)
        yield best
        for _ in range(drawn):
            tried = self._try(self._drawn(random, best.values), self.few)
            if tried.rank < sifted.rank:
                whole = self._try(tried.values, self.histories)
                best, sifted = (whole, tried) if whole.rank < best.rank else (best, sifted)
            yield best
        yield from self._steps(best, random)

    def _steps(self, best: Tried, random: Random) -> Iterator[Tried]:
        names, unchanged = list(self.space), 0
        random.shuffle(names)
        for name in cycle(names):
            before = best
            for values in self._beside(best, name):
                tried = self._try(values, self.histories)
                best = min(best, tried, key=lambda one: one.rank)
                yield best
            unchanged = unchanged + 1 if best is before else 0
            if unchanged == len(names):
                return

    def of(self, policy: TriagePolicy, values: Mapping[str, int]) -> Tried:
        """Return what a policy costs on all histories."""
        return self._measured(policy, values, self.histories)

    def _try(self, values: Mapping[str, int], histories: int) -> Tried:
        return self._measured(changed(self.start, values), values, histories)

    def _measured(self, policy: TriagePolicy, values: Mapping[str, int], histories: int) -> Tried:
        cost = self.measure(policy, histories)
        share = cost.caught / cost.criticals if cost.criticals else 1.0
        return Tried(values, policy, cost, share >= self.must_catch(histories))

    def _drawn(self, random: Random, values: Mapping[str, int]) -> dict[str, int]:
        """Half of the tries are drawn anew, the others change a few rules of the best one."""
        if random.random() < 0.5:
            return {name: random.choice(choices) for name, choices in self.space.items()}
        some = random.sample(list(self.space), min(3, len(self.space)))
        return {**values, **{name: random.choice(self.space[name]) for name in some}}

    def _beside(self, best: Tried, name: str) -> list[dict[str, int]]:
        choices = self.space[name]
        now = best.values.get(name, value_of(self.start, name))
        nearest = min(range(len(choices)), key=lambda place: abs(choices[place] - now))
        beside = [place for place in (nearest - 1, nearest, nearest + 1) if 0 <= place < len(choices)]
        return [{**best.values, name: choices[place]} for place in beside if choices[place] != now]


_THRESHOLDS = 8
#: Fits what certainties mean: (said in hundredths, was right) in, points of a calibration out.
Fit = Callable[[Sequence[Pair]], Sequence[tuple[int, int]]]


def calibrated(search: Search, found: Tried, pairs: Callable[[TriagePolicy], Sequence[Pair]], fit: Fit) -> Tried:
    """Return what was found with certainties that mean what they say, and with the threshold that suits them best.

    What is asked changes what is known when a case is decided: so it is fitted, and the threshold looked for, twice.
    `pairs` are the formula's certainties under a policy, and whether it was right.
    """
    best = found
    for _ in range(2):
        fitted = _fitted(best, pairs, fit)
        tried = [search.of(_asking(fitted, below), best.values) for below in _thresholds(fitted)]
        best = min(tried, key=lambda one: one.rank)
    return best


def _fitted(found: Tried, pairs: Callable[[TriagePolicy], Sequence[Pair]], fit: Fit) -> TriagePolicy:
    points = [list(point) for point in fit(pairs(found.policy))]
    return TriagePolicy.change(found.policy, {"calibration": {"points": points}})


def _thresholds(policy: TriagePolicy) -> list[int]:
    """Return what may be asked below: some of the meanings that occur, spread evenly, and more than the highest."""
    meant = sorted({policy.calibration.meaning(said) for said in range(101)})
    some = {meant[round(place * (len(meant) - 1) / _THRESHOLDS)] for place in range(_THRESHOLDS + 1)}
    return [*sorted(some), min(100, meant[-1] + 1)]


def _asking(policy: TriagePolicy, below: int) -> TriagePolicy:
    """Ask below a certainty, and send by itself from there on: in a replay everything is done that is recommended."""
    sends = {
        "least_certainty": min(below, policy.verification.certainty),
        "least_priority": policy.dispatch.from_priority,
    }
    return TriagePolicy.change(policy, {"verification": {"below": below}, "dispatch": sends})


def changed(policy: TriagePolicy, values: Mapping[str, int]) -> TriagePolicy:
    """Return a policy with rules by name (`verification.below`). Raises ValueError when a rule cannot be so."""
    said: dict[str, Any] = {}
    sources = {source.value: change for source, change in policy.doubts.sources.items()}
    for name, value in values.items():
        part, _, rule = name.partition(".")
        if rule.startswith("sources."):
            sources[rule.removeprefix("sources.")] = value
        elif rule:
            said.setdefault(part, {})[rule] = value
        else:
            said[part] = value
    if sources:
        said.setdefault("doubts", {})["sources"] = {name: value for name, value in sources.items() if value}
    return TriagePolicy.change(policy, said)


def value_of(policy: TriagePolicy, name: str) -> int:
    """Return the value of a rule by name; a source that is not named changes nothing."""
    found: Any = policy.stored()
    for part in name.split("."):
        found = found.get(part, 0)
    return int(found)
