"""The people of the simulation: producers who ask for steps, operators who see to letters and blocked mailboxes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sqlalchemy import text

from dlq import bulks, letters
from models.enums import BulkAction
from pipeline.runtime import ledger
from pipeline.runtime.jobs import Emit
from tests.faults.interleaving import Actor
from tests.faults.simulated_order import Order
from tests.faults.simulated_processes import tolerant
from tests.faults.simulated_stages import MAILBOX, ORG

_DISCARDED = text("SELECT id FROM dead_letters WHERE resolution = 'discarded' ORDER BY id")
_OPEN = text("SELECT id FROM dead_letters WHERE resolution IS NULL ORDER BY id")


def ask(order: Order, actor: Actor) -> None:
    """Let a producer ask for some steps."""
    steps = order.some_steps()
    said = ", ".join(f"{step.stage} {step.key}" for step in steps)
    actor.start(f"asks for {said}", tolerant(partial(_put, order, actor, steps)))


def operate(order: Order, actor: Actor) -> None:
    """Let an operator do one of the things that operators do."""
    does = [_replay, _discard, _restore, _unblock, _begin_bulk]
    what = order.chance.choices(does, [3, 2, 1, 2, 2])[0]
    actor.start(what.__name__, tolerant(partial(what, order, actor)))


def unblock(order: Order, actor: Actor) -> None:
    """Let an operator unblock the mailbox, with no fault to expect."""
    actor.start("unblocks", partial(_unblock, order, actor))


def _put(order: Order, actor: Actor, steps: Sequence[Emit]) -> None:
    with actor.begin() as connection:
        lines = ledger.put(connection, steps)
        actor.upon_commit(lambda: order.asked.update(step.key for step in steps if step.stage == "first"))
    order.ring(lines)


def _replay(order: Order, actor: Actor) -> None:
    with actor.begin() as connection:
        ids = list(connection.execute(_OPEN).scalars())
        replayed = letters.replay(connection, ids, actor="operator", reason="mended")
        actor.upon_commit(lambda: order.resolved.update(replayed=len(replayed.letter_ids)))
    order.ring(set(replayed.lines))


def _discard(order: Order, actor: Actor) -> None:
    with actor.begin() as connection:
        ids = list(connection.execute(_OPEN).scalars())[:1]
        discarded = letters.discard(connection, ids, actor="operator", reason="not wanted")
        actor.upon_commit(lambda: order.resolved.update(discarded=len(discarded)))


def _restore(order: Order, actor: Actor) -> None:
    with actor.begin() as connection:
        ids = list(connection.execute(_DISCARDED).scalars())
        restored = letters.restore(connection, ids, actor="operator", reason="wanted after all")
        actor.upon_commit(lambda: order.resolved.update(discarded=-len(restored.letter_ids)))


def _begin_bulk(order: Order, actor: Actor) -> None:
    wish = bulks.Wish(BulkAction.REPLAY, {"org_id": ORG}, "operator", "mended", canaries=order.chance.randrange(2))
    with actor.begin() as connection:
        bulks.start(connection, wish)


def _unblock(order: Order, actor: Actor) -> None:
    with actor.begin() as connection:
        lines = ledger.unblock(connection, MAILBOX)
    order.ring(lines)
