"""The two places of a row of numbers that reports tell: the middle, and what nineteen of twenty stay below."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import quantiles


def p50_p95(numbers: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 95th percentile, between numbers by straight lines; 0 of nothing."""
    if len(numbers) < 2:
        return (numbers[0], numbers[0]) if numbers else (0.0, 0.0)
    cuts = quantiles(numbers, n=20, method="inclusive")
    return cuts[9], cuts[18]
