"""What is learned of certainties and outcomes: rising points that a policy takes, and less error than before."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters import calibrating
from pipeline.core.calibration import Pair, cross_validated, expected_error
from pipeline.core.triage_policy import Calibration
from pipeline.runtime.errors import UserError

METHODS = calibrating.NAMES


def overconfident(count: int, seed: int) -> list[Pair]:
    """Return pairs whose certainties promise more than they keep: what says 90 % is right in 60 of 100."""
    draws = Random(seed)
    said = [draws.choice([38, 52, 64, 71, 85, 99]) for _ in range(count)]
    return [(one, draws.random() < 0.2 + 0.45 * one / 100) for one in said]


@pytest.mark.parametrize("method", METHODS)
def test_certainties_that_promised_too_much_promise_what_they_keep(method: calibrating.Method) -> None:
    pairs = overconfident(1_000, seed=7)
    after = cross_validated(pairs, lambda some: Calibration(points=calibrating.fit(some, method)).meaning)
    assert expected_error(pairs) > 0.15
    assert expected_error(after) < 0.05


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), max_size=40), st.sampled_from(METHODS))
def test_whatever_was_seen_its_points_are_those_of_a_policy_and_nothing_is_certain(
    pairs: list[Pair], method: calibrating.Method
) -> None:
    points = calibrating.fit(pairs, method)
    assert Calibration(points=points).points == points
    assert all(1 <= meant <= 99 for _, meant in points)
    assert bool(points) is bool(pairs)
    assert calibrating.fit(pairs, method) == points


def test_few_that_were_all_right_are_no_certainty() -> None:
    assert calibrating.fit([(80, True)] * 8) == ((80, 90),)


def test_without_scikit_learn_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(calibrating, "import_module", missing)
    with pytest.raises(UserError, match=r"fieldpost\[learn\]"):
        calibrating.fit([(80, True), (70, False)])
