"""What two policies cost, how sure the difference is, and how true certainties are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import calibration
from pipeline.core.backtesting import Cost, compare, cost
from pipeline.core.outcomes import Critical, Outcome, Visit
from tests.core.histories import at


def outcome(wasted: int, useful: int = 0, caught: int = 0, late: int = 0, missed: int = 0) -> Outcome:
    """Return what a policy cost: each visit and each critical in a stretch of its own."""
    visits = [Visit((f"W{number}", 1), at(0), is_wasted=True) for number in range(wasted)]
    visits += [Visit((f"U{number}", 1), at(0), is_wasted=False) for number in range(useful)]
    kinds = [(at(1), True)] * caught + [(at(900), False)] * late + [(None, False)] * missed
    criticals = [
        Critical((f"C{number}", 1), number, at(0), arrived, is_caught=is_caught)
        for number, (arrived, is_caught) in enumerate(kinds)
    ]
    return Outcome(tuple(visits), tuple(criticals), (), (1.0, 3.0), 2, 9, 0)


def test_costs_are_summed_over_histories() -> None:
    found = cost([outcome(3, 2, 4, 1, 2), outcome(1, 0, 1)])
    assert (found.visits, found.wasted, found.criticals) == (6, 4, 8)
    assert (found.caught, found.late, found.missed, found.questions, found.cases) == (5, 1, 2, 4, 18)
    assert (found.minutes_p50, found.minutes_p95) == (2.0, 3.0)
    assert cost([]) == Cost(0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0)


def test_reductions_are_in_percent_and_differences_in_points() -> None:
    found = compare([outcome(10, caught=6, late=2)], [outcome(4, caught=7, missed=1)], [40])
    assert (found.reduction.value, found.catch_difference.value) == (60.0, 12.5)
    assert (found.catch_a.value, found.catch_b.value) == (75.0, 87.5)
    assert found.stretches == 40
    assert found.reduction.low < 60 < found.reduction.high


def test_an_interval_narrows_with_more_of_the_same_and_pairs_count() -> None:
    few = compare([outcome(20)], [outcome(10)], [100])
    many = compare([outcome(20)] * 16, [outcome(10)] * 16, [100] * 16)
    width = few.reduction.high - few.reduction.low
    assert many.reduction.high - many.reduction.low < width / 2
    same = compare([outcome(20, caught=5)], [outcome(20, caught=5)], [100])
    assert (same.reduction.low, same.reduction.high) == (0, 0)  # both policies err at the same places
    assert same.wasted_a.low < 20 < same.wasted_a.high


def test_the_interval_of_a_rate_is_about_as_wide_as_theory_says() -> None:
    found = compare([outcome(0, caught=80, late=20)], [outcome(0, caught=80, late=20)], [100], draws=2_000)
    assert 6 < found.catch_a.high - 80 < 10  # 1.96 * sqrt(.8 * .2 / 100) = 7.8 points
    assert 6 < 80 - found.catch_a.low < 10


def test_the_same_seed_draws_the_same_interval() -> None:
    once, again, other = (compare([outcome(9)], [outcome(3)], [50], seed=seed) for seed in (1, 1, 2))
    assert once == again
    assert once.reduction != other.reduction


def test_nothing_to_compare_is_nothing_and_no_error() -> None:
    found = compare([outcome(0)], [outcome(0)], [0])
    assert (found.reduction.value, found.catch_difference.high) == (0, 0)


def test_outcomes_of_different_histories_are_refused() -> None:
    with pytest.raises(ValueError, match="same histories"):
        compare([outcome(1)], [], [1])


def test_certainties_that_say_what_is_true_have_no_error_and_boasting_ones_have_it_all() -> None:
    honest = [(80, number % 5 != 0) for number in range(100)]
    assert calibration.expected_error(honest) == pytest.approx(0)
    assert calibration.brier(honest) == pytest.approx(0.16)
    assert calibration.expected_error([(100, False)] * 3) == calibration.brier([(100, False)] * 3) == 1
    assert calibration.expected_error([]) == calibration.brier([]) == 0


def test_bins_hold_tenths_and_the_last_one_is_closed() -> None:
    bins = calibration.diagram([(0, False), (9, True), (10, True), (90, True), (100, False)])
    assert [(one.low, one.count) for one in bins] == [(0.0, 2), (0.1, 1), (0.9, 2)]
    assert (bins[0].said, bins[0].was) == (0.045, 0.5)


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), max_size=60))
def test_every_pair_stands_in_one_bin_and_scores_stay_between_none_and_all(pairs) -> None:
    assert sum(one.count for one in calibration.diagram(pairs)) == len(pairs)
    assert 0 <= calibration.expected_error(pairs) <= 1
    assert calibration.expected_error(pairs) ** 2 <= calibration.brier(pairs) + 1e-9
