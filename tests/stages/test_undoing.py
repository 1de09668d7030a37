"""Undoing is exact: what a person, the rules or new mail did meanwhile stays, everything else comes back."""

from __future__ import annotations

from datetime import timedelta

from pipeline.stages import stitch
from tests import factories
from tests.factories import NOON, mail
from tests.stages.test_regrouping import (
    _signed,
    code_of,
    last_regrouping,
    merge,
    message_of,
    snapshot,
    split,
    two,
    undo,
)
from tests.stages.world import World


def close(world: World, occ: int) -> None:
    world.rows(
        "UPDATE tickets SET status='closed', closed_at=now(), version=version+1 WHERE id=:id",
        id=world.ticket_of(occ).id,
    )


def test_two_merges_undone_in_turn_bring_the_status_back(world: World):
    a, b = two(world)
    (c,) = world.stitched(mail("c", message_id="<c@x>"), minutes=5)
    close(world, a)
    before = snapshot(world)
    first = merge(world, code_of(world, a), code_of(world, b))
    second = merge(world, code_of(world, a), code_of(world, c))
    undo(world, second)
    undo(world, first)
    assert world.ticket_of(a).status == "closed"
    assert snapshot(world) == before


def test_a_merge_and_a_split_undone_in_turn_bring_the_status_back(world: World):
    a, b = two(world)
    close(world, a)
    first = merge(world, code_of(world, a), code_of(world, b))
    made = split(world, code_of(world, a), b)
    undo(world, made.regrouping_id)
    undo(world, first)
    assert world.ticket_of(a).status == "closed"


def test_an_answer_to_the_merged_one_does_not_keep_the_other_open(world: World):
    a, b = two(world)
    close(world, a)
    first = merge(world, code_of(world, a), code_of(world, b))
    (to_b,) = world.stitched(mail("Re: b", in_reply_to="<b@x>"), minutes=9)
    undo(world, first)
    assert world.ticket_of(to_b).id == world.ticket_of(b).id
    assert world.ticket_of(a).status == "closed"


def test_work_of_the_loser_does_not_stay_in_the_winners_state(world: World):
    a, b = two(world)
    with world.db.begin() as connection:
        case = factories.case(connection, world.org_id, factories.asset(connection, world.org_id, "AUS_1"))
        factories.work_order(connection, world.org_id, case, world.ticket_of(b).id)
    world.rows(
        "UPDATE tickets SET dispatch_state='READY_TO_SCHEDULE', version=version+1 WHERE id=:id",
        id=world.ticket_of(b).id,
    )
    first = merge(world, code_of(world, a), code_of(world, b))
    world.stitched(mail("Re: a", in_reply_to="<a@x>"), minutes=9)
    undo(world, first)
    assert world.ticket_of(b).dispatch_state == "READY_TO_SCHEDULE"
    assert world.ticket_of(a).dispatch_state == "NEW"


def test_keys_of_a_second_sighting_since_the_merge_are_kept(world: World):
    a, b = two(world)
    other = world.mailbox("sales@acme.example")
    first = merge(world, code_of(world, a), code_of(world, b))
    seen = world.stitched(mail("b", message_id="<b@x>"), minutes=9, mailbox_id=other, thread_id="T")
    assert message_of(world, seen[0]) == message_of(world, b)
    undo(world, first)
    (late,) = world.stitched(mail("unrelated words"), minutes=10, mailbox_id=other, thread_id="T")
    assert world.ticket_of(late).id == world.ticket_of(b).id


def test_three_that_one_mail_joined_stay_apart_after_undo(world: World):
    a, b = two(world)
    (c,) = world.stitched(mail("c", message_id="<c@x>"), minutes=2)
    world.stitched(mail("d", message_id="<d@x>", in_reply_to="<a@x>", references="<b@x> <c@x>"), minutes=3)
    assert len({world.ticket_of(x).id for x in (a, b, c)}) == 1
    undo(world, last_regrouping(world))
    assert len({world.ticket_of(x).id for x in (a, b, c)}) == 3
    world.stitched(mail("e", message_id="<e@x>", in_reply_to="<b@x>", references="<c@x>"), minutes=4)
    assert len({world.ticket_of(x).id for x in (a, b, c)}) == 3, "b and c were merged by the rules, and that was undone"


def test_a_forged_token_before_the_right_one_moves_nothing(world: World):
    a, b = two(world)
    code_a, code_b = code_of(world, a), code_of(world, b)
    first = merge(world, code_a, code_b)
    good = _signed(world, code_b)
    forged = good.replace(code_b, code_a)
    (late,) = world.stitched(mail("late", to=f"{forged}, {good}", sender="joe@gmail.com"), minutes=9)
    assert (
        world.value("SELECT reason FROM ticket_messages WHERE message_id=:m", m=message_of(world, late))
        == "reply_token"
    )
    undo(world, first)
    assert code_of(world, late) == code_b


def test_what_is_split_off_stays_apart_from_what_its_ticket_was_apart_from(world: World):
    a, b, c = world.stitched(
        mail("a", message_id="<a@x>"),
        mail("b", message_id="<b@x>", in_reply_to="<a@x>"),
        mail("c", message_id="<c@x>", in_reply_to="<a@x>"),
    )
    split(world, code_of(world, a), b)  # {a, c} | {b}
    split(world, code_of(world, a), c)  # {a} | {c}, and {b} stays apart
    world.stitched(mail("d", message_id="<d@x>", in_reply_to="<c@x>", references="<b@x>"), minutes=9)
    assert world.ticket_of(b).id != world.ticket_of(c).id, "a person took c's ticket and b's apart"


