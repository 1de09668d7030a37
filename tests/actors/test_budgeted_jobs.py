"""Jobs behind a budget as the runner sees them: held outside the live lane, and followed by what can be paid next."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from models.enums import Lane
from pipeline.runtime.errors import OutOfBudget
from tests.actors.bench import Bench
from tests.factories import value


def test_what_its_budget_does_not_allow_is_held_uncharged_and_followed_by_what_it_does(bench: Bench):
    bench.doing = lambda key: OutOfBudget("later", timedelta(hours=6)) if key == "late" else key
    bench.put("late", "fine", mailbox_id=(box := uuid4()), lane=Lane.BACKFILL)
    assert bench.answer(Lane.BACKFILL, by_budget=True) == 2
    assert bench.jobs == {"late": "held"}
    assert bench.effects == ["fine"]
    assert bench.let_go == [{box}]
    assert value(bench.db, "SELECT failures FROM jobs") == 0


def test_live_mail_waits_for_its_budget_without_the_pump(bench: Bench):
    bench.doing = lambda _: OutOfBudget("later", timedelta(hours=6))
    bench.put("late", mailbox_id=uuid4())
    bench.answer(by_budget=True)
    assert bench.jobs == {"late": "waiting"}
    assert bench.let_go == []
