"""Acknowledge: people are told once that their mail came; machines, our own and too many are not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email import message_from_bytes
from email.policy import default

import pytest

from models.enums import Lane
from pipeline.core.loops import LOOP_HEADER, read_loop_header
from pipeline.stages import acknowledge
from tests import factories
from tests.factories import mail
from tests.stages import chain
from tests.stages.world import World


def test_a_person_is_told_once_that_the_mail_came_with_the_tickets_code(world: World):
    sender = chain.desk(world)
    (found,) = chain.receive(world, mail("The charger", message_id="<q@customer.example>"))
    ticket = world.ticket_of(found)
    (left,) = sender.sent
    said = message_from_bytes(left.raw, policy=default)
    assert (said["To"], said["From"], said["Subject"]) == (
        "ann@customer.example", "Acme <help@acme.example>", "Re: The charger",
    )  # fmt: skip
    assert said["In-Reply-To"] == "<q@customer.example>"
    assert ticket.code in said.get_content()
    assert ticket.code in said["Reply-To"]
    row = world.rows("SELECT kind, recipient, created_by, state FROM outbound")[0]
    assert tuple(row) == ("acknowledgement", "ann@customer.example", "system", "sent")
    assert world.ticket_of(found).status == "new"


def test_an_automatic_answer_says_so_in_every_known_way_and_carries_our_signed_mark(world: World):
    sender = chain.desk(world)
    (found,) = chain.receive(world, mail())
    said = message_from_bytes(sender.sent[0].raw, policy=default)
    assert (said["Auto-Submitted"], said["X-Auto-Response-Suppress"], said["Precedence"]) == (
        "auto-replied", "All", "bulk",
    )  # fmt: skip
    mark = read_loop_header(said[LOOP_HEADER], world.ports.reply_tokens.loop_keys())
    assert (mark.address, mark.code, mark.hop) == ("help@acme.example", world.ticket_of(found).code, 1)
    assert mark.is_signed


def test_a_second_mail_in_the_ticket_gets_no_further_answer(world: World):
    sender = chain.desk(world)
    chain.receive(world, mail("a", message_id="<a@x>"))
    chain.receive(world, mail("Re: a", in_reply_to="<a@x>"))
    assert len(sender.sent) == 1


def test_automatic_answers_are_off_unless_the_organization_wants_them(world: World):
    sender = chain.desk(world, acknowledge=False)
    chain.receive(world, mail())
    assert sender.sent == []
    assert world.value("SELECT count(*) FROM outbound") == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Auto_Response_Suppress": "OOF, AutoReply"},
        {"Auto_Submitted": "auto-replied"},
        {"Auto_Submitted": "auto-generated"},
        {"List_Id": "<l.x.example>"},
        {"Precedence": "bulk"},
        {"List_Unsubscribe": "<https://x.example/u>"},
        {"Return_Path": "<>"},
        {"sender": "no-reply@customer.example"},
        {"sender": "postmaster@customer.example"},
        {"sender": "Sales <sales@acme.example>"},
    ],
    ids=str,
)
def test_nobody_is_answered_who_is_a_machine_or_asks_for_none_or_is_ourselves(world: World, headers: dict[str, str]):
    sender = chain.desk(world)
    world.mailbox("sales@acme.example")
    (found,) = chain.receive(world, mail(**headers))
    assert sender.sent == []
    assert world.ticket_of(found) is not None


def test_mail_to_nobody_that_is_spam_is_not_answered(world: World):
    sender = chain.desk(world)
    chain.receive(world, b"From: a@x.example\r\nSubject: hi\r\n\r\nhello")
    assert sender.sent == []


@pytest.mark.parametrize("lane", [Lane.BACKFILL, Lane.REPAIR])
def test_what_a_listing_or_a_release_brings_is_not_answered(world: World, lane: Lane):
    sender = chain.desk(world)
    chain.receive(world, mail(), lane=lane)
    assert sender.sent == []


def test_mail_that_lay_for_days_is_not_answered_and_the_ticket_says_why(world: World):
    sender = chain.desk(world)
    chain.receive(world, mail(), at=chain.now() - timedelta(days=3))
    assert sender.sent == []
    said = world.value("SELECT data ->> 'reason' FROM events WHERE kind = 'acknowledgement.withheld'")
    assert said == "it is older than a day"


def test_a_sender_is_told_at_most_five_times_an_hour_and_the_ticket_says_why_not(world: World):
    sender = chain.desk(world)
    chain.receive(world, *(mail(f"Matter {number}", f"Number {number} is broken") for number in range(8)))
    chain.receive(world, mail("Another", sender="bob@customer.example"))
    assert chain.told(sender) == ["ann@customer.example"] * 5 + ["bob@customer.example"]
    assert world.value("SELECT count(*) FROM events WHERE kind = 'acknowledgement.withheld'") == 3
    assert world.value("SELECT count(*) FROM tickets WHERE status = 'new'") == 9
    assert world.value("SELECT count(*) FROM quarantines") == 0


def test_the_limits_are_the_organizations_and_hold_over_a_day(world: World):
    sender = chain.desk(world, automatic_answers_per_hour=2, automatic_answers_per_day=3)
    for hour in range(4):
        chain.receive(world, mail(f"Matter {hour}"), mail(f"Thing {hour}"))
        world.rows("UPDATE outbound SET created_at = created_at - interval '61 minutes'")
    assert len(sender.sent) == 3


def test_workers_that_answer_at_once_do_not_exceed_the_limit(world: World):
    chain.desk(world)
    found = world.stitched(*(mail(f"Matter {number}") for number in range(12)))
    world.rows("UPDATE messages SET received_at = now()")
    ids = world.rows("SELECT message_id FROM occurrences WHERE id = ANY(:ids)", ids=found)
    with ThreadPoolExecutor(4) as pool:
        ran = list(pool.map(lambda row: world.run(acknowledge.STAGE, row.message_id), ids))
    assert sum(len(one.emits) for one in ran) == 5
    assert world.value("SELECT count(*) FROM outbound") == 5


def test_a_step_that_is_repeated_answers_nothing_twice(world: World):
    chain.desk(world)
    (found,) = world.stitched(mail())
    world.rows("UPDATE messages SET received_at = now()")
    message_id = world.value("SELECT message_id FROM occurrences WHERE id = :id", id=found)
    assert len(world.run(acknowledge.STAGE, message_id).emits) == 1
    assert world.run(acknowledge.STAGE, message_id).loaded == 0


@pytest.mark.parametrize("change", ["is_enabled = false", "status = 'pending'", "mailbox_id = :other"])
def test_without_an_address_that_may_be_written_from_nothing_is_sent(world: World, change: str):
    sender = chain.desk(world)
    values = {"other": world.mailbox("other@acme.example")} if ":other" in change else {}
    world.rows(f"UPDATE send_identities SET {change}", **values)
    chain.receive(world, mail())
    assert sender.sent == []
    said = world.value("SELECT data ->> 'reason' FROM events WHERE kind = 'acknowledgement.withheld'")
    assert said == "its mailbox has no verified address to write from"


def test_the_address_that_was_written_to_answers_where_it_may(world: World):
    sender = chain.desk(world)
    with world.db.begin() as connection:
        factories.identity(connection, world.org_id, world.mailbox_id, "sales@acme.example")
    chain.receive(world, mail(to="sales@acme.example", Delivered_To="sales@acme.example"))
    assert message_from_bytes(sender.sent[0].raw, policy=default)["From"] == "sales@acme.example"


def test_a_ticket_that_somebody_has_written_in_or_ended_is_not_answered(world: World):
    chain.desk(world)
    (found,) = world.routed(mail())
    world.rows("UPDATE messages SET received_at = now()")
    world.rows("UPDATE tickets SET status = 'resolved'")
    message_id = world.value("SELECT message_id FROM occurrences WHERE id = :id", id=found)
    assert world.run(acknowledge.STAGE, message_id).loaded == 0


def test_the_organizations_own_words_are_used(world: World):
    sender = chain.desk(world, acknowledgement="Danke! Ihre Nummer: {code}")
    (found,) = chain.receive(world, mail())
    said = message_from_bytes(sender.sent[0].raw, policy=default).get_content().strip()
    assert said == f"Danke! Ihre Nummer: {world.ticket_of(found).code}"


@pytest.mark.parametrize(
    "sender",
    [
        "root@localhost", "josé@customer.example", "a@[192.0.2.1]", "a..b@customer.example", "x.@docomo.example",
        "a@under_score.example",
    ],
)  # fmt: skip
def test_who_cannot_be_written_to_is_not_answered_and_the_ticket_says_why(world: World, sender: str):
    post = chain.desk(world)
    (found,) = chain.receive(world, _from(sender, 1))
    assert (post.sent, world.ticket_of(found).status) == ([], "new")
    said = world.value("SELECT data ->> 'reason' FROM events WHERE kind = 'acknowledgement.withheld'")
    assert "is no mail address that can be written to" in said


def test_a_domain_in_other_letters_counts_as_the_one_it_is_written_to(world: World):
    sender = chain.desk(world)
    for number in range(7):
        chain.receive(world, _from("auto@müller.example", number))
    assert chain.told(sender) == ["auto@xn--mller-kva.example"] * 5


@pytest.mark.parametrize(("pattern", "most"), [("case+{}@desk.example", 5), ("case-{}@desk.example", 20)])
def test_a_desk_that_writes_from_a_new_address_each_time_is_answered_a_bounded_number_of_times(
    world: World, pattern: str, most: int
):
    sender = chain.desk(world)
    chain.receive(world, *(_from(pattern.format(number), number) for number in range(12)))
    for number in range(12, 24):
        chain.receive(world, _from(pattern.format(number), number))
    assert len(sender.sent) == most
    chain.receive(world, _from("ann@gmail.com", 98), _from("bob@gmail.com", 99))
    assert len(sender.sent) == most + 2


def test_an_organization_answers_automatically_so_often_in_an_hour_whoever_asks(world: World):
    sender = chain.desk(world, automatic_answers_in_all=3)
    chain.receive(world, *(_from(f"ann@c{number}.example", number) for number in range(5)))
    assert len(sender.sent) == 3
    world.rows("UPDATE outbound SET created_at = created_at - interval '61 minutes'")
    chain.receive(world, _from("ann@c9.example", 9))
    assert len(sender.sent) == 4


def test_words_that_no_mail_may_hold_are_withheld_and_not_tried_again(world: World):
    sender = chain.desk(world, acknowledgement="\x01\x02")
    chain.receive(world, mail())
    assert sender.sent == []
    assert "a body has" in world.value("SELECT data ->> 'reason' FROM events WHERE kind = 'acknowledgement.withheld'")


def _from(sender: str, number: int) -> bytes:
    return (
        f"From: {sender}\r\nTo: help@acme.example\r\nSubject: Matter {number}\r\nMessage-ID: <{number}@q.example>\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\n\r\nPart {number} of the thing is broken.\r\n"
    ).encode()
