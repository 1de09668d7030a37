"""What certainties have turned out to mean, learned by scikit-learn (the extra `learn`); nothing that runs needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any, Literal

from pipeline.core.calibration import Pair, Point
from pipeline.runtime.errors import UserError

Method = Literal["isotonic", "platt"]
NAMES: tuple[Method, ...] = ("isotonic", "platt")
#: Nothing that was only seen so far is sure, and nothing is sure to be wrong.
_LOWEST, _HIGHEST = 1, 99
#: Hundredths between the points of a curve.
_STEP = 5
#: No more points than a policy takes.
_MOST = 101


def fit(pairs: Sequence[Pair], method: Method = "isotonic") -> tuple[Point, ...]:
    """Return the points of `TriagePolicy.calibration` that pairs show, rising; none for no pairs.

    `isotonic` follows whatever shape the pairs have, `platt` lays one smooth curve through them, which few pairs need.
    Raises `UserError` when scikit-learn is not installed.
    """
    if not pairs:
        return ()
    if len({right for _, right in pairs}) == 1:
        return (_of_one_kind(pairs),)
    return _rising(_METHODS[method](pairs))


def _isotonic(pairs: Sequence[Pair]) -> list[tuple[float, float]]:
    model = _learn("isotonic").IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    model.fit([said for said, _ in pairs], [float(right) for _, right in pairs])
    return list(zip(model.X_thresholds_.tolist(), model.y_thresholds_.tolist(), strict=True))


def _platt(pairs: Sequence[Pair]) -> list[tuple[float, float]]:
    said, rights = [[said / 100] for said, _ in pairs], [int(right) for _, right in pairs]
    # Hardly held back: one slope and one height are learned from many pairs.
    model = _learn("linear_model").LogisticRegression(C=1e6).fit(said, rights)
    low, high = min(said)[0], max(said)[0]
    if model.coef_[0][0] <= 0:
        return [(100 * low, sum(rights) / len(rights))]
    places = sorted({round(100 * low), *range(round(100 * low), round(100 * high), _STEP), round(100 * high)})
    meant = model.predict_proba([[place / 100] for place in places])[:, 1].tolist()
    return list(zip(places, meant, strict=True))


_METHODS: MappingProxyType[str, Callable[[Sequence[Pair]], list[tuple[float, float]]]] = MappingProxyType(
    {"isotonic": _isotonic, "platt": _platt}
)


def _of_one_kind(pairs: Sequence[Pair]) -> Point:
    """Return what is meant when all were right, or all wrong: by the rule of succession, nothing is certain."""
    rights = sum(right for _, right in pairs)
    return min(said for said, _ in pairs), _whole((rights + 1) / (len(pairs) + 2))


def _rising(found: Sequence[tuple[float, float]]) -> tuple[Point, ...]:
    """Return points in whole hundredths that stand by rising certainty and never fall, the ends among them."""
    points: dict[int, int] = {}
    for said, meant in found:
        place = round(said)
        points[place] = max(_whole(meant), points.get(place, 0), max(points.values(), default=0))
    ordered = sorted(points.items())
    return tuple(ordered[:_MOST])


def _whole(share: float) -> int:
    return max(_LOWEST, min(_HIGHEST, round(100 * share)))


def _learn(module: str) -> Any:
    """Return a module of scikit-learn."""
    try:
        return import_module(f"sklearn.{module}")
    except ModuleNotFoundError:
        said = "this needs scikit-learn: install it with `pip install 'fieldpost[learn]'`, then run it again"
        raise UserError(said) from None
