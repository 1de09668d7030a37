"""How long people are on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.travel import SHORTEST, UNKNOWN, Position, kilometres, matrix, position, seconds

_BERLIN, _POTSDAM = Position(52.52, 13.405), Position(52.396, 13.058)
_PLACES = st.builds(Position, st.floats(-90, 90), st.floats(-180, 180))


def test_distances_are_those_of_the_map() -> None:
    assert kilometres(_BERLIN, _POTSDAM) == pytest.approx(27.3, abs=0.3)
    assert kilometres(Position(0, 0), Position(0, 180)) == pytest.approx(20_015, abs=1)
    assert kilometres(Position(0, 179.5), Position(0, -179.5)) == pytest.approx(111.2, abs=0.1)
    # 27.3 km, a third more on streets, at 40 km/h.
    assert seconds(_BERLIN, _POTSDAM) == pytest.approx(27.3 * 1.3 / 40 * 3_600, rel=0.02)


def test_what_is_not_known_takes_twenty_minutes_and_next_door_five() -> None:
    assert seconds(None, _BERLIN) == seconds(_BERLIN, None) == seconds(None, None) == UNKNOWN == 1_200
    assert seconds(_BERLIN, Position(52.5201, 13.405)) == SHORTEST == 300
    assert (position(None, 1.0), position(1.0, None), position(1.0, 2.0)) == (None, None, Position(1.0, 2.0))


@pytest.mark.parametrize(("lat", "lon"), [(91, 0), (0, 181), (float("nan"), 0)])
def test_a_place_is_on_earth(lat: float, lon: float) -> None:
    with pytest.raises(ValueError, match="no place on earth"):
        Position(lat, lon)


@given(st.lists(_PLACES | st.none(), max_size=6))
def test_a_matrix_is_the_same_both_ways_and_nothing_on_the_spot(places: list[Position | None]) -> None:
    found = matrix(places)
    for one, here in enumerate(places):
        assert found[one][one] == 0
        for other, there in enumerate(places):
            assert found[one][other] == found[other][one] == (0 if one == other else seconds(here, there))
            assert isinstance(found[one][other], int)
