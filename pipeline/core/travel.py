"""How long people are on the way: along the great circle, longer by what streets are, at the pace of a town."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import asin, cos, radians, sin, sqrt

_EARTH_KM = 6371.0
#: Streets are longer than the great circle; the usual factor for towns is 1.2 to 1.4.
_DETOUR = 1.3
_KM_PER_HOUR = 40.0
#: Seconds between two places of which one is not known.
UNKNOWN = 1_200
#: Seconds between two different places at least: parking, doors.
SHORTEST = 300


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place on earth, in degrees. Raises ValueError for one that is not there."""

    lat: float
    lon: float

    def __post_init__(self) -> None:
        if not (-90 <= self.lat <= 90 and -180 <= self.lon <= 180):
            raise ValueError(f"{self.lat}, {self.lon} is no place on earth")


def position(lat: float | None, lon: float | None) -> Position | None:
    """Return the place of two columns; None while it is not known."""
    return None if lat is None or lon is None else Position(lat, lon)


def kilometres(here: Position, there: Position) -> float:
    """Return the great-circle distance between two places (haversine)."""
    up, along = radians(there.lat - here.lat) / 2, radians(there.lon - here.lon) / 2
    part = sin(up) ** 2 + cos(radians(here.lat)) * cos(radians(there.lat)) * sin(along) ** 2
    return 2 * _EARTH_KM * asin(min(1.0, sqrt(part)))


def seconds(here: Position | None, there: Position | None) -> int:
    """Return how long it takes from one place to another, in seconds; 0 within one place."""
    if here is None or there is None:
        return UNKNOWN
    if here == there:
        return 0
    return max(SHORTEST, round(kilometres(here, there) * _DETOUR / _KM_PER_HOUR * 3_600))


def matrix(places: Sequence[Position | None]) -> list[list[int]]:
    """Return how long it takes between all places, in seconds, by their numbers; the same both ways.

    A place without a position is one of its own: on the way from it to itself nobody is.
    """
    found = [[0] * len(places) for _ in places]
    for one, here in enumerate(places):
        for other in range(one):
            found[one][other] = found[other][one] = seconds(here, places[other])
    return found
