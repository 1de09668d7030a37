"""Stitching again over what is stored: shows what would move, moves it, and each step can be undone."""

from __future__ import annotations

import random
from datetime import timedelta
from uuid import uuid4

import pytest

from pipeline.runtime import placement, regrouping, stitching, undoing
from pipeline.runtime.placement import Applied, Plan
from pipeline.stages import stitch
from tests.factories import NOON, mail
from tests.stages.test_regrouping import code_of, merge, message_of, split
from tests.stages.test_stitch_any_order import expected, forest, found
from tests.stages.world import World


def plan(world: World) -> Plan:
    with world.db.begin() as connection:
        return placement.plan(connection, world.org_id)


def apply(world: World, planned: Plan) -> Applied:
    with world.db.begin() as connection:
        return placement.apply(connection, world.org_id, planned, actor="reprocess:1", reason="rules 2")


def put(world: World, occurrence_id: int, into: int) -> None:
    """Put a message into another's ticket, as rules that believe everything did."""
    world.rows(
        "UPDATE ticket_messages SET ticket_id = :ticket WHERE message_id = :id",
        ticket=world.ticket_of(into).id, id=message_of(world, occurrence_id),
    )  # fmt: skip


def test_what_stands_as_the_rules_say_is_left_alone(world: World):
    world.stitched(mail("a", message_id="<a@x>"), mail("b", in_reply_to="<a@x>"), mail("c"))
    planned = plan(world)
    assert (planned.conversations, planned.seen) == ([], 3)
    assert apply(world, planned).moved == {}


def test_a_strangers_mail_that_older_rules_let_in_is_taken_out_and_can_be_put_back(world: World):
    root, reply, stranger = world.stitched(
        mail("a", message_id="<a@x>"),
        mail("b", message_id="<b@x>", in_reply_to="<a@x>"),
        mail("c", sender="mallory@evil.example", message_id="<c@x>", in_reply_to="<a@x>"),
    )
    alone = world.ticket_of(stranger)
    put(world, stranger, root)
    world.rows("UPDATE thread_keys SET ticket_id = :to WHERE ticket_id = :id", to=world.ticket_of(root).id, id=alone.id)
    (one,) = plan(world).conversations
    assert (one.target, [message_id for message_id, _ in one.moved]) == (None, [message_of(world, stranger)])
    apply(world, plan(world))
    assert world.ticket_of(stranger).id != world.ticket_of(root).id == world.ticket_of(reply).id
    assert plan(world).conversations == []
    (answer,) = world.stitched(mail("d", sender="mallory@evil.example", in_reply_to="<c@x>"), minutes=9)
    assert world.ticket_of(answer).id == world.ticket_of(stranger).id
    with world.db.begin() as connection:
        undoing.undo(connection, world.org_id, world.value("SELECT max(id) FROM regroupings"), actor="eve")
    assert world.ticket_of(stranger).id == world.ticket_of(root).id


def test_tickets_that_are_one_conversation_are_merged_into_the_larger(world: World):
    one, two, three = world.stitched(
        mail("a", message_id="<a@x>"), mail("b", in_reply_to="<a@x>"), mail("c", in_reply_to="<a@x>")
    )
    (other,) = world.stitched(mail("else"), minutes=9)
    put(world, three, other)
    world.rows("DELETE FROM ticket_messages WHERE message_id = :id", id=message_of(world, other))
    applied = apply(world, plan(world))
    assert applied.moved == {message_of(world, three): world.ticket_of(one).id}
    assert world.ticket_of(three).id == world.ticket_of(two).id
    assert world.value("SELECT count(*) FROM tickets WHERE status = 'merged'") == 1


def test_what_a_person_decided_stays(world: World):
    root, other, third = world.stitched(
        mail("a", message_id="<a@x>"),
        mail("b", message_id="<b@x>", in_reply_to="<a@x>"),
        mail("c", in_reply_to="<b@x>"),
    )
    made = split(world, code_of(world, root), other, third)
    (loose,) = world.stitched(mail("d", message_id="<d@x>"), minutes=9)
    assert plan(world).conversations == []
    assert code_of(world, other) == made.code
    merge(world, code_of(world, other), code_of(world, loose))
    assert plan(world).conversations == [], "a merge by a person joins without evidence"


def test_a_ticket_that_changed_since_it_was_read_is_left(world: World):
    root, reply, stranger = world.stitched(
        mail("a", message_id="<a@x>"),
        mail("b", message_id="<b@x>", in_reply_to="<a@x>"),
        mail("c", sender="mallory@evil.example", in_reply_to="<a@x>"),
    )
    put(world, stranger, root)
    planned = plan(world)
    world.stitched(mail("d", in_reply_to="<b@x>"), minutes=9)
    applied = apply(world, planned)
    assert (dict(applied.moved), list(applied.left)) == ({}, [message_of(world, stranger)])
    assert world.ticket_of(stranger).id == world.ticket_of(reply).id


def disorder(world: World, chance: random.Random) -> None:
    """Merge and split at random, as rules of another time did."""
    for _ in range(10):
        rows = world.rows("SELECT ticket_id, array_agg(message_id) AS ids FROM ticket_messages GROUP BY 1 ORDER BY 1")
        with world.db.begin() as connection:
            stitching.lock(connection, world.org_id)
            if chance.random() < 0.5:
                one, other = chance.sample(rows, 2)
                regrouping.merge(connection, world.org_id, one.ticket_id, [other.ticket_id], reason="believed")
                continue
            row = chance.choice([row for row in rows if len(row.ids) > 1])
            off = chance.sample(row.ids, chance.randint(1, len(row.ids) - 1))
            regrouping.split(
                connection, world.org_id, row.ticket_id, (uuid4(), f"tkt-{uuid4().hex[:16]}"), message_ids=off,
                actor="system", reason="doubted",
                is_final=False,
            )  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_any_disorder_becomes_what_the_model_says_and_stays(world: World, seed: int):
    chance = random.Random(seed)
    print(f"seed {seed}")
    world.stitched(*forest(chance, 40))
    model = expected(world)
    disorder(world, chance)
    assert found(world) != model
    apply(world, plan(world))
    assert found(world) == model
    assert plan(world).conversations == []
    late = [world.parsed(raw, at=NOON + timedelta(hours=2)) for raw in forest(chance, 40)[:5]]
    world.run(stitch.STAGE, *late)
    assert found(world) == expected(world)
