"""The lifecycles of work orders: every state can be left by a person and be reached, and nothing else is legal."""

from __future__ import annotations

import pytest

from models.enums import WorkOrderState, WorkPolicy
from models.work_lifecycle import BEGINNINGS, FOLLOWED, MOVES, STATES, STAYS, legal_pairs, moves_of, states_before

_OVER = {WorkOrderState.DONE, WorkOrderState.CANCELLED}


@pytest.mark.parametrize("policy", WorkPolicy)
def test_every_state_that_is_not_the_end_can_be_left_by_a_person(policy: WorkPolicy) -> None:
    left = {before for command, pairs in MOVES[policy].items() if command != FOLLOWED for before, _ in pairs}
    assert left == set(STATES[policy]) - _OVER


@pytest.mark.parametrize("policy", WorkPolicy)
def test_every_state_is_reached_from_a_beginning_by_people(policy: WorkPolicy) -> None:
    pairs = [pair for command, some in MOVES[policy].items() if command != FOLLOWED for pair in some]
    reached = {state for some in BEGINNINGS[policy].values() for state in some}
    while more := {after for before, after in pairs if before in reached} - reached:
        reached |= more
    assert reached == set(STATES[policy])


@pytest.mark.parametrize("policy", WorkPolicy)
def test_moves_stay_within_their_policy(policy: WorkPolicy) -> None:
    known = {state.value for state in STATES[policy]}
    assert {state for pair in legal_pairs(policy) for state in pair if state is not None} == known
    for command in MOVES[policy]:
        assert states_before(policy, command) <= known
        assert all(before != after for before, after in moves_of(policy, command))


def test_a_command_that_stays_is_of_one_policy_and_its_states_are_of_it() -> None:
    for command, states in STAYS.items():
        policy = WorkPolicy.FIELD if command.startswith("work_order.") else WorkPolicy.WORKSHOP
        assert set(states) <= set(STATES[policy])
