"""After any history of mail and regroupings every key of a message leads to its ticket, or to one held apart."""

from __future__ import annotations

import random

import pytest

from pipeline.core.thread_keys import keys_of
from pipeline.runtime import stitching
from pipeline.runtime.errors import UserError
from tests.factories import mail
from tests.stages.test_regrouping import merge, undo
from tests.stages.test_regrouping import split as split_off
from tests.stages.world import World

_TICKETS = """
    SELECT t.code, array_agg(l.message_id ORDER BY l.message_id) AS ids
      FROM ticket_messages l JOIN tickets t ON t.id = l.ticket_id GROUP BY t.code, t.first_message_at, t.id
     ORDER BY t.first_message_at, t.id
"""
_SIGHTINGS = "SELECT min(id) AS id FROM occurrences WHERE message_id = ANY(:ids) GROUP BY message_id"
_TIMES = """
    SELECT count(*) FROM tickets t
      JOIN (SELECT l.ticket_id, min(m.received_at) AS first_at, max(m.received_at) AS last_at
              FROM ticket_messages l JOIN messages m ON m.id = l.message_id GROUP BY 1) AS s ON s.ticket_id = t.id
     WHERE t.first_message_at <> s.first_at OR t.last_message_at <> s.last_at
"""


def wrong(world: World) -> list[tuple[object, ...]]:
    """Return every message that stands in a merged ticket, and every key that leads nowhere or elsewhere."""
    with world.db.begin() as connection:
        ids = [row.message_id for row in world.rows("SELECT message_id FROM ticket_messages")]
        places = stitching.linked(connection, ids)
        messages = stitching.read(connection, ids, stitching.sightings(connection, ids))
        how = stitching.rules(connection, world.org_id)
    merged = {row.id for row in world.rows("SELECT id FROM tickets WHERE status = 'merged'")}
    apart = {frozenset(row) for row in world.rows("SELECT one_id, other_id FROM held_apart")}
    known = {row.digest: row.ticket_id for row in world.rows("SELECT digest, ticket_id FROM thread_keys")}
    found: list[tuple[object, ...]] = [("in a merged ticket", one) for one, place in places.items() if place in merged]
    for message_id, message in messages.items():
        place = places[message_id]
        for key in keys_of(message.facts, how):
            other = known.get(key.digest)
            if other != place and (other is None or frozenset((other, place)) not in apart):
                found.append((message_id, key.reason.value, key.shown, other))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_every_key_leads_to_its_message(world: World, seed: int):
    chance = random.Random(seed)
    print(f"seed {seed}")
    other = world.mailbox("sales@acme.example")
    raws: list[bytes] = []
    for minute in range(1, 22):
        _step(world, chance, other, raws, minute)
        assert wrong(world) == [], f"step {minute}"
        assert world.value(_TIMES) == 0, f"step {minute}"


def _step(world: World, chance: random.Random, other: object, raws: list[bytes], minute: int) -> None:
    roll, tickets = chance.random(), world.rows(_TICKETS)
    if roll < 0.5 or len(tickets) < 2:
        ids = [f"<{number}@x>" for number in range(len(raws))]
        parent = chance.choice(ids) if ids and chance.random() < 0.6 else None
        several = " ".join(chance.sample(ids, min(len(ids), 2))) if chance.random() < 0.4 else ""
        raws.append(
            mail(f"s{len(raws)}", message_id=f"<{len(raws)}@x>", in_reply_to=parent, references=several or None)
        )
        world.stitched(raws[-1], minutes=minute)
    elif roll < 0.6:
        world.stitched(chance.choice(raws), minutes=minute, mailbox_id=other, thread_id=f"T{minute}")
    elif roll < 0.75:
        merge(world, *(row.code for row in chance.sample(tickets, chance.randint(2, min(3, len(tickets))))))
    elif roll < 0.85 and (large := [row for row in tickets if len(row.ids) > 1]):
        row = chance.choice(large)
        off = chance.sample(row.ids, chance.randint(1, len(row.ids) - 1))
        found = world.rows(
            "SELECT min(id) AS id FROM occurrences WHERE message_id = ANY(:ids) GROUP BY message_id", ids=off
        )
        split_off(world, row.code, *(one.id for one in found))
    else:
        _undo_something(world)


def _undo_something(world: World) -> None:
    for row in world.rows("SELECT id FROM regroupings WHERE undone_at IS NULL ORDER BY id DESC"):
        try:
            undo(world, row.id)
        except UserError:
            continue
        return
