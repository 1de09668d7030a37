"""Which of two media types a client would rather have (RFC 9110, 12.5.1)."""

from __future__ import annotations

from collections.abc import Iterator

_ZERO, _ONE = 0.0, 1.0


def quality(accept: str, media_type: str) -> float | None:
    """Return the weight that a client gives to a media type, 0 to 1, by the range that names it most exactly.

    None when no range names it. A weight that cannot be read is 1.
    """
    kind = media_type.partition("/")[0]
    ranks = {"*/*": 0, f"{kind}/*": 1, media_type: 2}
    found = [(ranks[named], weight) for named, weight in _ranges(accept) if named in ranks]
    return max(found)[1] if found else None


def prefers_json(accept: str) -> bool:
    """Say whether JSON is asked for: by its own name or as `application/*`, and no less than any text.

    Prometheus names text and OpenMetrics; whoever takes everything gets text.
    """
    named = {one for one, _ in _ranges(accept)}
    if not named & {"application/json", "application/*"}:
        return False
    wanted = quality(accept, "application/json") or _ZERO
    others = ("text/plain", "application/openmetrics-text")
    exactly = [quality(accept, one) or _ZERO for one in others if one in named]
    return wanted > _ZERO and all(wanted > other or (wanted == other and _is_first(accept, named)) for other in exactly)


def _is_first(accept: str, named: set[str]) -> bool:
    """Say whether JSON is named before any text: of equals, the one that was named first."""
    order = [one for one, _ in _ranges(accept)]
    json = min(order.index(one) for one in named & {"application/json", "application/*"})
    return all(json < order.index(one) for one in named & {"text/plain", "application/openmetrics-text"})


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    for said in accept.lower().split(","):
        named, *parameters = (part.strip() for part in said.split(";"))
        weights = [part.removeprefix("q=") for part in parameters if part.startswith("q=")]
        if named:
            yield named, _weight(weights[0]) if weights else _ONE


def _weight(said: str) -> float:
    try:
        weight = float(said)
    except ValueError:
        return _ONE
    return weight if _ZERO <= weight <= _ONE else _ONE
