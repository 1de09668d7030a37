"""Which team gets the work, whether it goes out by itself, and until when it is due."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.enums import SignalStatus
from pipeline.core.dispatching import (
    Choice,
    Team,
    choose_team,
    due_at,
    should_dispatch,
)
from pipeline.core.scoring import Signal, assess
from pipeline.core.triage_policy import BUILT_IN, Dispatch, TriagePolicy

BOUNDED = settings(max_examples=50, deadline=None)
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def team(team_id: int, skills: str = "", zones: str = "", orders: int = 0, capacity: int | None = 10) -> Team:
    """An active team; words make its skills and zones."""
    return Team(
        team_id,
        f"Team {team_id}",
        frozenset(skills.split()),
        frozenset(zones.split()),
        orders,
        capacity,
        is_active=True,
    )


def test_a_team_with_the_named_skill_and_zone_is_chosen():
    choice = choose_team(
        [team(1), team(2, "network"), team(3, "connector", "north"), team(4, "connector", "south")],
        skill="connector",
        zone="north",
    )
    assert choice.team_id == 3
    assert choice.why(2) == ("lacks the skill connector",)
    assert choice.why(4) == ("does not serve the zone north",)
    assert [candidate.team_id for candidate in choice.candidates] == [3, 1, 2, 4]


def test_every_reason_against_a_team_is_kept():
    refused = replace(team(1, "network", "south", 10), is_active=False)
    assert choose_team([refused], skill="connector", zone="north").why(1) == (
        "is not active",
        "is full: 10 of 10 orders",
        "lacks the skill connector",
        "does not serve the zone north",
    )


def test_an_all_round_team_serves_when_no_specialist_can():
    choice = choose_team([team(1), team(2, "connector", orders=10)], skill="connector", zone=None)
    assert choice.team_id == 1


def test_a_specialist_wins_even_when_busier():
    choice = choose_team([team(1), team(2, "connector", orders=9)], skill="Connector", zone=None)
    assert choice.team_id == 2


def test_room_decides_between_equals():
    assert choose_team([team(1, orders=5), team(2, orders=2)], skill=None, zone=None).team_id == 2


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
def test_ties_go_to_the_lower_id(first, second):
    assert choose_team([team(first), team(second)], skill=None, zone=None).team_id == 1


def test_ties_in_score_go_to_fewer_open_orders_first():
    assert (
        choose_team([team(1, orders=1, capacity=2), team(2, orders=2, capacity=4)], skill=None, zone=None).team_id == 1
    )
    assert (
        choose_team([team(2, orders=1, capacity=2), team(1, orders=2, capacity=4)], skill=None, zone=None).team_id == 2
    )


def test_no_team_is_an_answer():
    assert choose_team([], skill="connector", zone=None) == Choice(None, ())
    full = choose_team([team(1, orders=3, capacity=3), team(2, capacity=0)], skill=None, zone=None)
    assert full.team_id is None
    assert full.why(2) == ("is full: 0 of 0 orders",)


def test_asking_why_of_a_stranger_is_an_error():
    with pytest.raises(KeyError):
        choose_team([], skill=None, zone=None).why(7)


words = st.frozensets(st.sampled_from(["connector", "network", "north", "south"]), max_size=3)
teams = st.lists(
    st.builds(
        Team,
        team_id=st.integers(1, 50),
        name=st.just("T"),
        skills=words,
        zones=words,
        open_orders=st.integers(0, 20),
        capacity=st.none() | st.integers(0, 20),
        is_active=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda team: team.team_id,
)
wishes = st.none() | st.sampled_from(["connector", "network", "north", "elsewhere"])


@BOUNDED
@given(teams, wishes, wishes, st.randoms())
def test_the_choice_does_not_depend_on_order_and_explains_everybody(given_teams, skill, zone, random):
    choice = choose_team(given_teams, skill=skill, zone=zone)
    assert choose_team(random.sample(given_teams, len(given_teams)), skill=skill, zone=zone) == choice
    assert {candidate.team_id for candidate in choice.candidates} == {team.team_id for team in given_teams}
    assert all(candidate.reasons for candidate in choice.candidates)
    assert all(candidate.score is None or 0 <= candidate.score <= 100 for candidate in choice.candidates)


@BOUNDED
@given(teams, wishes, wishes)
def test_the_chosen_team_can_do_the_work(given_teams, skill, zone):
    chosen = choose_team(given_teams, skill=skill, zone=zone).team_id
    able = [
        team
        for team in given_teams
        if team.is_active
        and (team.capacity is None or team.open_orders < team.capacity)
        and (skill is None or not team.skills or skill in team.skills)
        and (zone is None or not team.zones or zone in team.zones)
    ]
    assert (chosen is None) == (not able)
    assert chosen is None or chosen in {team.team_id for team in able}


def test_work_is_due_after_its_hours():
    assert due_at(NOW, 8) == NOW + timedelta(hours=8)
    with pytest.raises(ValueError, match="positive"):
        due_at(NOW, 0)


def case_of(statuses: str, policy: TriagePolicy = BUILT_IN):
    """The case of these statuses, one minute apart from one source."""
    return assess(
        [
            Signal(f"s{n}", "ugc", NOW + timedelta(minutes=n), "AUS_0123", SignalStatus(status), "")
            for n, status in enumerate(statuses.split())
        ],
        policy,
    )


@pytest.mark.parametrize(
    ("statuses", "changes", "expected", "reason"),
    [
        pytest.param("down", {}, True, "priority 95, confidence 0.71", id="certain and urgent"),
        pytest.param("down", {"automatic": False}, False, "automatic dispatch is switched off", id="switched off"),
        pytest.param("down online", {}, False, "verification is open", id="uncertain"),
        pytest.param("online online online", {}, False, "the recommended action is remote_reset", id="reset"),
        pytest.param("down", {"least_certainty": 72}, False, "confidence 0.71 is below 0.72", id="less certain"),
        pytest.param("down", {"least_certainty": 71}, True, "priority 95, confidence 0.71", id="just certain"),
        pytest.param("down", {"least_priority": 96}, False, "priority 95 is below 96", id="less urgent"),
        pytest.param("down", {"least_priority": 95}, True, "priority 95, confidence 0.71", id="just urgent"),
    ],
)
def test_the_policy_decides_and_says_why(statuses, changes, expected, reason):
    assert should_dispatch(case_of(statuses), Dispatch(**changes)) == (expected, reason)
