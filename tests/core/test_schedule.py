"""The plain rules of windows and holds."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from models.enums import DispatchState, HoldReason
from pipeline.core.field_work import Window
from pipeline.core.schedule import Hold, Proposed, link_expires_at, restored, why_not
from tests.factories import NOON

_HOUR = timedelta(hours=1)
_FROM = (DispatchState.READY_TO_SCHEDULE, DispatchState.SCHEDULE_PROPOSED, DispatchState.SCHEDULED)
_windows = st.integers(-5, 5).filter(bool).map(lambda hours: Window(NOON + hours * _HOUR, NOON + (hours + 1) * _HOUR))


@given(st.sampled_from(_FROM), st.none() | _windows, st.lists(_windows, max_size=3))
def test_no_hold_ever_brings_a_window_back_that_has_begun(
    state: DispatchState, kept: Window | None, others: list[Window]
) -> None:
    hold = Hold(UUID(int=1), HoldReason.CUSTOMER_PENDING, Window(NOON, NOON + _HOUR), state, kept)
    found = restored(hold, [Proposed(one) for one in others], NOON)
    assert found.state in {state, DispatchState.READY_TO_SCHEDULE}
    assert (found.window is None) == (found.state is DispatchState.READY_TO_SCHEDULE)
    assert found.window is None or found.window.starts_at > NOON
    if state is DispatchState.SCHEDULED and kept is not None and kept.starts_at > NOON:
        assert (found.state, found.window) == (state, kept)


def test_of_windows_that_were_offered_the_first_that_lies_ahead_comes_back() -> None:
    past, first, second = (Window(NOON + hours * _HOUR, NOON + (hours + 1) * _HOUR) for hours in (-1, 2, 3))
    hold = Hold(UUID(int=1), HoldReason.CUSTOMER_PENDING, past, DispatchState.SCHEDULE_PROPOSED, past)
    found = restored(hold, [Proposed(past), Proposed(first), Proposed(second)], NOON)
    assert (found.state, found.window) == (DispatchState.SCHEDULE_PROPOSED, first)


def test_a_link_is_good_until_the_last_window_or_for_fourteen_days() -> None:
    windows = [Window(NOON + _HOUR, NOON + 2 * _HOUR), Window(NOON + 5 * _HOUR, NOON + 6 * _HOUR)]
    assert link_expires_at(NOON, windows) == NOON + 6 * _HOUR
    assert link_expires_at(NOON, []) == NOON + timedelta(days=14)
    assert link_expires_at(NOON + 9 * _HOUR, windows) == NOON + 9 * _HOUR + timedelta(days=14)


def test_the_window_that_is_wrong_is_named() -> None:
    good, empty = Window(NOON + _HOUR, NOON + 2 * _HOUR), Window(NOON + _HOUR, NOON + _HOUR)
    assert why_not([good], NOON) is None
    assert why_not([good, empty], NOON) == "options[1]: it must end after it starts"
