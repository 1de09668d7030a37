"""Whose delay it was: every minute belongs to somebody, and none to two."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.enums import DispatchState
from pipeline.core.delays import Party, delays, party_of
from pipeline.core.field_work import OUT_OF_QUEUE

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
S = DispatchState
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("party", "states"),
    [
        (Party.CUSTOMER, {S.APPROVAL_REQUIRED}),
        (
            Party.PROVIDER,
            {S.SCHEDULED, S.DISPATCHED, S.ON_SITE, S.IN_PROGRESS, S.ON_HOLD, S.COMPLETED_PENDING_VERIFICATION},
        ),
    ],
)
def test_the_contract_says_whose_each_state_is(party: Party, states: set[DispatchState]) -> None:
    assert {state for state in S if party_of(state) is party} == states


def test_a_ticket_that_waited_for_both_is_told_by_party_and_state() -> None:
    entered = [
        (S.TRIAGED, NOON + 10 * MINUTE),
        (S.APPROVAL_REQUIRED, NOON + 12 * MINUTE),
        (S.READY_TO_SCHEDULE, NOON + 42 * MINUTE),
        (S.SCHEDULED, NOON + 50 * MINUTE),
    ]
    found = delays(NOON, S.NEW, entered, NOON + 60 * MINUTE)
    assert found.minutes == {Party.CUSTOMER: 30, Party.PROVIDER: 10, Party.UNKNOWN: 20}
    assert found.by_state[S.NEW] == 10
    assert (found.elapsed_minutes, found.party, found.until) == (60, Party.PROVIDER, NOON + 60 * MINUTE)


def test_what_is_over_counts_until_it_was_and_what_was_opened_again_goes_on() -> None:
    entered = [(S.IN_PROGRESS, NOON + MINUTE), (S.VERIFIED, NOON + 3 * MINUTE), (S.INVOICED, NOON + 9 * MINUTE)]
    over = delays(NOON, S.NEW, entered, NOON + 60 * MINUTE)
    assert (over.elapsed_minutes, over.party, over.until) == (3, None, NOON + 3 * MINUTE)
    again = delays(NOON, S.NEW, [*entered[:2], (S.IN_PROGRESS, NOON + 10 * MINUTE)], NOON + 60 * MINUTE)
    assert (again.elapsed_minutes, again.by_state[S.VERIFIED], again.party) == (60, 7, Party.PROVIDER)


@given(
    st.sampled_from(S),
    st.lists(st.tuples(st.sampled_from(S), st.floats(-1e5, 1e6)), max_size=30),
    st.floats(-1e5, 2e6),
)
def test_every_minute_belongs_to_one_party(
    first: DispatchState, told: list[tuple[DispatchState, float]], until: float
) -> None:
    entered = [(state, NOON + timedelta(seconds=at)) for state, at in told]
    found = delays(NOON, first, entered, NOON + timedelta(seconds=until))
    assert sum(found.minutes.values()) == sum(found.by_state.values()) == found.elapsed_minutes
    assert all(minutes >= 0 for minutes in found.minutes.values())
    # No gap and no overlap.
    edges = [(one.began_at, one.ended_at) for one in found.stays]
    assert all(end == begin for (_, end), (begin, _) in pairwise(edges))
    if edges:
        assert (edges[0][0], edges[-1][1]) == (NOON, found.until)
    last = entered[-1][0] if entered else first
    assert (found.party is None) == (last in OUT_OF_QUEUE)
