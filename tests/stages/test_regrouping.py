"""Merging, splitting and undoing: everything moves, everything comes back, and what comes meanwhile follows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.commands import regrouping
from pipeline.core import ticket_codes
from pipeline.runtime.errors import UserError
from tests import factories
from tests.factories import NOON, mail
from tests.stages.emptied import forget_tickets
from tests.stages.world import SECRETS, World

#: What undoing must bring back: all but the version and the history.
_SNAPSHOT = {
    "tickets": "SELECT to_jsonb(t) - 'version' AS row FROM tickets t WHERE status <> 'merged' ORDER BY id",
    "merged": "SELECT id, merged_into, status FROM tickets ORDER BY id",
    "links": "SELECT to_jsonb(l) AS row FROM ticket_messages l ORDER BY message_id",
    "keys": "SELECT digest, ticket_id FROM thread_keys ORDER BY digest",
    "work": "SELECT id, ticket_id FROM work_orders ORDER BY id",
    "apart": "SELECT one_id, other_id FROM held_apart ORDER BY 1, 2",
}


def snapshot(world: World) -> dict[str, list[tuple[Any, ...]]]:
    return {name: [tuple(row) for row in world.rows(said)] for name, said in _SNAPSHOT.items()}


def code_of(world: World, occurrence_id: int) -> str:
    found: str = world.ticket_of(occurrence_id).code
    return found


def merge(world: World, into: str, *others: str) -> int:
    with world.db.begin() as connection:
        first, *rest = regrouping.find_tickets(connection, world.org_id, [into, *others])
        return regrouping.merge_tickets(connection, world.org_id, first, rest, actor="eve", reason="the same matter")


def split(world: World, code: str, *occurrence_ids: int) -> regrouping.Split:
    messages = [message_of(world, found) for found in occurrence_ids]
    with world.db.begin() as connection:
        (ticket,) = regrouping.find_tickets(connection, world.org_id, [code])
        return regrouping.split_ticket(connection, world.org_id, ticket, messages, actor="eve", reason="another matter")


def undo(world: World, regrouping_id: int) -> int:
    with world.db.begin() as connection:
        return regrouping.undo_regrouping(connection, world.org_id, regrouping_id, actor="eve").replaced


def message_of(world: World, occurrence_id: int) -> int:
    found: int = world.value("SELECT message_id FROM occurrences WHERE id = :id", id=occurrence_id)
    return found


def last_regrouping(world: World) -> int:
    found: int = world.value("SELECT max(id) FROM regroupings")
    return found


def two(world: World) -> tuple[int, int]:
    old, new = world.stitched(mail("a", message_id="<a@x>"), mail("b", message_id="<b@x>"))
    return old, new


def test_a_merge_by_a_person_moves_everything_and_undoing_it_brings_everything_back(world: World):
    old, new = two(world)
    with world.db.begin() as connection:
        case = factories.case(connection, world.org_id, factories.asset(connection, world.org_id, "AUS_1"))
        factories.work_order(connection, world.org_id, case, world.ticket_of(new).id)
    world.rows("UPDATE tickets SET status = 'closed', closed_at = now() WHERE id = :id", id=world.ticket_of(old).id)
    before = snapshot(world)
    done = merge(world, code_of(world, old), code_of(world, new))
    assert world.ticket_of(old).id == world.ticket_of(new).id
    assert world.ticket_of(old).status == "new" or world.ticket_of(old).status == "open"
    assert {row.ticket_id for row in world.rows("SELECT ticket_id FROM work_orders")} == {world.ticket_of(old).id}
    assert undo(world, done) == 0
    assert snapshot(world) == before


def test_replies_to_a_merged_ticket_follow_it(world: World):
    old, new = two(world)
    merge(world, code_of(world, old), code_of(world, new))
    (late,) = world.stitched(mail("Re: b", in_reply_to="<b@x>"), minutes=9)
    assert world.ticket_of(late).id == world.ticket_of(old).id


def test_what_came_after_a_merge_follows_its_evidence_when_it_is_undone(world: World):
    old, new = two(world)
    merged = code_of(world, new)
    done = merge(world, code_of(world, old), merged)
    to_new, to_that, to_old = world.stitched(
        mail("Re: b", message_id="<b2@x>", in_reply_to="<b@x>"),
        mail("Re: Re: b", message_id="<b3@x>", in_reply_to="<b2@x>"),
        mail("Re: a", in_reply_to="<a@x>"),
        minutes=9,
    )
    (alone,) = world.stitched(mail("Re: b", to=_signed(world, merged)), minutes=30)
    assert undo(world, done) == 3
    assert {code_of(world, found) for found in (new, to_new, to_that, alone)} == {merged}
    assert world.ticket_of(to_old).id == world.ticket_of(old).id != world.ticket_of(new).id
    assert world.ticket_of(new).last_message_at == NOON + timedelta(minutes=30)
    (later,) = world.stitched(mail("Re: b", in_reply_to="<b3@x>"), minutes=40)
    assert code_of(world, later) == merged


def _signed(world: World, code: str) -> str:
    found = ticket_codes.reply_address(code, SECRETS.key("reply address"), "help@acme.example")
    assert found is not None
    return found


def test_an_undone_merge_by_rules_is_not_made_again_by_the_same_evidence(world: World):
    old, new = two(world)
    (bridge,) = world.stitched(mail("c", in_reply_to="<b@x>", references="<a@x>", message_id="<c@x>"), minutes=30)
    assert world.ticket_of(old).id == world.ticket_of(new).id
    undo(world, last_regrouping(world))
    assert world.ticket_of(old).id != world.ticket_of(new).id
    assert world.ticket_of(bridge).id == world.ticket_of(new).id, "its In-Reply-To is the stronger evidence"
    (again,) = world.stitched(mail("d", in_reply_to="<a@x>", references="<b@x> <c@x>"), minutes=40)
    assert world.ticket_of(again).id == world.ticket_of(old).id
    (row,) = world.rows("SELECT rejected FROM ticket_messages WHERE message_id = :id", id=message_of(world, again))
    assert [(found["ticket_id"], found["why_not"]) for found in row.rejected] == [
        (str(world.ticket_of(new).id), "a person took them apart")
    ]


def test_a_person_may_merge_what_was_held_apart(world: World):
    old, new = two(world)
    world.stitched(mail("c", in_reply_to="<b@x>", references="<a@x>", message_id="<c@x>"), minutes=30)
    undo(world, last_regrouping(world))
    before = snapshot(world)
    done = merge(world, code_of(world, old), code_of(world, new))
    assert world.value("SELECT count(*) FROM held_apart") == 0
    undo(world, done)
    assert snapshot(world) == before


def test_messages_split_off_become_a_ticket_and_replies_to_them_follow(world: World):
    root, other = world.stitched(
        mail("a", message_id="<a@x>"), mail("And another thing", message_id="<b@x>", in_reply_to="<a@x>")
    )
    before = snapshot(world)
    made = split(world, code_of(world, root), other)
    ticket = world.ticket_of(other)
    assert (ticket.code, ticket.subject, ticket.first_message_at) == (
        made.code,
        "And another thing",
        NOON + timedelta(minutes=1),
    )
    assert world.ticket_of(root).last_message_at == NOON
    assert undo(world, made.regrouping_id) == 0
    after = snapshot(world)
    shell = world.rows("SELECT status, merged_into FROM tickets WHERE id = :id", id=made.ticket_id)
    assert [(row.status, row.merged_into) for row in shell] == [("merged", world.ticket_of(root).id)]
    del before["merged"], after["merged"]
    assert after == before


def test_what_is_split_off_stays_whose_it_was_and_where_it_belonged(world: World):
    root, other = world.stitched(mail("a", message_id="<a@x>"), mail("b", message_id="<b@x>", in_reply_to="<a@x>"))
    values = {"org": world.org_id, "mailbox": world.mailbox_id, "ticket": world.ticket_of(root).id}
    world.rows("INSERT INTO people (email, full_name) VALUES ('eve@acme.example', 'Eve')")
    world.rows("INSERT INTO accounts (org_id, name) VALUES (:org, 'Acme')", **values)
    world.rows("INSERT INTO sites (org_id, account_id, name) SELECT org_id, id, 'North' FROM accounts")
    world.rows(
        "UPDATE tickets SET assignee_user_id = (SELECT id FROM people), account_id = (SELECT id FROM accounts),"
        " site_id = (SELECT id FROM sites), mailbox_id = :mailbox, decided_at = now() WHERE id = :ticket",
        **values,
    )
    split(world, code_of(world, root), other)
    said = "SELECT DISTINCT assignee_user_id, account_id, site_id, mailbox_id, decided_at FROM tickets"
    (row,) = world.rows(said)
    assert None not in tuple(row)


def test_a_reply_to_both_halves_of_a_split_goes_where_it_answers(world: World):
    root, other = world.stitched(mail("a", message_id="<a@x>"), mail("b", message_id="<b@x>", in_reply_to="<a@x>"))
    made = split(world, code_of(world, root), other)
    late, early = world.stitched(
        mail("Re: b", in_reply_to="<b@x>", references="<a@x> <b@x>"),
        mail("Re: a", in_reply_to="<a@x>"),
        minutes=9,
    )
    assert code_of(world, late) == made.code
    assert world.ticket_of(early).id == world.ticket_of(root).id
    assert world.value("SELECT count(*) FROM tickets WHERE status = 'merged'") == 0


def test_what_came_into_the_new_half_returns_with_it_when_the_split_is_undone(world: World):
    root, other = world.stitched(mail("a", message_id="<a@x>"), mail("b", message_id="<b@x>", in_reply_to="<a@x>"))
    made = split(world, code_of(world, root), other)
    (late,) = world.stitched(mail("Re: b", message_id="<c@x>", in_reply_to="<b@x>"), minutes=9)
    undo(world, made.regrouping_id)
    assert world.ticket_of(late).id == world.ticket_of(root).id
    assert world.ticket_of(root).last_message_at == NOON + timedelta(minutes=9)
    (later,) = world.stitched(mail("Re: b", in_reply_to="<c@x>"), minutes=20)
    assert world.ticket_of(later).id == world.ticket_of(root).id


def test_what_was_held_apart_from_a_ticket_stays_apart_from_the_one_it_merges_into(world: World):
    a, b = two(world)
    (c,) = world.stitched(mail("c", message_id="<c@x>"), minutes=5)
    world.stitched(mail("bridge", in_reply_to="<a@x>", references="<b@x>"), minutes=6)
    undo(world, last_regrouping(world))
    merge(world, code_of(world, c), code_of(world, b))
    world.stitched(mail("bridge again", in_reply_to="<a@x>", references="<b@x> <c@x>"), minutes=9)
    assert world.ticket_of(a).id != world.ticket_of(b).id == world.ticket_of(c).id


def test_only_the_last_regrouping_of_a_ticket_can_be_undone_and_only_once(world: World):
    a, b = two(world)
    (c,) = world.stitched(mail("c", message_id="<c@x>"), minutes=5)
    first = merge(world, code_of(world, a), code_of(world, b))
    second = merge(world, code_of(world, a), code_of(world, c))
    with pytest.raises(UserError, match=f"regrouping {second} changed one of these tickets later; undo that first"):
        undo(world, first)
    undo(world, second)
    undo(world, first)
    with pytest.raises(UserError, match="was undone before"):
        undo(world, first)
    with pytest.raises(UserError, match="there is no regrouping 999"):
        undo(world, 999)


def test_bad_names_are_told_apart(world: World):
    a, b = two(world)
    merged = code_of(world, b)
    done = merge(world, code_of(world, a), merged)
    for names, said in (
        ([merged], f"{merged} was merged into {code_of(world, a)}"),
        (["tkt-nothing"], "there is no ticket 'tkt-nothing'"),
        (["a\x1fb"], "there is no ticket"),
    ):
        with pytest.raises(UserError, match=said), world.db.begin() as connection:
            regrouping.find_tickets(connection, world.org_id, names)
    undo(world, done)
    for other in ([], [code_of(world, a)], [merged, merged]):
        with pytest.raises(UserError, match="different tickets to merge"):
            merge(world, code_of(world, a), *other)
    with pytest.raises(UserError, match="not all of them"):
        split(world, code_of(world, a), a)
    with pytest.raises(UserError, match="name some of the 1 messages"):
        split(world, code_of(world, a), b)


def test_a_ticket_of_another_organization_is_none(world: World):
    a, _ = two(world)
    with world.db.begin() as connection:
        other = factories.organization(connection)
        with pytest.raises(UserError, match="there is no ticket"):
            regrouping.find_tickets(connection, other, [code_of(world, a)])
        with pytest.raises(UserError, match="there is no regrouping"):
            regrouping.undo_regrouping(connection, other, 1, actor="eve")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_merges_and_splits_undone_in_turn_leave_what_was_there(world: World, data: st.DataObject):
    """Draw a few conversations, regroup them at random, undo all of it from the last to the first."""
    forget_tickets(world.db)
    salt = data.draw(st.integers(0, 10**9), label="salt")
    parents = data.draw(st.lists(st.none() | st.integers(0, 6), min_size=2, max_size=7), label="parents")
    found = world.stitched(
        *(
            mail(
                f"{salt} {number}",
                message_id=f"<{salt}.{number}@x>",
                in_reply_to=None if parent is None else f"<{salt}.{parent}@x>",
            )
            for number, parent in enumerate(parents)
        )
    )
    before = snapshot(world)
    done = []
    for _ in range(data.draw(st.integers(1, 4), label="steps")):
        by_code: dict[str, list[int]] = {}
        for occurrence_id in found:
            by_code.setdefault(code_of(world, occurrence_id), []).append(occurrence_id)
        whole = [code for code, its in by_code.items() if len(its) > 1]
        if whole and (len(by_code) == 1 or data.draw(st.booleans(), label="split")):
            code = data.draw(st.sampled_from(whole), label="split which")
            its = by_code[code]
            off = data.draw(st.lists(st.sampled_from(its), min_size=1, max_size=len(its) - 1, unique=True), label="off")
            done.append(split(world, code, *off).regrouping_id)
        elif len(by_code) > 1:
            chosen = data.draw(st.permutations(list(by_code)), label="merge")[: data.draw(st.integers(2, 3))]
            done.append(merge(world, *chosen))
    for regrouping_id in reversed(done):
        undo(world, regrouping_id)
    after = snapshot(world)
    del before["merged"], after["merged"]
    assert after == before
