"""People who act on one ticket at the same moment: one effect, the others are told why; nobody waits in a circle."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import combinations_with_replacement

import pytest

from models.lifecycle import MOVES
from pipeline.core.refusing import Refusal
from pipeline.executor import Answer
from pipeline.runtime.db import Database
from pipeline.table import COMMANDS
from tests.commands import schedules, walking
from tests.commands.field_desk import STEPS, FieldDesk
from tests.commands.racing import possible, race, ready, wish
from tests.commands.walking import Walk

#: So many equal requests at once.
_CROWD = 4
#: Pairs in the normal run; all of them in the long one.
_SOME = 14


@pytest.fixture
def walk(db: Database) -> Walk:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    return Walk(FieldDesk.of(db), random.Random(seed))


@pytest.mark.parametrize(
    ("state", "name"),
    [
        ("NEW", "ticket.triage"),
        ("SCHEDULED", "assignment.dispatch"),
        ("APPROVAL_REQUIRED", "approval.decide"),
        ("IN_PROGRESS", "tech.complete"),
        ("VERIFIED", "billing.generate_invoice"),
    ],
)
def test_equal_commands_have_one_effect_and_the_others_its_answer(walk: Walk, state: str, name: str) -> None:
    desk = walk.desk
    ticket_id = ready(desk, state)
    for _ in range(20):
        before, rows = desk.row(ticket_id).version, len(desk.trail(ticket_id))
        found = race(desk.db, [wish(walk, name, ticket_id)] * _CROWD)
        if isinstance(found[0], Answer):
            break
        assert {type(one) for one in found} == {Refusal}, found
    answers = [one for one in found if isinstance(one, Answer)]
    assert [one.is_replayed for one in answers].count(False) == 1
    assert len(answers) == _CROWD
    assert all(one.body == answers[0].body for one in answers)
    assert (desk.row(ticket_id).version, len(desk.trail(ticket_id))) == (before + 1, rows + 1)
    walking.check_ticket(desk, ticket_id)


def pairs() -> list[tuple[str, str, str]]:
    """Return each pair of commands that is possible in a state, at least one of which leads out of it."""
    found = []
    for state in ("NEW", *STEPS):
        names = possible(state)
        found += [
            (state, one, other)
            for one, other in combinations_with_replacement(names, 2)
            if one in MOVES or other in MOVES
        ]
    return found


def clash(walk: Walk, state: str, names: tuple[str, str], *, is_seen: bool) -> list[str]:
    """Let two people do two things at once, with the version that both have seen or without; return how it went."""
    desk = walk.desk
    ticket_id = ready(desk, state)
    before, rows = desk.row(ticket_id), len(desk.trail(ticket_id))
    seen = {"version": before.version} if is_seen else {}
    found = race(desk.db, [wish(walk, name, ticket_id, **seen) for name in names])
    walking.check_ticket(desk, ticket_id)
    assert len(desk.trail(ticket_id)) == rows + 2, (state, names)
    after, states = desk.row(ticket_id), {move[1] for move in desk.moves(ticket_id)}
    done = [one for one in found if isinstance(one, Answer)]
    refused = [one for one in found if isinstance(one, Refusal)]
    assert after.version >= before.version
    for one in refused:
        if one.code == "INVALID_STATE_TRANSITION":
            assert one.details["from_state"] in states, (state, names, one)
            assert "to_state" in one.details
        if one.code == "STALE_VERSION":
            assert one.details["version"] == after.version, (state, names, one)
    if is_seen and len(done) == 2:
        # Two that go by one version: at most one of them has changed the ticket.
        assert after.version <= before.version + 1, (state, names)
    return ["done" if isinstance(one, Answer) else one.code for one in found]


def run_pairs(walk: Walk, wanted: Sequence[tuple[str, str, str]]) -> Counter[str]:
    """Let pairs clash; return how often what came of it."""
    told: Counter[str] = Counter()
    for number, (state, one, other) in enumerate(wanted):
        told.update(clash(walk, state, (one, other), is_seen=bool(number % 2)))
    print(told)
    return told


def test_two_commands_at_once_leave_a_whole_ticket_and_the_loser_knows_why(walk: Walk) -> None:
    told = run_pairs(walk, walk.rng.sample(pairs(), _SOME))
    assert told["done"] >= _SOME // 2


@pytest.mark.soak
def test_all_pairs_of_commands_at_once_leave_whole_tickets(walk: Walk) -> None:
    told = run_pairs(walk, pairs() * 2)
    assert told["STALE_VERSION"] > 0
    assert told["INVALID_STATE_TRANSITION"] > 0


@pytest.mark.parametrize("is_seen", [False, True])
def test_of_two_who_send_somebody_one_is_told_that_the_ticket_is_dispatched_or_stale(walk: Walk, is_seen: bool) -> None:
    desk = walk.desk
    ticket_id = desk.at("SCHEDULED")
    command, version = COMMANDS["assignment.dispatch"], desk.row(ticket_id).version if is_seen else None
    asked = {"target": str(ticket_id), "version": version}
    wishes = [
        (command, desk.ask(command.arguments(tech_id=desk.people[name].person_id), by=by, **asked))
        for name, by in (("tech", "dispatcher"), ("other_tech", "other_dispatcher"))
    ]
    found = race(desk.db, wishes)
    (done,) = (one for one in found if isinstance(one, Answer))
    (lost,) = (one for one in found if isinstance(one, Refusal))
    if is_seen:
        assert (lost.code, lost.details) == ("STALE_VERSION", {"version": done.version})
    else:
        assert (lost.code, lost.details) == (
            "INVALID_STATE_TRANSITION",
            {"from_state": "DISPATCHED", "to_state": "DISPATCHED"},
        )
    assert str(desk.work(ticket_id).assigned_tech_id) == done.body["assigned_tech_id"]


def test_two_tickets_that_want_one_hour_of_one_technician_do_not_both_get_it(walk: Walk) -> None:
    desk, tech_id = walk.desk, walk.desk.people["tech"].person_id
    window, command = schedules.ahead(30), COMMANDS["schedule.confirm"]
    wishes = []
    for _ in range(_CROWD):
        ticket_id = desk.at("READY_TO_SCHEDULE")
        schedules.propose(desk, ticket_id, window, technician_id=tech_id)
        asked = command.arguments(start=window.starts_at, end=window.ends_at)
        wishes.append((command, desk.ask(asked, target=str(ticket_id))))
    found = race(desk.db, wishes)
    assert sum(isinstance(one, Answer) for one in found) == 1
    assert {one.code for one in found if isinstance(one, Refusal)} == {"SLOT_TAKEN"}
