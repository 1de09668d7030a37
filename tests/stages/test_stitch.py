"""Stitch: conversations come together whatever the order, and what merges loses nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from pipeline.core import ticket_codes
from pipeline.stages import stitch
from tests import factories
from tests.factories import NOON, mail
from tests.stages.world import SECRETS, World

STAGE = stitch.STAGE
HOUR = timedelta(hours=1)


def links(world: World) -> dict[int, tuple[str, str]]:
    found = world.rows(
        "SELECT o.id, l.reason, l.confidence FROM ticket_messages l JOIN occurrences o ON o.message_id = l.message_id"
    )
    return {row.id: (row.reason, row.confidence) for row in found}


def tickets(world: World) -> int:
    found: int = world.value("SELECT count(*) FROM tickets WHERE merged_into IS NULL")
    return found


def test_a_first_mail_opens_a_ticket_named_and_asked_by_it(world: World):
    (found,) = world.stitched(mail("Re: Broken charger"))
    ticket = world.ticket_of(found)
    assert (ticket.subject, ticket.subject_norm, ticket.status) == ("Re: Broken charger", "broken charger", "new")
    assert (ticket.requester_email, ticket.requester_name) == ("ann@customer.example", "Ann")
    assert ticket.first_message_at == ticket.last_message_at == ticket.last_activity_at == NOON
    assert ticket.code.startswith("tkt-")
    assert links(world) == {found: ("new_ticket", "low")}
    assert world.state_of(found) == "stitched"
    assert [row.kind for row in world.rows("SELECT kind FROM events")] == ["ticket.opened"]


def test_every_message_goes_on_to_routing(world: World):
    found = [world.parsed(mail(str(number))) for number in range(3)]
    assert world.run(STAGE, *found).next == [("routing", str(one)) for one in found]
    assert world.run(STAGE, *found).loaded == 0


def test_a_reply_joins_its_parent_in_the_same_batch_and_in_a_later_one(world: World):
    root, reply = world.stitched(mail(message_id="<r@x>"), mail("Re: a", message_id="<a@x>", in_reply_to="<r@x>"))
    (late,) = world.stitched(mail("Re: b", references="<r@x> <a@x>"), minutes=9)
    assert tickets(world) == 1
    assert world.ticket_of(late).id == world.ticket_of(root).id
    assert links(world) == {
        root: ("new_ticket", "low"), reply: ("in_reply_to", "medium"), late: ("references", "medium"),
    }  # fmt: skip
    assert world.ticket_of(root).last_message_at == NOON + timedelta(minutes=9)


def test_a_child_that_comes_before_its_parent_is_in_the_same_ticket_which_the_parent_then_names(world: World):
    (child,) = world.stitched(mail("Re: The matter", sender="bob@customer.example", in_reply_to="<r@x>"), minutes=10)
    (parent,) = world.stitched(mail("The matter", message_id="<r@x>"), minutes=0)
    assert tickets(world) == 1
    assert links(world)[parent] == ("referenced_by", "medium")
    ticket = world.ticket_of(child)
    assert (ticket.subject, ticket.requester_email) == ("The matter", "ann@customer.example")
    assert (ticket.first_message_at, ticket.last_message_at) == (NOON, NOON + timedelta(minutes=10))


def test_siblings_whose_parent_never_comes_share_a_ticket(world: World):
    world.stitched(mail("Re: a", in_reply_to="<lost@x>"))
    world.stitched(mail("Re: b", in_reply_to="<lost@x>"))
    assert tickets(world) == 1


@pytest.mark.fault("F-50")
def test_the_providers_thread_joins_with_low_confidence_and_only_within_a_mailbox(world: World):
    other = world.mailbox("other@acme.example")
    (one,) = world.stitched(mail("a"), thread_id="t1")
    (two,) = world.stitched(mail("b"), thread_id="t1")
    world.stitched(mail("c"), thread_id="t1", mailbox_id=other)
    assert links(world)[two] == ("provider_thread", "low")
    assert world.ticket_of(one).id == world.ticket_of(two).id
    assert tickets(world) == 2


@pytest.mark.fault("F-50")
def test_the_same_mail_in_a_second_mailbox_is_linked_once_and_brings_its_thread_along(world: World):
    other, raw = world.mailbox("other@acme.example"), mail(message_id="<m@x>")
    (one,) = world.stitched(raw, thread_id="t1")
    (two,) = world.stitched(raw, thread_id="t9", mailbox_id=other)
    (follower,) = world.stitched(mail("b"), thread_id="t9", mailbox_id=other)
    assert world.value("SELECT count(*) FROM ticket_messages") == 2
    assert len({world.ticket_of(found).id for found in (one, two, follower)}) == 1


def test_a_signed_reply_address_joins_and_a_forged_one_does_not(world: World):
    (first,) = world.stitched(mail())
    code = world.ticket_of(first).code
    signed = ticket_codes.reply_address(code, SECRETS.key("reply address"), "help@acme.example")
    forged = ticket_codes.reply_address(code, b"another secret", "help@acme.example")
    good, bad = world.stitched(mail("signed", to=signed), mail("forged", to=forged))
    assert world.ticket_of(good).id == world.ticket_of(first).id
    assert links(world)[good] == ("reply_token", "high")
    assert world.ticket_of(bad).id != world.ticket_of(first).id


def test_a_signed_address_of_a_merged_ticket_leads_to_the_one_it_became(world: World):
    old, new = world.stitched(mail(message_id="<a@x>"), mail("b", message_id="<b@x>"))
    code = world.ticket_of(new).code
    world.stitched(mail("bridge", references="<a@x> <b@x>"), minutes=5)
    signed = ticket_codes.reply_address(code, SECRETS.key("reply address"), "help@acme.example")
    (late,) = world.stitched(mail("late", to=signed), minutes=9)
    assert world.ticket_of(late).id == world.ticket_of(old).id


def test_a_bridge_merges_into_the_older_ticket_and_everything_follows(world: World):
    old, new = world.stitched(mail("a", message_id="<a@x>"), mail("b", message_id="<b@x>"))
    loser = world.ticket_of(new)
    (bridge,) = world.stitched(mail("c", in_reply_to="<b@x>", references="<a@x>"), minutes=30)
    (late,) = world.stitched(mail("d", in_reply_to="<b@x>"), minutes=40)
    winner = world.ticket_of(old)
    assert {world.ticket_of(found).id for found in (old, new, bridge, late)} == {winner.id}
    (merged,) = world.rows("SELECT status, merged_into, closed_at FROM tickets WHERE id = :id", id=loser.id)
    assert (merged.status, merged.merged_into) == ("merged", winner.id)
    assert merged.closed_at is not None
    assert winner.last_message_at == NOON + timedelta(minutes=40)
    assert world.value("SELECT count(*) FROM thread_keys WHERE ticket_id = :id", id=loser.id) == 0
    assert world.value("SELECT data ->> 'merged' FROM events WHERE kind = 'ticket.merged'") == str(loser.id)


def test_a_ticket_merged_twice_points_straight_at_the_last_one(world: World):
    names = "abc"
    world.stitched(*(mail(name, message_id=f"<{name}@x>") for name in names))
    world.stitched(mail("b+c", references="<b@x> <c@x>"), minutes=10)
    world.stitched(mail("a+b", references="<a@x> <b@x>"), minutes=20)
    (standing,) = world.rows("SELECT id FROM tickets WHERE merged_into IS NULL")
    assert {row.merged_into for row in world.rows("SELECT merged_into FROM tickets WHERE status = 'merged'")} == {
        standing.id
    }


def test_the_ticket_with_open_work_stays_and_work_orders_move(world: World):
    old, new = world.stitched(mail("a", message_id="<a@x>"), mail("b", message_id="<b@x>"))
    with world.db.begin() as connection:
        cases = [
            factories.case(connection, world.org_id, factories.asset(connection, world.org_id, f"AUS_{number}"))
            for number in range(3)
        ]
        factories.work_order(connection, world.org_id, cases[0], world.ticket_of(old).id)
        for one in cases[1:]:
            factories.work_order(connection, world.org_id, one, world.ticket_of(new).id)
    expected = world.ticket_of(new).id
    world.stitched(mail("bridge", references="<a@x> <b@x>"), minutes=5)
    assert world.ticket_of(old).id == expected
    assert {row.ticket_id for row in world.rows("SELECT ticket_id FROM work_orders")} == {expected}
    assert world.ticket_of(old).first_message_at == NOON


@pytest.mark.parametrize("status", ["closed", "resolved", "spam"])
def test_an_open_matter_that_merges_into_an_ended_ticket_stays_open(world: World, status: str):
    old, new = world.stitched(mail("a", message_id="<a@x>"), mail("b", message_id="<b@x>"))
    _end(world, old, status)
    # The bridge itself reopens nothing: a machine wrote it.
    world.stitched(mail("bridge", references="<a@x> <b@x>", Auto_Submitted="auto-replied"), minutes=5)
    ticket = world.ticket_of(new)
    assert ticket.id == world.ticket_of(old).id
    assert (ticket.status, ticket.closed_at) == ("open", None)


@pytest.mark.parametrize("status", ["closed", "resolved", "pending"])
def test_a_customers_newer_mail_reopens(world: World, status: str):
    (first,) = world.stitched(mail(message_id="<a@x>"))
    _end(world, first, status)
    world.stitched(mail("Re: again", in_reply_to="<a@x>"), minutes=120)
    ticket = world.ticket_of(first)
    assert (ticket.status, ticket.closed_at) == ("open", None)


@pytest.mark.parametrize(
    ("headers", "minutes"),
    [
        ({"Auto_Submitted": "auto-replied"}, 120),
        ({"sender": "help@acme.example", "to": "ann@customer.example"}, 120),
        ({}, 30),
    ],
    ids=["an automatic answer", "our own mail", "older than the closing"],
)
def test_what_is_no_new_wish_of_a_customer_does_not_reopen(world: World, headers: dict[str, str], minutes: int):
    (first,) = world.stitched(mail(message_id="<a@x>"))
    _end(world, first, "closed")
    labels = ("SENT",) if "sender" in headers else ()
    world.stitched(mail("Re: again", in_reply_to="<a@x>", **headers), minutes=minutes, labels=labels)
    ticket = world.ticket_of(first)
    assert (ticket.status, ticket.closed_at) == ("closed", NOON + HOUR)
    assert ticket.last_message_at == NOON + timedelta(minutes=minutes)


def test_spam_stays_spam(world: World):
    (first,) = world.stitched(mail(message_id="<a@x>"))
    _end(world, first, "spam")
    world.stitched(mail("Re: buy", in_reply_to="<a@x>"), minutes=120)
    assert world.ticket_of(first).status == "spam"


def _end(world: World, occurrence_id: int, status: str) -> None:
    world.rows(
        "UPDATE tickets SET status = :status, closed_at = CASE WHEN :status IN ('closed', 'spam') THEN :at END"
        " WHERE id = :id",
        id=world.ticket_of(occurrence_id).id, status=status, at=NOON + HOUR,
    )  # fmt: skip


def test_threads_that_stitch_at_once_find_the_same_conversations_as_one(world: World):
    chains = [
        mail(f"chain {chain}", message_id=f"<{chain}.{step}@x>", in_reply_to=f"<{chain}.{step - 1}@x>")
        for step in range(6)
        for chain in range(8)
    ]
    found = [world.parsed(raw, at=NOON + timedelta(minutes=number)) for number, raw in enumerate(chains)]
    # Every batch of every thread touches conversations that the others touch too.
    batches = [[one for at, one in enumerate(found) if (at + at // 8) % 4 == turn] for turn in range(4)]
    start = threading.Barrier(4)

    def go(batch: list[int]) -> None:
        start.wait()
        for at in range(0, len(batch), 3):
            world.run(STAGE, *batch[at : at + 3])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(go, batches))
    assert tickets(world) == 8
    assert (
        world.value(
            "SELECT count(*) FROM ticket_messages l JOIN tickets t ON t.id = ticket_id WHERE merged_into IS NULL"
        )
        == 48
    )


def test_organizations_never_share_a_conversation(world: World):
    (ours,) = world.stitched(mail(message_id="<a@x>"))
    neighbour = _neighbour(world)
    theirs = neighbour.stitched(mail("Re: a", in_reply_to="<a@x>"))
    assert neighbour.ticket_of(theirs[0]).id != world.ticket_of(ours).id


def _neighbour(world: World) -> World:
    made = object.__new__(World)
    made.__dict__.update(world.__dict__)
    with world.db.begin() as connection:
        made.org_id = factories.organization(connection)
        made.mailbox_id = factories.mailbox(connection, made.org_id)
    return made


def test_a_policy_that_cannot_be_read_stops_no_mail(world: World):
    world.rows("UPDATE organizations SET policy = '{\"subject_window_days\": -3}'")
    (found,) = world.stitched(mail("Charger down"))
    assert world.state_of(found) == "stitched"


def test_mail_through_a_list_reopens_a_closed_ticket(world: World):
    (first,) = world.stitched(mail(message_id="<a@x>", List_Id="<team.customer.example>"))
    _end(world, first, "closed")
    world.stitched(mail("Re: again", in_reply_to="<a@x>", List_Id="<team.customer.example>"), minutes=120)
    assert world.ticket_of(first).status == "open"


def test_a_report_on_a_message_of_ours_joins_its_ticket_whoever_sends_it(world: World):
    (first,) = world.stitched(mail(message_id="<a@x>"))
    (ours,) = world.stitched(
        mail("Re: a", sender="help@acme.example", to="ann@customer.example", message_id="<o@acme.example>",
             in_reply_to="<a@x>"),
        minutes=5, labels=("SENT",),
    )  # fmt: skip
    (bounce,) = world.stitched(
        mail("Undelivered Mail Returned to Sender", sender="MAILER-DAEMON@relay.example"), minutes=6
    )
    assert world.ticket_of(bounce).id != world.ticket_of(first).id
    (late,) = [world.parsed(mail("Undelivered: 2", sender="MAILER-DAEMON@relay.example"), at=NOON + HOUR)]
    message_id = world.value("SELECT message_id FROM occurrences WHERE id = :id", id=late)
    world.rows("INSERT INTO message_references VALUES (:id, 'reported', 0, '<o@acme.example>')", id=message_id)
    world.run(STAGE, late)
    assert world.ticket_of(late).id == world.ticket_of(ours).id == world.ticket_of(first).id
    assert links(world)[late] == ("delivery_report", "high")


def test_a_report_on_somebody_elses_message_proves_nothing(world: World):
    (first,) = world.stitched(mail(message_id="<a@x>"))
    late = world.parsed(mail("Undelivered", sender="MAILER-DAEMON@relay.example"), at=NOON + HOUR)
    message_id = world.value("SELECT message_id FROM occurrences WHERE id = :id", id=late)
    world.rows("INSERT INTO message_references VALUES (:id, 'reported', 0, '<a@x>')", id=message_id)
    world.run(STAGE, late)
    assert world.ticket_of(late).id != world.ticket_of(first).id
