"""Random walks of mixed people over all commands of field work: no illegal state, no lost row, no error."""

from __future__ import annotations

import random

import pytest

from pipeline.runtime.db import Database
from tests.commands import walking
from tests.commands.field_desk import FieldDesk
from tests.commands.walking import Walk


def test_the_walk_asks_for_every_command_of_field_work() -> None:
    assert [name for name in walking.walked() if name not in walking.DRAWS] == []


def walk(db: Database, steps: int, seed: int) -> Walk:
    """Take a number of steps in two organizations in turn."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    walks = [Walk(FieldDesk.of(db), rng) for _ in range(2)]
    for number in range(steps):
        walks[number % 2].step()
    for one in walks:
        for ticket_id in one.tickets:
            walking.check_ticket(one.desk, ticket_id)
    return walks[0]


def test_people_who_ask_for_anything_leave_every_ticket_legal_and_every_row_told(db: Database) -> None:
    made = walk(db, 700, random.SystemRandom().randrange(10**6))
    print(made.done, made.refused)
    assert made.replayed > 0


@pytest.mark.soak
def test_ten_thousand_steps_reach_the_end_of_the_road(db: Database) -> None:
    made = walk(db, 10_000, random.SystemRandom().randrange(10**6))
    print(made.done, made.refused, made.replayed)
    assert {"billing.generate_invoice", "ticket.close", "qa.verify", "ticket.reopen"} <= set(made.done)
