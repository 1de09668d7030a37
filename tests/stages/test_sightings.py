"""One message in several mailboxes: the grouping depends on the sightings, not on which was read first."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.factories import NOON, mail
from tests.stages.world import World


def put(world: World, raw: bytes, mailbox: UUID, minutes: int, **more: Any) -> int:
    (found,) = world.stitched(raw, minutes=minutes, mailbox_id=mailbox, **more)
    return found


def partition(world: World) -> list[tuple[str, ...]]:
    rows = world.rows(
        "SELECT array_agg(m.subject ORDER BY m.subject) AS s FROM ticket_messages l"
        " JOIN messages m ON m.id = l.message_id GROUP BY l.ticket_id ORDER BY 1"
    )
    return [tuple(r.s) for r in rows]


@pytest.mark.parametrize("sent_first", [True, False])
def test_our_mail_seen_as_sent_and_in_a_colleagues_inbox_is_outbound_whatever_is_read_first(
    world: World, sent_first: bool
):
    other = world.mailbox("sales@acme.example")
    raw = ours("Offer")
    seen = [(world.mailbox_id, ("SENT",)), (other, ("INBOX",))]
    for number, (box, labels) in enumerate(seen if sent_first else seen[::-1]):
        put(world, raw, box, number, labels=labels)
    assert world.value("SELECT count(*) FROM messages") == 1
    assert world.value("SELECT direction FROM messages") == "outbound"


def ours(subject: str, **more: str) -> bytes:
    return mail(
        subject, sender="help@acme.example", to="ann@customer.example", Cc="sales@acme.example",
        message_id="<o@acme.example>", **more,
    )  # fmt: skip


def _bounce() -> bytes:
    return b"\r\n".join(
        [
            b"From: MAILER-DAEMON@mx.customer.example",
            b"To: help@acme.example",
            b"Subject: Undeliverable",
            b"Message-ID: <dsn@mx>",
            b"Date: Mon, 2 Mar 2026 12:00:00 +0000",
            b"MIME-Version: 1.0",
            b"Content-Type: multipart/report; report-type=delivery-status; boundary=b",
            b"",
            b"--b",
            b"Content-Type: text/plain",
            b"",
            b"failed",
            b"--b",
            b"Content-Type: message/delivery-status",
            b"",
            b"Reporting-MTA: dns; mx",
            b"",
            b"Final-Recipient: rfc822; ann@customer.example",
            b"Action: failed",
            b"Status: 5.1.1",
            b"",
            b"--b",
            b"Content-Type: text/rfc822-headers",
            b"",
            b"Message-ID: <o@acme.example>",
            b"From: help@acme.example",
            b"To: ann@customer.example",
            b"Subject: Offer",
            b"",
            b"--b--",
            b"",
        ]
    )


@pytest.mark.parametrize("sent_first", [True, False])
def test_a_bounce_joins_our_mail_whatever_is_read_first(world: World, sent_first: bool):
    other = world.mailbox("sales@acme.example")
    raw = ours("Offer")
    seen = [(world.mailbox_id, ("SENT",)), (other, ("INBOX",))]
    for number, (box, labels) in enumerate(seen if sent_first else seen[::-1]):
        put(world, raw, box, number, labels=labels)
    put(world, _bounce(), world.mailbox_id, 5)
    assert partition(world) == [("Offer", "Undeliverable")]


@pytest.mark.parametrize("sent_first", [True, False])
def test_our_own_answer_read_first_in_a_colleagues_inbox_does_not_reopen(world: World, sent_first: bool):
    other = world.mailbox("sales@acme.example")
    root = put(world, mail("Q", message_id="<q@x>"), world.mailbox_id, 0)
    world.rows("UPDATE tickets SET status='closed', closed_at=:at", at=NOON)
    raw = ours("Re: Q", in_reply_to="<q@x>")
    seen = [(world.mailbox_id, ("SENT",)), (other, ("INBOX",))]
    for number, (box, labels) in enumerate(seen if sent_first else seen[::-1]):
        put(world, raw, box, number + 3, labels=labels)
    assert world.ticket_of(root).status == "closed"


@pytest.mark.parametrize("list_first", [True, False])
def test_a_mail_that_came_directly_and_through_a_list_gives_one_partition(world: World, list_first: bool):
    other = world.mailbox("sales@acme.example")
    common = {"to": "help@acme.example", "message_id": "<p@x>", "Cc": "users@lists.example"}
    direct = mail("Post", **common)
    listed = mail("Post", **common, List_Id="<users.lists.example>", Precedence="list")
    copies = [(direct, world.mailbox_id), (listed, other)]
    for number, (raw, box) in enumerate(copies[::-1] if list_first else copies):
        put(world, raw, box, number)
    assert world.value("SELECT count(*) FROM messages") == 1
    put(
        world,
        mail(
            "Re: Post",
            sender="Bob <bob@third.example>",
            to="users@lists.example",
            in_reply_to="<p@x>",
            List_Id="<users.lists.example>",
            Precedence="list",
        ),
        other,
        7,
    )
    assert partition(world) == [("Post", "Re: Post")]


def test_control_provider_thread_of_a_second_sighting_joins(world: World):
    (b,) = world.stitched(mail("b", message_id="<b@x>"))
    other = world.mailbox("sales@acme.example")
    world.stitched(mail("b", message_id="<b@x>"), minutes=9, mailbox_id=other, thread_id="T")
    (late,) = world.stitched(mail("unrelated words"), minutes=10, mailbox_id=other, thread_id="T")
    assert world.ticket_of(late).id == world.ticket_of(b).id
