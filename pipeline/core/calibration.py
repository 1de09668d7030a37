"""How true certainties are: what was said beside how often it was right, and how sure such a share is.

A pair is a certainty in whole hundredths and whether what was said with it was right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

Pair = tuple[int, bool]
#: Of `TriagePolicy.calibration`: a certainty by the formula, and what it means; both in hundredths.
Point = tuple[int, int]
BINS, FOLDS = 10, 5
#: Of the normal distribution: 95 % lie within so many standard deviations.
_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Bin:
    """Certainties from `low` up to the next bin: how many, what they said on average, how often they were right.

    `said` and `was` are 0 in an empty bin.
    """

    low: float
    count: int
    said: float
    was: float


@dataclass(frozen=True, slots=True)
class Interval:
    """A share, 0..1, and between what it lies with 95 % confidence."""

    value: float
    low: float
    high: float


def diagram(pairs: Sequence[Pair], bins: int = BINS, *, with_empty: bool = False) -> list[Bin]:
    """Return the bins that hold something, or all; 100 hundredths stand in the last one."""
    found: list[list[Pair]] = [[] for _ in range(bins)]
    for pair in pairs:
        found[min(bins - 1, pair[0] * bins // 100)].append(pair)
    return [_bin(place / bins, held) for place, held in enumerate(found) if held or with_empty]


def _bin(low: float, held: Sequence[Pair]) -> Bin:
    if not held:
        return Bin(low, 0, 0.0, 0.0)
    return Bin(low, len(held), sum(said for said, _ in held) / 100 / len(held), sum(was for _, was in held) / len(held))


def expected_error(pairs: Sequence[Pair], bins: int = BINS) -> float:
    """Return the expected calibration error, 0..1: the mean gap between said and true, bins weighed by their count."""
    gaps = sum(one.count * abs(one.said - one.was) for one in diagram(pairs, bins))
    return gaps / len(pairs) if pairs else 0.0


def brier(pairs: Sequence[Pair]) -> float:
    """Return the Brier score, 0..1: the mean square of what was said less what was true."""
    return sum((said / 100 - right) ** 2 for said, right in pairs) / len(pairs) if pairs else 0.0


def wilson(hits: int, of: int) -> Interval:
    """Return a share with its Wilson interval (95 %); of nothing it is 0, and may be anything."""
    if of == 0:
        return Interval(0.0, 0.0, 1.0)
    share, square = hits / of, _Z**2
    middle = (share + square / (2 * of)) / (1 + square / of)
    reach = _Z * sqrt(share * (1 - share) / of + square / (4 * of**2)) / (1 + square / of)
    return Interval(share, max(0.0, min(share, middle - reach)), min(1.0, max(share, middle + reach)))


def cross_validated(
    pairs: Sequence[Pair], fit: Callable[[Sequence[Pair]], Callable[[int], int]], folds: int = FOLDS
) -> list[Pair]:
    """Return each pair with what its certainty means by a fit that has not seen it; each fold is every n-th pair.

    Give pairs in an order that has nothing to do with what they say.
    """
    found: list[Pair] = []
    for fold in range(min(folds, len(pairs))):
        others = [pair for place, pair in enumerate(pairs) if place % folds != fold]
        meaning = fit(others)
        found += [(meaning(said), right) for said, right in pairs[fold::folds]]
    return found
