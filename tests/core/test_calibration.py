"""Reliability diagrams, calibration error, Brier score and Wilson intervals, against values known from elsewhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.calibration import Bin, Pair, brier, cross_validated, diagram, expected_error, wilson

PAIRS = st.lists(st.tuples(st.integers(0, 100), st.booleans()), max_size=60)


def test_a_diagram_counts_every_pair_in_its_tenth_and_says_what_was_said_and_what_was() -> None:
    found = diagram([(0, False), (9, True), (10, True), (95, True), (100, False)])
    assert found == [Bin(0.0, 2, 0.045, 0.5), Bin(0.1, 1, 0.1, 1.0), Bin(0.9, 2, 0.975, 0.5)]
    whole = diagram([(55, True)], with_empty=True)
    assert [one.count for one in whole] == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]


def test_certainties_that_come_true_as_often_as_they_say_have_no_error() -> None:
    pairs = [(70, True)] * 7 + [(70, False)] * 3
    assert expected_error(pairs) == pytest.approx(0)
    assert brier(pairs) == pytest.approx(0.21)


def test_the_error_is_the_mean_gap_weighed_by_how_many_there_are() -> None:
    # 3 of 4 at 90 % were right (gap 0.15), 1 of 1 at 60 % (gap 0.4).
    pairs = [(90, True), (90, True), (90, True), (90, False), (60, True)]
    assert expected_error(pairs) == pytest.approx((4 * 0.15 + 0.4) / 5)


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    # Newcombe 1998, table I (method 3): 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_intervals_are_those_of_the_literature(hits: int, of: int, low: float, high: float) -> None:
    found = wilson(hits, of)
    assert (found.value, round(found.low, 4), round(found.high, 4)) == (hits / of, low, high)


def test_of_nothing_nothing_is_known() -> None:
    found = wilson(0, 0)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 1.0)
    assert (expected_error([]), brier([]), diagram([])) == (0.0, 0.0, [])


@given(PAIRS)
def test_figures_lie_between_nothing_and_all_in_whatever_order_pairs_come(pairs: list[Pair]) -> None:
    assert 0 <= expected_error(pairs) <= 1
    assert 0 <= brier(pairs) <= 1
    assert sum(one.count for one in diagram(pairs)) == len(pairs)
    assert expected_error(pairs[::-1]) == pytest.approx(expected_error(pairs))


@given(PAIRS)
def test_a_fit_is_judged_by_pairs_that_it_has_not_seen_each_once(pairs: list[Pair]) -> None:
    numbered = [(place, right) for place, (_, right) in enumerate(pairs)]
    seen: list[set[int]] = []

    def fit(some: list[Pair]):  # type: ignore[no-untyped-def]
        seen.append({said for said, _ in some})

        def meaning(said: int) -> int:
            assert said not in seen[-1]
            return said

        return meaning

    assert sorted(cross_validated(numbered, fit)) == numbered  # type: ignore[arg-type]
