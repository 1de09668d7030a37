"""Waits between attempts: the plain sequence, its cap, and the spread of jitter."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.backoff import delay

BOUNDED = settings(max_examples=50, deadline=None)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def test_without_jitter_waits_double_up_to_the_cap():
    waits = [delay(failures, base=SECOND, cap=MINUTE) for failures in range(1, 9)]
    assert [wait.total_seconds() for wait in waits] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_the_outbox_sequence_is_the_same_rule():
    waits = [delay(failures, base=5 * SECOND, cap=5 * MINUTE) for failures in range(1, 6)]
    assert [wait.total_seconds() for wait in waits] == [5, 10, 20, 40, 80]


def test_without_a_failure_there_is_no_wait():
    assert delay(0, base=SECOND, cap=MINUTE) == timedelta(0)


def test_a_cap_below_the_base_wins():
    assert delay(1, base=MINUTE, cap=SECOND) == SECOND


durations = st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=1000))
draws = st.floats(min_value=0, max_value=1, exclude_max=True)


@BOUNDED
@given(st.integers(1, 10**9), durations, durations, draws)
def test_a_wait_is_positive_and_never_above_the_cap_or_the_plain_wait(failures, base, cap, jitter):
    wait = delay(failures, base=base, cap=cap, jitter=jitter)
    assert timedelta(0) < wait <= delay(failures, base=base, cap=cap) <= cap


@BOUNDED
@given(st.integers(1, 100), draws, draws)
def test_a_larger_draw_never_waits_longer(failures, one, other):
    low, high = sorted((one, other))
    assert delay(failures, base=SECOND, cap=MINUTE, jitter=high) <= delay(failures, base=SECOND, cap=MINUTE, jitter=low)


@pytest.mark.parametrize(
    ("failures", "base", "cap", "jitter"),
    [
        pytest.param(-1, SECOND, MINUTE, 0.0, id="negative failures"),
        pytest.param(1, timedelta(0), MINUTE, 0.0, id="no base"),
        pytest.param(1, SECOND, timedelta(0), 0.0, id="no cap"),
        pytest.param(1, SECOND, MINUTE, 1.0, id="jitter of one"),
        pytest.param(1, SECOND, MINUTE, -0.1, id="negative jitter"),
        pytest.param(1, SECOND, MINUTE, float("nan"), id="jitter that is no number"),
    ],
)
def test_nonsense_is_refused(failures, base, cap, jitter):
    with pytest.raises(ValueError, match=r"must be|cannot be"):
        delay(failures, base=base, cap=cap, jitter=jitter)
