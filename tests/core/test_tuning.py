"""A search that keeps to its histories, never gives up what must be caught, and finds the same again."""

from __future__ import annotations

from itertools import islice

import pytest

from pipeline.core import tuning
from pipeline.core.backtesting import Cost
from pipeline.core.triage_policy import BUILT_IN, TriagePolicy, difference
from pipeline.core.tuning import SPACE, Search, calibrated, changed, value_of
from tests.core.pooling import fit

FEW, ALL = 2, 8


def priced(policy: TriagePolicy, histories: int) -> Cost:
    """Return what a policy costs: the nearer to a half-life of 240 and to asking below 80, the less."""
    far = abs(policy.evidence.half_life_minutes - 240) + 10 * abs(policy.verification.below - 80)
    caught = 10 if policy.dispatch.from_priority <= 65 else 9
    return Cost(0, far, 10, caught, 10 - caught, 0, 0, 0, 0, 0)


def search(seed: int = 1, must_catch: float = 0.9) -> Search:
    return Search(BUILT_IN, priced, lambda _: must_catch, FEW, ALL, seed)


def test_the_best_of_a_plain_ground_is_found() -> None:
    best = list(islice(search().tries(50), 500))[-1]
    assert best.cost.wasted == 0
    assert (best.policy.evidence.half_life_minutes, best.policy.verification.below) == (240, 80)


def test_no_try_that_catches_less_than_it_must_is_taken() -> None:
    found = list(islice(search(must_catch=1.0).tries(50), 400))
    assert all(one.is_allowed and one.policy.dispatch.from_priority <= 65 for one in found)


def test_it_never_gets_worse_and_ends_by_itself() -> None:
    ranks = [one.rank for one in search().tries(20)]
    assert ranks == sorted(ranks, reverse=True)


def test_the_same_seed_finds_the_same() -> None:
    assert [one.values for one in islice(search(3).tries(30), 40)] == [
        one.values for one in islice(search(3).tries(30), 40)
    ]


def test_most_tries_are_sifted_on_few_histories() -> None:
    seen: list[int] = []

    def measure(policy: TriagePolicy, histories: int) -> Cost:
        seen.append(histories)
        return priced(policy, histories)

    list(islice(Search(BUILT_IN, measure, lambda _: 0.5, FEW, ALL, 1).tries(100), 101))
    assert set(seen) == {FEW, ALL}
    assert seen.count(FEW) == 101
    assert seen.count(ALL) < 20


@pytest.mark.parametrize("name", list(SPACE))
def test_every_rule_of_the_space_can_have_each_of_its_values(name: str) -> None:
    for value in SPACE[name]:
        assert value_of(changed(BUILT_IN, {name: value}), name) == value


def test_a_rule_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"there is no rule 'doubts.nonsense'"):
        changed(BUILT_IN, {"doubts.nonsense": 1})


def test_certainties_are_fitted_and_what_is_asked_follows_them() -> None:
    def pairs(policy: TriagePolicy) -> list[tuple[int, bool]]:
        return [(said, number < right) for said, right in ((50, 2), (70, 5), (90, 9)) for number in range(10)]

    def measure(policy: TriagePolicy, histories: int) -> Cost:
        return Cost(0, abs(policy.verification.below - 90), 1, 1, 0, 0, 0, 0, 0, 0)

    looked = Search(BUILT_IN, measure, lambda _: 0.5, FEW, ALL)
    found = calibrated(looked, looked.of(BUILT_IN, {}), pairs, fit).policy
    assert found.calibration.points == ((50, 20), (70, 50), (90, 90))
    assert (found.verification.below, found.dispatch.least_certainty) == (90, 90)


def test_a_flat_space_has_nothing_better_than_the_start() -> None:
    flat = Search(
        BUILT_IN, lambda *_: Cost(0, 1, 1, 1, 0, 0, 0, 0, 0, 0), lambda _: 1, FEW, ALL, space={"quiet_days": (7, 30)}
    )
    last = list(flat.tries(5))[-1]
    assert difference(BUILT_IN, last.policy) == {}
    assert isinstance(last, tuning.Tried)
