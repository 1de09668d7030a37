"""The graph of the lifecycle: whole in the table of commands, in the database, and in what people are told."""

from __future__ import annotations

from collections import defaultdict
from itertools import product

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from models.enums import DispatchState, TransitionKind
from models.lifecycle import (
    AUTOMATIC_DISPATCH,
    AUTOMATIC_TRIAGE,
    BEGINNINGS,
    HOLD_LAPSED,
    MOVES,
    STAYS,
    legal_pairs,
)
from models.permissions import BUILT_IN
from pipeline.runtime import auditing
from pipeline.runtime.auditing import Entry
from pipeline.runtime.db import Database
from pipeline.table import COMMANDS
from tests import factories
from tests.commands.desks import principal

#: Nothing leads out of it.
FINAL = {DispatchState.CLOSED}
#: What the system does by itself is no command of anybody.
_AUTOMATIC = {AUTOMATIC_TRIAGE, AUTOMATIC_DISPATCH, HOLD_LAPSED}
#: Done within another command, whose key they stand under.
_PARTS = {"plan.book"}
_FIELD = {name: one for name, one in COMMANDS.items() if one.kind is TransitionKind.DISPATCH}


def _led_from(start: set[str], *, by_people: bool) -> set[str]:
    """Return the states that can be come to."""
    out = defaultdict(set)
    for command, pairs in MOVES.items():
        if by_people and command in _AUTOMATIC:
            continue
        for before, after in pairs:
            out[before.value].add(after.value)
    reached, edge = set(start), set(start)
    while edge:
        edge = {there for here in edge for there in out[here]} - reached
        reached |= edge
    return reached


def test_every_row_of_the_lifecycle_is_a_command_and_the_other_way_round() -> None:
    makers = {name for name, one in _FIELD.items() if one.beginnings}
    movers = {name for name, one in _FIELD.items() if one.moves}
    assert movers == set(MOVES) - _AUTOMATIC
    assert makers == set(BEGINNINGS)


@pytest.mark.parametrize("name", sorted(set(MOVES) - _AUTOMATIC))
def test_a_command_makes_the_moves_of_the_table_and_wants_a_key(name: str) -> None:
    command = COMMANDS[name]
    assert command.moves == {(before.value, after.value) for before, after in MOVES[name]}
    assert command.needs_key or name in _PARTS
    stays = {state.value for state in STAYS.get(name, ())}
    assert command.from_states == {before for before, _ in command.moves} | stays


@pytest.mark.parametrize("name", sorted(BEGINNINGS))
def test_a_ticket_is_made_in_the_states_of_the_table(name: str) -> None:
    assert COMMANDS[name].beginnings == {state.value for state in BEGINNINGS[name]}


def test_every_state_is_come_to_from_a_beginning() -> None:
    begun = {state.value for states in BEGINNINGS.values() for state in states}
    assert _led_from(begun, by_people=True) == {state.value for state in DispatchState}


@pytest.mark.parametrize("state", [state for state in DispatchState if state not in FINAL])
def test_a_built_in_role_other_than_the_administrator_can_lead_out_of_every_state(state: DispatchState) -> None:
    out = [one for one in _FIELD.values() if any(before == state and after != state for before, after in one.moves)]
    roles = {role.code for role in BUILT_IN for one in out if one.permission in role.permissions} - {"admin"}
    # On site is passed through by the check-in that leads there: nobody stands in it, and yet it leads on.
    assert roles, f"nobody leads out of {state}"


@pytest.mark.parametrize("state", list(DispatchState))
def test_every_state_has_a_way_to_the_end(state: DispatchState) -> None:
    assert _led_from({state.value}, by_people=True) & {DispatchState.CLOSED.value, DispatchState.CANCELLED.value}


def test_nothing_leads_out_of_the_end() -> None:
    assert {before for pairs in MOVES.values() for before, _ in pairs} & FINAL == set()


def test_the_database_takes_the_legal_pairs_and_no_other(db: Database) -> None:
    legal = set(legal_pairs())
    states = [state.value for state in DispatchState]
    insert = text("""
        INSERT INTO transitions (org_id, ticket_id, kind, from_state, to_state, command, audit_number)
        VALUES (:org, :ticket, 'dispatch', :before, :after, 'test', :number)
    """)
    wrong = []
    with db.begin() as connection:
        org_id = factories.organization(connection)
        ticket_id = factories.ticket(connection, org_id)
        who = principal(org_id)
        entry: Entry = auditing.by(who, "test", target_kind="ticket", target_id=str(ticket_id))
        values = {"org": org_id, "ticket": ticket_id, "number": auditing.append(connection, entry)}
        for before, after in product([None, *states], states):
            try:
                with connection.begin_nested():
                    connection.execute(insert, values | {"before": before, "after": after})
                taken = True
            except IntegrityError:
                taken = False
            if taken != ((before, after) in legal):
                wrong.append((before, after, taken))
    assert wrong == []
