"""The rules of a workshop as a value: what may be said of them, and what differs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.workshop_rules import Rules, difference

BUILT_IN = Rules()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"tickets": {}}, "there is no rule 'tickets'"),
        ({"ticket_xp": {"base_divider": 20}}, "there is no rule 'ticket_xp.base_divider'"),
        ({"ticket_xp": {"base_divisor": 0}}, "ticket_xp.base_divisor: "),
        ({"ticket_xp": {"base_divisor": True}}, "ticket_xp.base_divisor: "),
        ({"ticket_xp": {"base_divisor": "20"}}, "ticket_xp.base_divisor: "),
        ({"ticket_xp": {"base_divisor": 2.5}}, "ticket_xp.base_divisor: "),
        ({"ticket_xp": {"first_pass_bonus": -1}}, "ticket_xp.first_pass_bonus: "),
        ({"ticket_xp": {"flag_yellow_max_minutes": 29}}, "ticket_xp: flag_yellow_max_minutes must not be less"),
        ({"ticket_xp": 5}, "ticket_xp: "),
        ({"ticket_xp": None}, "ticket_xp: "),
        ({"attendance": {"on_time_cutoff": "99:99"}}, "attendance.on_time_cutoff: write a time of day like 10:00"),
        ({"attendance": {"on_time_cutoff": "9:00"}}, "attendance.on_time_cutoff: "),
        ({"attendance": {"on_time_cutoff": "10:21"}}, "attendance: grace_cutoff must not be before"),
        ({"work_session": {"timezone": "Mars/Base"}}, "work_session.timezone: 'Mars/Base' is no time zone"),
        ({"work_session": {"timezone": "localtime"}}, "work_session.timezone: write the name of a place"),
        ({"work_session": {"timezone": "right/UTC"}}, "work_session.timezone: write the name of a place"),
        ({"work_session": {"daily_pause_limit_minutes": -1}}, "work_session.daily_pause_limit_minutes: "),
        ({"progression": {"level_thresholds": [0, 200, 100, 300, 400]}}, "progression: a higher level"),
        ({"progression": {"level_thresholds": [1, 2, 3, 4, 5]}}, "progression: the first level begins at 0"),
        ({"progression": {"level_thresholds": [0, 1, 2]}}, "progression.level_thresholds"),
        ({"progression": {"currency": "uzs"}}, "progression.currency: "),
    ],
)
def test_what_cannot_be_a_rule_is_told_by_its_name(said: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its words are looked at below
        Rules.change(BUILT_IN, said)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_what_is_left_out_stays_and_what_differs_is_told() -> None:
    changed = Rules.change(
        BUILT_IN, {"attendance": {"late_xp": -3}, "progression": {"level_thresholds": [0, 10, 20, 30, 40]}}
    )
    assert difference(BUILT_IN, changed) == {
        "attendance.late_xp": {"before": -1, "after": -3},
        "progression.level_thresholds": {"before": [0, 200, 450, 750, 1100], "after": [0, 10, 20, 30, 40]},
    }
    assert changed.attendance.on_time_xp == BUILT_IN.attendance.on_time_xp
    assert difference(changed, Rules.change(changed, {"attendance": {"late_xp": -3}})) == {}


def test_a_green_limit_of_nothing_is_nothing() -> None:
    """The first implementation read 0 as 30 (seed-behaviours, 3.8.12)."""
    assert Rules.change(BUILT_IN, {"ticket_xp": {"flag_green_max_minutes": 0}}).ticket_xp.flag_green_max_minutes == 0


@given(st.integers(-1000, 1000), st.integers(1, 100), st.integers(0, 1440))
def test_what_is_stored_is_read_as_it_was(late: int, divisor: int, limit: int) -> None:
    rules = Rules.change(
        BUILT_IN,
        {
            "attendance": {"late_xp": late},
            "ticket_xp": {"base_divisor": divisor},
            "work_session": {"daily_pause_limit_minutes": limit},
        },
    )
    again = Rules.read(rules.stored())
    assert (again, again.checksum, difference(rules, again)) == (rules, rules.checksum, {})
    assert (rules.checksum == BUILT_IN.checksum) == (rules == BUILT_IN)