def test_a_second_sighting_does_not_make_a_merge_again_that_a_person_undid(world: World):
    a, b = two(world)
    done = merge(world, code_of(world, a), code_of(world, b))
    raw = mail("both", message_id="<c@x>", in_reply_to="<b@x>", references="<a@x>")
    world.stitched(raw, minutes=9)
    undo(world, done)
    assert world.ticket_of(a).id != world.ticket_of(b).id
    other = world.mailbox("sales@acme.example")
    world.stitched(raw, minutes=10, mailbox_id=other)
    assert world.ticket_of(a).id != world.ticket_of(b).id, "nothing new was said, and a person undid it"


def test_a_split_of_a_split_undone_in_turn(world: World):
    a, b, c = world.stitched(
        mail("a", message_id="<a@x>"),
        mail("b", message_id="<b@x>", in_reply_to="<a@x>"),
        mail("c", message_id="<c@x>", in_reply_to="<b@x>"),
    )
    one = split(world, code_of(world, a), b, c)
    two_ = split(world, code_of(world, b), c)
    undo(world, two_.regrouping_id)
    undo(world, one.regrouping_id)
    assert len({world.ticket_of(x).id for x in (a, b, c)}) == 1
    (late,) = world.stitched(mail("d", in_reply_to="<c@x>"), minutes=9)
    assert world.ticket_of(late).id == world.ticket_of(a).id


def test_replies_to_what_was_split_off_follow_though_an_older_reply_stayed(world: World):
    a, b, _ = world.stitched(
        mail("a", message_id="<a@x>"),
        mail("b", message_id="<b@x>", in_reply_to="<a@x>"),
        mail("c", message_id="<c@x>", in_reply_to="<b@x>"),
    )
    split(world, code_of(world, a), b)  # {a, c} | {b}
    (late,) = world.stitched(mail("Re: b", in_reply_to="<b@x>"), minutes=9)
    assert world.ticket_of(late).id == world.ticket_of(b).id


def test_replies_to_what_was_split_off_do_not_go_to_a_third_ticket(world: World):
    a, b, c = world.stitched(
        mail("a", message_id="<a@x>"),
        mail("b", message_id="<b@x>", in_reply_to="<a@x>"),
        mail("c", message_id="<c@x>", in_reply_to="<b@x>"),
    )
    split(world, code_of(world, a), b)
    split(world, code_of(world, a), c)
    (late,) = world.stitched(mail("Re: b", in_reply_to="<b@x>"), minutes=9)
    assert world.ticket_of(late).id == world.ticket_of(b).id


def test_undoing_a_split_leaves_open_what_was_closed_before_nothing_changes(world: World):
    a, b = world.stitched(mail("a", message_id="<a@x>"), mail("b", message_id="<b@x>", in_reply_to="<a@x>"))
    made = split(world, code_of(world, a), b)
    # Somebody works on the new half: its status, tags and work are of the ticket again.
    world.rows("UPDATE tickets SET status='open', version=version+1 WHERE code=:c", c=made.code)
    world.rows(
        "UPDATE tickets SET status='closed', closed_at=now(), version=version+1 WHERE id=:i", i=world.ticket_of(a).id
    )
    undo(world, made.regrouping_id)
    assert world.ticket_of(a).status == "open", "an open matter that merges into an ended one stays open"


def test_two_genuine_tokens_choose_the_same_ticket_whatever_the_order_of_the_rows(world: World):
    a, b = world.stitched(mail("a", message_id="<a@x>"), mail("b", message_id="<b@x>"))
    ta, tb = _signed(world, code_of(world, a)), _signed(world, code_of(world, b))
    chosen = []
    for n in range(2):
        occ = world.parsed(mail(f"late{n}", to=f"{ta}, {tb}", sender="joe@gmail.com"))
        if n:
            m = message_of(world, occ)
            world.rows("CREATE TEMP TABLE x AS SELECT * FROM message_addresses WHERE message_id=:m ", m=m)
            world.rows("DELETE FROM message_addresses WHERE message_id=:m", m=m)
            world.rows("INSERT INTO message_addresses SELECT * FROM x ORDER BY position DESC")
        world.run(stitch.STAGE, occ)
        chosen.append(code_of(world, occ))
    assert chosen[0] == chosen[1]


def test_a_ticket_that_merges_is_named_by_its_oldest_message(world: World):
    old, new = world.stitched(
        mail("a", sender="ann@customer.example", message_id="<a@x>"),
        mail("b", sender="bob@customer.example", message_id="<b@x>"),
    )
    with world.db.begin() as c:
        case = factories.case(c, world.org_id, factories.asset(c, world.org_id, "AUS_1"))
        factories.work_order(c, world.org_id, case, world.ticket_of(new).id)
    world.stitched(mail("c", in_reply_to="<b@x>", references="<a@x>"), minutes=9)
    t = world.ticket_of(old)
    assert (t.first_message_at, t.subject, t.requester_email) == (factories.NOON, "a", "ann@customer.example")


def test_an_urgent_matter_stays_urgent_when_it_merges(world: World):
    old, new = world.routed(mail("a", message_id="<a@x>"), mail("b", message_id="<b@x>"))
    world.rows("UPDATE tickets SET priority='urgent', tags='{vip}' WHERE id=:i", i=world.ticket_of(new).id)
    world.stitched(mail("c", in_reply_to="<b@x>", references="<a@x>"), minutes=9)
    t = world.ticket_of(old)
    assert (t.priority, t.tags, t.response_due_at) == ("urgent", ["vip"], NOON + timedelta(hours=1))
