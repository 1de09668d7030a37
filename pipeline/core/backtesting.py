"""Two policies over the same histories: what each cost, and how sure the difference is.

Intervals are 95 %, by a paired bootstrap: stretches of trouble of an asset are drawn anew, each with what both policies
made of it. Technicians who are shared between assets make stretches depend on each other a little; the intervals do
not know that, which is why the spread over seeds is told beside them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from random import Random
from typing import Any

from pipeline.core.outcomes import Outcome, Stretch
from pipeline.core.percentiles import p50_p95

#: With fewer known truths than this nothing is concluded.
ENOUGH = 30
_DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Interval:
    """A number as it was measured, and between what it lies in 95 of 100 draws."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.1f} ({self.low:.1f} to {self.high:.1f})"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a policy cost over all histories; minutes are from the first report of a case to its decision."""

    visits: int
    wasted: int
    criticals: int
    caught: int
    late: int
    missed: int
    questions: int
    cases: int
    minutes_p50: float
    minutes_p95: float

    @property
    def weighed(self) -> float:
        """The cost as one number, in wasted visits: what tuning makes small."""
        return self.wasted + PRICES.late * self.late + PRICES.missed * self.missed + PRICES.question * self.questions


@dataclass(frozen=True, slots=True)
class Prices:
    """What counts as much as one wasted visit (an hour of a technician with a van)."""

    #: A critical fault that is reached too late costs a day's sessions and the trust of those who stood there.
    late: float = 4.0
    missed: float = 20.0
    #: A question takes somebody five minutes.
    question: float = 0.08


PRICES = Prices()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Policy A and policy B over the same histories; rates and reductions are in percent, differences in points."""

    a: Cost
    b: Cost
    stretches: int
    wasted_a: Interval
    wasted_b: Interval
    not_caught_a: Interval
    not_caught_b: Interval
    reduction: Interval
    catch_a: Interval
    catch_b: Interval
    catch_difference: Interval

    def as_json(self) -> dict[str, Any]:
        """Return it with plain numbers, rounded to four places."""
        whole: dict[str, Any] = _rounded(asdict(self))
        return whole


@dataclass(frozen=True, slots=True)
class _Totals:
    """Sums over stretches: wasted visits of A and B, criticals, and those that each caught."""

    wasted_a: int
    wasted_b: int
    criticals: int
    caught_a: int
    caught_b: int


_Row = tuple[int, int, int, int, int]
_MEASURES: Mapping[str, Callable[[_Totals], float]] = {
    "wasted_a": lambda sums: sums.wasted_a,
    "wasted_b": lambda sums: sums.wasted_b,
    "not_caught_a": lambda sums: sums.criticals - sums.caught_a,
    "not_caught_b": lambda sums: sums.criticals - sums.caught_b,
    "reduction": lambda sums: _percent(sums.wasted_a - sums.wasted_b, sums.wasted_a),
    "catch_a": lambda sums: _percent(sums.caught_a, sums.criticals),
    "catch_b": lambda sums: _percent(sums.caught_b, sums.criticals),
    "catch_difference": lambda sums: _percent(sums.caught_b - sums.caught_a, sums.criticals),
}


def cost(outcomes: Sequence[Outcome]) -> Cost:
    """Return what a policy cost over several histories."""
    minutes = [minute for one in outcomes for minute in one.minutes]
    p50, p95 = p50_p95(minutes)
    return Cost(
        sum(len(one.visits) for one in outcomes),
        sum(one.wasted for one in outcomes),
        sum(len(one.criticals) for one in outcomes),
        sum(one.caught for one in outcomes),
        sum(one.late for one in outcomes),
        sum(one.missed for one in outcomes),
        sum(one.questions for one in outcomes),
        sum(one.cases for one in outcomes),
        p50,
        p95,
    )


def compare(
    a: Sequence[Outcome], b: Sequence[Outcome], stretches: Sequence[int], *, seed: int = 0, draws: int = _DRAWS
) -> Comparison:
    """Compare two policies over the same histories in the same order; `stretches`: how many each history has.

    Raises ValueError when the outcomes are not of the same histories.
    """
    if not len(a) == len(b) == len(stretches):
        raise ValueError("both policies must have been replayed over the same histories")
    rows = _rows(a, b, stretches)
    intervals = _intervals(rows, Random(seed), draws)  # noqa: S311 - a measurement must be repeatable
    return Comparison(cost(a), cost(b), len(rows), **intervals)


def _rows(a: Sequence[Outcome], b: Sequence[Outcome], stretches: Sequence[int]) -> list[_Row]:
    """Return a row of each stretch; those in which nothing was wasted or critical count, too."""
    found: list[_Row] = []
    for of_a, of_b, count in zip(a, b, stretches, strict=True):
        wasted_a, wasted_b = _wasted(of_a), _wasted(of_b)
        critical = Counter(one.stretch for one in of_a.criticals)
        caught_a, caught_b = _caught(of_a), _caught(of_b)
        keys = sorted({*wasted_a, *wasted_b, *critical})
        told = [(wasted_a[key], wasted_b[key], critical[key], caught_a[key], caught_b[key]) for key in keys]
        found += told
        found += [(0, 0, 0, 0, 0)] * max(0, count - len(told))
    return found


def _wasted(outcome: Outcome) -> Counter[Stretch]:
    return Counter(visit.stretch for visit in outcome.visits if visit.is_wasted)


def _caught(outcome: Outcome) -> Counter[Stretch]:
    return Counter(one.stretch for one in outcome.criticals if one.is_caught)


def _intervals(rows: Sequence[_Row], random: Random, draws: int) -> dict[str, Interval]:
    """Draw as many stretches as there are, again and again; equal ones are drawn as one kind."""
    kinds = Counter(rows)
    names, weights = list(kinds), list(accumulate(kinds.values()))
    drawn: dict[str, list[float]] = {name: [] for name in _MEASURES}
    for _ in range(draws if rows else 0):
        sums = _sums(Counter(random.choices(names, cum_weights=weights, k=len(rows))))
        for name, measure in _MEASURES.items():
            drawn[name].append(measure(sums))
    whole = _sums(kinds)
    return {name: _interval(measure(whole), drawn[name]) for name, measure in _MEASURES.items()}


def _sums(kinds: Mapping[_Row, int]) -> _Totals:
    sums = [0, 0, 0, 0, 0]
    for row, times in kinds.items():
        for place, number in enumerate(row):
            sums[place] += number * times
    return _Totals(*sums)


def _interval(value: float, drawn: list[float]) -> Interval:
    if not drawn:
        return Interval(value, value, value)
    drawn.sort()
    last = len(drawn) - 1
    return Interval(value, drawn[round(0.025 * last)], drawn[round(0.975 * last)])


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole if whole else 0.0


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return round(value, 4) if isinstance(value, float) else value
