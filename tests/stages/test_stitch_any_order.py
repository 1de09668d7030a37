"""Stitching on the real database: any order, any batches, eight at once: always the conversations of the model."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from pipeline.runtime import stitching
from pipeline.stages import stitch
from tests.core.threading_model import partition
from tests.factories import NOON, mail
from tests.stages.emptied import forget_tickets
from tests.stages.world import World

THREADS = 8
PEOPLE = (
    "ann@customer.example",
    "bob@customer.example",
    "joe@gmail.com",
    "eve@gmail.com",
    "carl@field.example",
    "mallory@evil.example",
    "help@acme.example",
    "list@lists.example",
)


def forest(chance: random.Random, size: int) -> list[bytes]:
    """Return mails with lost parents, ids used twice, forged and circular references, in several conversations."""
    ids = [f"<{number}@x.example>" for number in range(size * 3 // 4)]
    made = []
    for number in range(size):
        near = ids[max(0, number - 6) : number + 3] or ids[:1]
        headers = {"List_Id": "<l.example>"} if chance.random() < 0.15 else {}
        made.append(
            mail(
                f"mail {number}",
                f"body {number}",
                sender=chance.choice(PEOPLE),
                to=", ".join(chance.sample(PEOPLE, chance.randint(1, 2))),
                message_id=chance.choice(near),
                in_reply_to=chance.choice(near) if chance.random() < 0.6 else None,
                references=" ".join(chance.sample(near, min(2, len(near)))) if chance.random() < 0.5 else None,
                **headers,
            )
        )
    return made


def forget(world: World) -> None:
    forget_tickets(world.db)
    world.rows("UPDATE occurrences SET state = 'parsed'")


def stitched_at_once(world: World, order: list[int], chance: random.Random) -> None:
    batches: list[list[int]] = []
    while order:
        size = chance.randint(1, 6)
        batches.append(order[:size])
        order = order[size:]
    lanes = [batches[lane::THREADS] for lane in range(THREADS)]
    start = threading.Barrier(THREADS)

    def go(lane: list[list[int]]) -> None:
        start.wait()
        for batch in lane:
            world.run(stitch.STAGE, *batch)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(go, lanes))


def found(world: World) -> set[frozenset[int]]:
    rows = world.rows("SELECT array_agg(message_id) AS ids FROM ticket_messages GROUP BY ticket_id")
    return {frozenset(row.ids) for row in rows}


def expected(world: World) -> set[frozenset[int]]:
    message_ids = [row.id for row in world.rows("SELECT id FROM messages")]
    with world.db.begin() as connection:
        messages = stitching.read(connection, message_ids, {})
        rules = stitching.rules(connection, world.org_id)
    return partition([message.facts for message in messages.values()], rules.own)


def check(world: World, seed: int, *, size: int, orders: int) -> None:
    chance = random.Random(seed)
    print(f"seed {seed}")
    occurrences = [
        world.parsed(raw, at=NOON + timedelta(minutes=number)) for number, raw in enumerate(forest(chance, size))
    ]
    model = expected(world)
    assert 3 < len(model) < size - 5, "the mails are neither all alone nor all together"
    for turn in range(orders):
        chance.shuffle(occurrences)
        stitched_at_once(world, list(occurrences), chance)
        assert found(world) == model, f"order {turn}"
        assert world.value("SELECT count(*) FROM tickets WHERE merged_into IS NULL") == len(model)
        assert (
            world.value(
                "SELECT count(*) FROM thread_keys k JOIN tickets t ON t.id = k.ticket_id WHERE t.status = 'merged'"
            )
            == 0
        )
        forget(world)


@pytest.mark.parametrize("seed", range(8))
def test_eight_stitchers_at_once_and_any_order_agree_with_the_model(world: World, seed: int):
    check(world, seed, size=48, orders=6)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 120))
def test_long_forests_too(world: World, seed: int):
    check(world, seed, size=160, orders=12)
