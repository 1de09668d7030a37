"""Isotonic regression by pooling adjacent violators, for tests: in the product scikit-learn does it."""

from __future__ import annotations

from collections.abc import Sequence


def fit(pairs: Sequence[tuple[int, bool]]) -> list[tuple[int, int]]:
    """Return points of a calibration, in hundredths."""
    pools: list[list[float]] = []  # right ones, all, lowest, highest
    for said in sorted({said for said, _ in pairs}):
        held = [right for one, right in pairs if one == said]
        pools.append([sum(held), len(held), said, said])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            right, count, _, highest = pools.pop()
            pools[-1] = [pools[-1][0] + right, pools[-1][1] + count, pools[-1][2], highest]
    points: dict[int, int] = {}
    for right, count, lowest, highest in pools:
        points[int(lowest)] = points[int(highest)] = round(100 * right / count)
    return sorted(points.items())
