"""A random walk of mixed people over the work orders of two places: no illegal state, nothing untold, no error."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest

from models.enums import WorkOrderState
from models.work_lifecycle import FIELD, legal_pairs
from pipeline import executor
from pipeline.command import Refused
from pipeline.commands import work_orders_create
from pipeline.commands.work_order_arguments import Finish, Nothing, OutsourcedEnd, Outsourcing, Reasoned
from pipeline.core.orders import Order
from pipeline.runtime.db import Database
from tests.commands.order_work import COMMANDS, assignment, new_order, prove
from tests.commands.work_desk import WorkDesk

_PEOPLE = ("tech", "other_tech", "tech", "other_tech", "lead", "lead", "ops_lead", "store", "admin", "viewer")
#: Who is let do what, mostly; anybody may try anything.
_HANDS = {
    **dict.fromkeys(("assign", "outsource"), ("lead", "admin")),
    "complete-outsourced": ("store", "lead"),
    "cancel": ("ops_lead", "lead"),
}
#: What makes sense in a state; anything is asked for in any.
_SENSIBLE = {
    WorkOrderState.CREATED: ("assign", "assign", "outsource"),
    WorkOrderState.ASSIGNED: ("start", "start", "return"),
    WorkOrderState.IN_PROGRESS: ("done", "done", "return", "assign"),
    WorkOrderState.RETURNED: ("assign", "assign", "outsource"),
    WorkOrderState.OUTSOURCED: ("complete-outsourced", "assign"),
    WorkOrderState.DONE: ("done",),
    WorkOrderState.CANCELLED: ("start",),
}
_LEGAL = set(legal_pairs(FIELD))


@dataclass
class Walk:
    """One place's orders, and what was done to them so far."""

    desk: WorkDesk
    rng: random.Random
    orders: list[UUID] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def step(self) -> None:
        """Ask for something, sensible or not."""
        if len(self.orders) < 3 or self.rng.random() < 0.15:
            self._ask(
                "create", work_orders_create.CREATE, new_order(self.desk, f"i{self.rng.randrange(40)}"), "ops_lead"
            )
            return
        order_id = self.rng.choice(self.orders[-5:])
        order = self.desk.read(order_id)
        word = self.rng.choice(_SENSIBLE[order.state] if self.rng.random() < 0.7 else [*COMMANDS])
        by = self.rng.choice(_PEOPLE if self.rng.random() < 0.15 else self._hands(word, order))
        if word == "done" and self.rng.random() < 0.8:
            prove(self.desk, order_id, attempt=order.attempt)
        version = order.version - self.rng.choice((0, 0, 0, 0, 1))
        self._ask(word, COMMANDS[word], self._wish(word), by, target=str(order_id), version=version)

    def _hands(self, word: str, order: Order) -> tuple[str, ...]:
        """Return who does it, mostly."""
        if word not in {"start", "done", "return"}:
            return _HANDS[word]
        return tuple(name for name in ("tech", "other_tech") if self.desk.person_id(name) == order.assigned_to_id) or (
            "tech",
        )

    def _wish(self, word: str) -> Any:
        why = self.rng.choice((None, " ", "it is so", "it is so"))
        return {
            "start": Nothing(),
            "done": Finish(fix_note=why),
            "assign": assignment(self.desk, self.rng.choice(("tech", "other_tech", "tech", "other_tech", "viewer"))),
            "outsource": Outsourcing(vendor="Acme Rides"),
            "complete-outsourced": OutsourcedEnd(),
        }.get(word) or Reasoned(reason=why)

    def _ask(self, word: str, command: Any, wish: Any, by: str, **more: Any) -> None:
        ask = self.desk.ask(wish, by=by, **more)
        try:
            answer = executor.run(self.desk.db.begin, command, ask)
        except Refused as refused:
            self.refused[refused.refusal.code] += 1
            return
        self.done[word] += 1
        if word == "create":
            self.orders.append(UUID(answer.body["id"]))
        # The lost answer is asked for again.
        if self.rng.random() < 0.2:
            again = executor.run(self.desk.db.begin, command, ask)
            assert (again.body, again.is_replayed) == (answer.body, True)


def check(walk: Walk) -> None:
    """Look whether every order is what its steps say, and every step what the audit trail says."""
    desk = walk.desk
    steps = desk.rows("""
        SELECT e.order_id, e.command, e.from_state, e.to_state, a.action, a.outcome, a.target_id
          FROM work_order_events e JOIN audit_events a ON a.org_id = e.org_id AND a.number = e.audit_number
         WHERE e.org_id = :org ORDER BY e.id
    """)
    assert len(steps) == sum(walk.done.values())
    states: dict[UUID, str | None] = {}
    for order_id, command, before, after, action, outcome, target in steps:
        assert (before, after) in _LEGAL
        assert states.get(order_id) == before
        assert (command, "done", str(order_id)) == (action, outcome, target)
        states[order_id] = after
    rows = desk.rows("SELECT id, state FROM work_orders WHERE org_id = :org")
    assert dict(rows) == states
    done = desk.rows("""
        SELECT w.id FROM work_orders w WHERE w.org_id = :org AND w.state = 'done' AND w.outsourced_to IS NULL
           AND NOT EXISTS (SELECT FROM order_photos p WHERE p.order_id = w.id AND p.attempt = w.attempt)
    """)
    assert done == []
    held = desk.rows("""
        SELECT c.id FROM checklists c WHERE c.org_id = :org AND (c.state = 'held') <> EXISTS (
               SELECT FROM work_orders w WHERE w.checklist_id = c.id AND w.state NOT IN ('done', 'cancelled'))
    """)
    assert held == []


def walk(db: Database, steps: int, seed: int) -> Walk:
    """Take a number of steps in two organizations in turn."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    walks = [Walk(WorkDesk.of(db), rng) for _ in range(2)]
    for number in range(steps):
        walks[number % 2].step()
    for one in walks:
        check(one)
    return walks[0]


def test_people_who_ask_for_anything_leave_every_order_legal_and_every_step_told(db: Database) -> None:
    made = walk(db, 100, random.SystemRandom().randrange(10**6))
    print(made.done, made.refused)


@pytest.mark.soak
def test_three_thousand_steps_reach_every_command(db: Database) -> None:
    made = walk(db, 3_000, random.SystemRandom().randrange(10**6))
    print(made.done, made.refused)
    assert set(made.done) == {*COMMANDS, "create"}
