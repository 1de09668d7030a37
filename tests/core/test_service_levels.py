"""Deadlines by priority, how they stand, and which policy times a ticket."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from models.enums import ClockKind, TicketPriority
from pipeline.core.service_levels import (
    DEFAULT,
    Conditions,
    Facts,
    Policy,
    Standing,
    choose,
    read_pauses,
    read_targets,
    remaining_minutes,
    standing,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("priority", "minutes"),
    [
        (TicketPriority.URGENT, 60),
        (TicketPriority.HIGH, 240),
        (TicketPriority.NORMAL, 1440),
        (TicketPriority.LOW, 1440),
    ],
)
def test_without_a_policy_a_priority_has_the_minutes_of_its_rank(priority, minutes):
    targets = DEFAULT.targets[priority]
    assert targets[ClockKind.RESPONSE] == timedelta(minutes=minutes)
    assert targets[ClockKind.RESOLUTION] == timedelta(minutes=4 * minutes)


@pytest.mark.parametrize(
    ("remaining", "expected"),
    [(-1, Standing.BREACH), (0, Standing.WARNING), (45, Standing.WARNING), (46, Standing.HEALTHY)],
)
def test_standing_follows_the_known_vectors(remaining, expected):
    assert standing(remaining) is expected


@pytest.mark.parametrize(
    ("left", "minutes"),
    [
        (timedelta(seconds=-1), -1),
        (timedelta(0), 0),
        (timedelta(seconds=59), 0),
        (timedelta(minutes=45, seconds=59), 45),
        (timedelta(minutes=46), 46),
    ],
)
def test_minutes_are_rounded_down(left, minutes):
    assert remaining_minutes(NOW + left, NOW) == minutes


def policy(name: str, **conditions: object) -> Policy:
    return Policy(UUID(int=len(name)), name, 1, DEFAULT.targets, Conditions.read(conditions))


def test_the_first_policy_whose_conditions_are_met_times_a_ticket():
    queue, mailbox = UUID(int=7), UUID(int=8)
    policies = [
        policy("a", priorities=["urgent"]),
        policy("bb", queue_ids=[str(queue)], tags=["VIP"]),
        policy("ccc", mailbox_ids=[str(mailbox)]),
        policy("dddd"),
    ]
    facts = Facts(TicketPriority.NORMAL)
    assert choose(policies, Facts(TicketPriority.URGENT, queue, mailbox, frozenset({"vip"}))).name == "a"
    assert choose(policies, Facts(TicketPriority.NORMAL, queue, tags=frozenset({"vip", "x"}))).name == "bb"
    assert choose(policies, Facts(TicketPriority.NORMAL, queue, mailbox)).name == "ccc"
    assert choose(policies, facts).name == "dddd"
    assert choose(policies[:3], facts) is DEFAULT
    assert [one.conditions.misses(facts) for one in policies] == ["priority", "queue", "mailbox", None]


GOOD = {"response": 5, "resolution": 10}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"normal": GOOD}, "no targets for the priority high"),
        (dict.fromkeys(TicketPriority, GOOD) | {"extreme": GOOD}, "is no priority"),
        ({one: {"response": 5} for one in TicketPriority}, "for response and resolution"),
        ({one: {"response": 0, "resolution": 9} for one in TicketPriority}, "1 to 129600"),
        ({one: {"response": True, "resolution": 9} for one in TicketPriority}, "1 to 129600"),
        ({one: {"response": 9, "resolution": 5} for one in TicketPriority}, "due after its resolution"),
    ],
)
def test_targets_that_make_no_sense_are_refused_with_words(written, said):
    with pytest.raises(ValueError, match=said):
        read_targets(written, Conditions())


def test_targets_are_needed_for_those_priorities_only_that_are_let_through():
    assert list(read_targets({"urgent": GOOD}, Conditions.read({"priorities": ["urgent"]}))) == ["urgent"]


@pytest.mark.parametrize(
    ("pauses", "said"), [(["resolved"], "only in new, open, pending"), (["new", "open"], "never run")]
)
def test_clocks_pause_only_where_they_could_run(pauses, said):
    with pytest.raises(ValueError, match=said):
        read_pauses(pauses)
