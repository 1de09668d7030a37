"""Delivery reports: they mark our mail, tell its ticket, and change nothing when they are not about us."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from models.enums import OutboundKind
from pipeline.core.handing_over import Handed, HandOver
from pipeline.runtime import outgoing
from pipeline.stages import send
from tests.factories import mail
from tests.stages import chain
from tests.stages.post import MemorySender
from tests.stages.world import World


def replied(world: World, status: str = "pending", **changes: Any) -> tuple[UUID, str]:
    """Answer a customer's mail; return the ticket and our mail's Message-ID."""
    chain.desk(world, acknowledge=False)
    (found,) = world.routed(mail(message_id="<q@customer.example>"))
    ticket_id = world.ticket_of(found).id
    values: dict[str, Any] = {
        "org_id": world.org_id,
        "ticket_id": ticket_id,
        "identity_id": world.value("SELECT id FROM send_identities"),
        "kind": OutboundKind.REPLY,
        "to": ["ann@customer.example"],
        "subject": "Re: broken",
        "body_text": "We come tomorrow.",
        "created_by": "bo@acme.example",
    }
    with world.db.begin() as connection:
        done = outgoing.intend(connection, world.ports.reply_tokens, outgoing.Intent(**(values | changes)))
    world.run(send.STAGE, done.outbound_id)
    world.rows(
        "UPDATE tickets SET status = :status, closed_at = CASE WHEN :status = 'closed' THEN now() END", status=status
    )
    message_id: str = world.value("SELECT rfc_message_id FROM messages WHERE id = :id", id=done.message_id)
    return ticket_id, message_id


def report(
    message_id: str, *, recipient: str = "ann@customer.example", action: str = "failed", status: str = "5.1.1"
) -> bytes:
    """A report as Postfix writes it (RFC 3464)."""
    return (
        "Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.customer.example\r\nTo: help@acme.example\r\n"
        "Subject: Undelivered Mail Returned to Sender\r\nMessage-ID: <dsn@mx.customer.example>\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\nMIME-Version: 1.0\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nI could not deliver your mail.\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.customer.example\r\n\r\n"
        f"Final-Recipient: rfc822; {recipient}\r\nAction: {action}\r\nStatus: {status}\r\n"
        "Diagnostic-Code: smtp; 550 no such user here\r\n\r\n"
        "--b\r\nContent-Type: text/rfc822-headers\r\n\r\n"
        f"Message-ID: {message_id}\r\nSubject: Re: broken\r\n\r\n--b--\r\n"
    ).encode()


@pytest.mark.parametrize("action", ["failed", "delayed"])
def test_a_report_shows_that_a_mail_of_unknown_fate_was_sent(world: World, action: str):
    ticket_id, message_id = replied(world)
    world.rows("UPDATE outbound SET state = 'unknown', sent_at = NULL, last_error = 'its answer was lost'")
    world.parsed(report(message_id, action=action, status="5.1.1" if action == "failed" else "4.4.1"))
    assert world.rows("SELECT state, sent_at IS NULL, last_error FROM outbound") == [("sent", False, None)]
    (event,) = world.rows("SELECT ticket_id, data FROM events WHERE kind = 'outbound.sent' AND data ? 'shown_by'")
    assert event.ticket_id == ticket_id
    assert len(events(world)) == 1


@pytest.mark.parametrize("state", ["failed", "cancelled", "queued"])
def test_a_report_decides_nothing_about_what_did_not_leave(world: World, state: str):
    _, message_id = replied(world)
    world.rows("UPDATE outbound SET state = :state, sent_at = NULL", state=state)
    world.parsed(report(message_id))
    assert bounced(world).state == state


def test_a_report_that_comes_before_the_doubt_ends_settles_it(world: World):
    """The sender cannot tell, but who got the report can."""
    sender = world.senders.by_mailbox.setdefault(world.mailbox_id, MemorySender(keeps=False))
    sender.answers = [Handed(HandOver.DOUBTFUL, "the connection ended")]
    _, message_id = replied(world)
    world.parsed(report(message_id))
    assert bounced(world).state == "sending"
    world.rows("UPDATE outbound SET handed_over_at = now() - interval '2 minutes'")
    world.run(send.STAGE, world.value("SELECT id FROM outbound"))
    assert world.rows("SELECT state, last_error FROM outbound") == [("sent", None)]
    assert world.value("SELECT count(*) FROM events WHERE kind = 'outbound.sent'") == 1


def bounced(world: World) -> Any:
    return world.rows("SELECT bounced_at, bounce_message_id, bounce_reason, state FROM outbound")[0]


def events(world: World) -> list[str]:
    return [row.kind for row in world.rows("SELECT kind FROM events WHERE kind ~ 'bounced|delayed' ORDER BY id")]


@pytest.mark.parametrize("status", ["pending", "resolved", "closed", "open", "new"])
def test_a_bounce_marks_our_mail_tells_the_ticket_and_lets_it_be_seen(world: World, status: str):
    ticket_id, message_id = replied(world, status)
    found = world.parsed(report(message_id))
    row = bounced(world)
    assert row.bounced_at is not None
    assert (row.bounce_reason, row.state) == ("5.1.1 550 no such user here", "sent")
    assert row.bounce_message_id == world.value("SELECT message_id FROM occurrences WHERE id = :id", id=found)
    (event,) = world.rows("SELECT ticket_id, data FROM events WHERE kind = 'outbound.bounced'")
    assert (event.ticket_id, event.data["recipients"]) == (ticket_id, ["ann@customer.example"])
    (ticket,) = world.rows("SELECT status, closed_at FROM tickets")
    assert (ticket.status, ticket.closed_at) == ("new" if status == "new" else "open", None)


@pytest.mark.parametrize("status", ["spam", "merged"])
def test_a_bounce_does_not_bring_back_what_people_put_away(world: World, status: str):
    ticket_id, message_id = replied(world)
    other = world.value(
        "INSERT INTO tickets (org_id, code, subject, subject_norm, first_message_at, last_message_at, last_activity_at)"
        " VALUES (:org, 'tkt-other', '', '', now(), now(), now()) RETURNING id",
        org=world.org_id,
    )
    world.rows(
        "UPDATE tickets SET status = :status, closed_at = now(),"
        " merged_into = CASE WHEN :status = 'merged' THEN :other END WHERE id = :id",
        status=status, id=ticket_id, other=other,
    )  # fmt: skip
    world.parsed(report(message_id))
    assert bounced(world).bounced_at is not None
    assert world.value("SELECT status FROM tickets WHERE id = :id", id=ticket_id) == status


def test_a_mail_that_is_only_late_is_told_and_not_marked(world: World):
    _, message_id = replied(world)
    world.parsed(report(message_id, action="delayed", status="4.4.1"))
    assert bounced(world).bounced_at is None
    assert events(world) == ["outbound.delayed"]
    assert world.value("SELECT status FROM tickets") == "pending"


@pytest.mark.parametrize(
    "changes",
    [
        {"recipient": "eve@elsewhere.example"},
        {"action": "delivered", "status": "2.0.0"},
    ],
)
def test_a_report_about_somebody_else_or_of_success_changes_nothing(world: World, changes: dict[str, str]):
    _, message_id = replied(world)
    world.parsed(report(message_id, **changes))
    assert bounced(world).bounced_at is None
    assert events(world) == []
    assert world.value("SELECT status FROM tickets") == "pending"


def test_a_forged_report_that_names_no_mail_of_ours_changes_nothing(world: World):
    replied(world)
    world.parsed(report("<made-up@acme.example>"))
    world.parsed(report("<q@customer.example>"))
    assert bounced(world).bounced_at is None
    assert events(world) == []


def test_a_report_of_one_organization_marks_nothing_of_another(world: World):
    _, message_id = replied(world)
    other = world.value("INSERT INTO organizations (name) VALUES ('other') RETURNING id")
    world.rows("UPDATE outbound SET org_id = :org", org=other)
    world.rows("UPDATE messages SET org_id = :org WHERE rfc_message_id = :id", org=other, id=message_id)
    world.parsed(report(message_id))
    assert bounced(world).bounced_at is None


def test_the_first_report_stays_and_a_copy_of_it_in_another_mailbox_says_nothing_twice(world: World):
    _, message_id = replied(world, to=["ann@customer.example", "bob@customer.example"])
    raw = report(message_id)
    world.parsed(raw)
    world.parsed(raw, mailbox_id=world.mailbox("sales@acme.example"))
    assert events(world) == ["outbound.bounced"]
    world.parsed(report(message_id, recipient="bob@customer.example", status="5.2.2").replace(b"<dsn@", b"<dsn2@"))
    assert bounced(world).bounce_reason.startswith("5.1.1")
    assert events(world) == ["outbound.bounced"] * 2


def test_an_automatic_answer_that_bounces_opens_nothing(world: World):
    _, message_id = replied(world, "resolved", kind=OutboundKind.ACKNOWLEDGEMENT)
    world.parsed(report(message_id))
    assert bounced(world).bounced_at is not None
    assert world.value("SELECT status FROM tickets") == "resolved"


def test_a_bounce_gets_no_automatic_answer(world: World):
    _, message_id = replied(world)
    world.rows("""UPDATE organizations SET policy = '{"acknowledge": true}'""")
    chain.receive(world, report(message_id))
    assert world.value("SELECT count(*) FROM outbound") == 1
