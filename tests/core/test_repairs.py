"""What a repair is called and worth (seed-behaviours 3.4 and 8), and which parts go together."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.enums import FlagColor
from pipeline.core.repairs import KnownPart, color_of, enveloped, metrics_of, problem_of_parts, xp_of
from pipeline.core.workshop_rules import TicketXp

_FRAME, _WHEEL, _DECK = (KnownPart(UUID(int=n), UUID(int=100 + n // 3)) for n in (1, 2, 3))
_BIKES, _SCOOTERS = _FRAME.category_id, _DECK.category_id


@pytest.mark.parametrize(
    ("minutes", "color", "xp"),
    [(30, "green", 2), (31, "yellow", 2), (60, "yellow", 3), (61, "red", 4), (20, "green", 1), (21, "green", 2)],
)
def test_minutes_say_colour_and_points(minutes: int, color: str, xp: int) -> None:
    found = metrics_of(minutes, TicketXp())
    assert (found.color, found.xp, found.is_manual) == (color, xp, False)


@given(
    minutes=st.integers(1, 10**6),
    divisor=st.integers(1, 10**6),
    green=st.integers(0, 10**6),
    yellow=st.integers(0, 10**6),
)
def test_points_are_the_least_that_cover_the_minutes_and_colours_go_up(
    minutes: int, divisor: int, green: int, yellow: int
) -> None:
    rules = TicketXp(
        base_divisor=divisor,
        flag_green_max_minutes=min(green, yellow),
        flag_yellow_max_minutes=max(green, yellow),
    )
    xp = xp_of(minutes, rules)
    assert (xp - 1) * divisor < minutes <= xp * divisor
    order = list(FlagColor)
    assert order.index(color_of(minutes, rules)) <= order.index(color_of(minutes + 1, rules))


def test_a_green_limit_of_zero_is_zero() -> None:
    rules = TicketXp(flag_green_max_minutes=0, flag_yellow_max_minutes=0)
    assert color_of(1, rules) is FlagColor.RED


@pytest.mark.parametrize(
    ("asked", "known", "category", "is_known_item", "said"),
    [
        ([_FRAME], [_FRAME], _BIKES, True, None),
        ([_FRAME, _WHEEL], [_FRAME, _WHEEL], _BIKES, True, None),
        ([_FRAME], [_FRAME], None, True, None),
        ([_DECK], [_DECK], None, False, None),
        ([_FRAME, _WHEEL], [_FRAME], _BIKES, True, "has no part"),
        ([_FRAME, _DECK], [_FRAME, _DECK], None, False, "one category"),
        ([_DECK], [_DECK], _BIKES, True, "own category"),
    ],
)
def test_parts_are_known_of_one_category_and_of_the_things_own(
    asked: list[KnownPart], known: list[KnownPart], category: UUID | None, is_known_item: bool, said: str | None
) -> None:
    ids = [one.part_id for one in asked]
    found = problem_of_parts(ids, known, category, is_known_item=is_known_item)
    assert found is None if said is None else found is not None and said in found


def test_the_envelope_is_contract_002s() -> None:
    assert enveloped({"a": 1}) == {"success": True, "message": "OK", "data": {"a": 1}}
