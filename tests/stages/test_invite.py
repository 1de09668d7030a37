"""Invite: the customer is told by mail when somebody comes, once for each change, in the ticket's conversation."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any
from uuid import UUID

import pytest

from pipeline.core import mime
from pipeline.core.field_work import FieldTicket, Window
from pipeline.core.loops import LOOP_HEADER, read_loop_header
from pipeline.runtime import field_rows, visit_rows
from pipeline.runtime.jobs import Emit
from pipeline.runtime.visit_rows import Visit
from pipeline.stages import invite, parse, send
from tests import factories
from tests.calendar_files import event_of
from tests.factories import NOON, mail
from tests.stages.post import MemorySender
from tests.stages.world import Ran, World

_HOUR = timedelta(hours=1)
_WINDOW = Window(NOON + timedelta(days=3650), NOON + timedelta(days=3650) + _HOUR)
_SITE = """
    WITH a AS (INSERT INTO accounts (org_id, name) VALUES (:org, 'Customer') RETURNING id)
    INSERT INTO sites (org_id, account_id, name, address1, city, region, postal_code, timezone)
    SELECT :org, a.id, 'North', '1 Main Street', 'Springfield', 'IL', '62701', 'America/Chicago' FROM a RETURNING id
"""
_PUT = "UPDATE tickets SET site_id = :site, mailbox_id = :mailbox WHERE id = :id"
_REASON = "SELECT data ->> 'reason' AS reason FROM events WHERE kind = 'invitation.withheld'"


@pytest.fixture
def sender(world: World) -> MemorySender:
    """What sends the mailbox's mail, from a verified address."""
    with world.db.begin() as connection:
        factories.identity(connection, world.org_id, world.mailbox_id, "help@acme.example", name="Acme")
    return world.senders.by_mailbox.setdefault(world.mailbox_id, MemorySender())


@pytest.fixture
def ticket(world: World) -> UUID:
    """A ticket at a site, with a mail of a customer in it."""
    (arrived,) = world.stitched(mail(message_id="<q@customer.example>"))
    found: UUID = world.ticket_of(arrived).id
    site = world.value(_SITE, org=world.org_id)
    world.rows(_PUT, site=site, mailbox=world.mailbox_id, id=found)
    return found


def book(world: World, ticket_id: UUID, window: Window = _WINDOW) -> Visit:
    """Book the ticket's visit, or move it."""
    with world.db.begin() as connection:
        found: FieldTicket = field_rows.read(connection, ticket_id)
        visit = visit_rows.book(connection, found, window)
        field_rows.save(connection, found, visit_rows.changes_of(visit))
        return visit


def call_off(world: World, ticket_id: UUID) -> Visit:
    """Cancel the visit."""
    with world.db.begin() as connection:
        (found,) = visit_rows.call_off(connection, ticket_id)
        return found


def tell(world: World, visit: Visit) -> Ran:
    """Let a visit's step run, and what it asks for."""
    ran = world.run(invite.STAGE, visit_rows.invitation(visit).key)
    for step in ran.emits:
        deliver(world, step)
    return ran


def deliver(world: World, step: Emit) -> None:
    job = world.job(send.STAGE, step.key)
    assert world.run_jobs(send.STAGE, replace(job, args=step.args)).unsaved == {}


def parts(raw: bytes) -> tuple[EmailMessage, str, Any]:
    """Return a mail, its words, and the event in it."""
    found = message_from_bytes(raw, policy=default)
    assert isinstance(found, EmailMessage)
    plain, calendar = found.iter_parts()
    content: Any = calendar.get_content()
    return found, plain.get_content(), event_of(content)


def method(raw: bytes) -> str:
    _, calendar = message_from_bytes(raw, policy=default).iter_parts()
    return str(calendar["Content-Type"].params["method"])


def test_the_customer_gets_an_invitation_in_the_tickets_conversation(
    world: World, sender: MemorySender, ticket: UUID
) -> None:
    visit = book(world, ticket)
    tell(world, visit)
    (left,) = sender.sent
    said, words, event = parts(left.raw)
    code = world.value("SELECT code FROM tickets WHERE id = :id", id=ticket)
    assert (said["To"], said["From"], said["In-Reply-To"]) == (
        "ann@customer.example", "Acme <help@acme.example>", "<q@customer.example>",
    )  # fmt: skip
    assert said.get_content_type() == "multipart/alternative"
    assert (said["Auto-Submitted"], method(left.raw)) == ("auto-generated", "REQUEST")
    mark = read_loop_header(said[LOOP_HEADER], world.ports.reply_tokens.loop_keys())
    assert mark.is_signed
    assert "28 February 2036, 06:00 to 07:00 (CST, America/Chicago)" in words
    assert "1 Main Street, Springfield, IL 62701" in words
    assert code in words
    assert (event["DTSTART"].dt, str(event["UID"]), int(event["SEQUENCE"])) == (
        _WINDOW.starts_at, f"visit-{visit.visit_id}@fieldpost", 0,
    )  # fmt: skip
    assert (str(event["ORGANIZER"]), str(event["ATTENDEE"])) == (
        "mailto:help@acme.example", "mailto:ann@customer.example",
    )  # fmt: skip
    row = world.rows("SELECT kind, recipient, state FROM outbound")[0]
    assert tuple(row) == ("visit", "ann@customer.example", "sent")


def test_a_moved_visit_is_told_with_the_next_number_and_a_cancelled_one_is_called_off(
    world: World, sender: MemorySender, ticket: UUID
) -> None:
    first = book(world, ticket)
    tell(world, first)
    later = book(world, ticket, Window(_WINDOW.starts_at + _HOUR, _WINDOW.ends_at + _HOUR))
    tell(world, later)
    tell(world, call_off(world, ticket))
    told = [parts(one.raw) for one in sender.sent]
    assert [int(event["SEQUENCE"]) for _, _, event in told] == [0, 1, 2]
    assert len({str(event["UID"]) for _, _, event in told}) == 1
    assert [method(one.raw) for one in sender.sent] == ["REQUEST", "REQUEST", "CANCEL"]
    assert [str(mail["Subject"]).split(" (")[0] for mail, _, _ in told] == [
        "Your visit is booked",
        "Your visit is moved",
        "Your visit is cancelled",
    ]


def test_what_changed_again_meanwhile_is_told_once_and_a_repetition_tells_nothing(
    world: World, sender: MemorySender, ticket: UUID
) -> None:
    first = book(world, ticket)
    second = book(world, ticket, Window(_WINDOW.starts_at + _HOUR, _WINDOW.ends_at + _HOUR))
    assert tell(world, first).loaded == 0
    tell(world, second)
    tell(world, second)
    assert len(sender.sent) == 1
    assert "booked" in parts(sender.sent[0].raw)[0]["Subject"]


def test_who_never_heard_of_a_visit_does_not_hear_that_it_is_off(
    world: World, sender: MemorySender, ticket: UUID
) -> None:
    book(world, ticket)
    tell(world, call_off(world, ticket))
    assert sender.sent == []
    assert world.value(_REASON) == "nobody was told of the visit"


def test_the_customers_own_address_goes_before_the_requesters(world: World, sender: MemorySender, ticket: UUID) -> None:
    visit = book(world, ticket)
    world.rows("UPDATE dispatches SET customer_email = 'Bo@Customer.example'")
    tell(world, visit)
    assert sender.sent[0].recipients == ("bo@customer.example",)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE organizations SET policy = '{\"visit_invitations\": false}'", "invitations are switched off"),
        ("UPDATE send_identities SET is_enabled = false", "there is no verified address to write from"),
        ("UPDATE tickets SET requester_email = NULL", "the ticket names no address of the customer"),
        ("UPDATE tickets SET requester_email = 'help@acme.example'", "the address is one of ours"),
        ("UPDATE messages SET machine = 'auto_reply'", "a machine wrote from the address"),
        ("UPDATE tickets SET requester_email = 'nobody'", "is no mail address that can be written to"),
    ],
)
def test_nobody_is_written_to_who_must_not_be_and_the_ticket_says_why(
    world: World, sender: MemorySender, ticket: UUID, statement: str, reason: str
) -> None:
    visit = book(world, ticket)
    world.rows(statement)
    tell(world, visit)
    assert sender.sent == []
    assert reason in world.value(_REASON)


def test_an_address_whose_mail_came_back_is_not_written_to(world: World, sender: MemorySender, ticket: UUID) -> None:
    tell(world, book(world, ticket))
    world.rows("UPDATE outbound SET bounced_at = now()")
    tell(world, book(world, ticket, Window(_WINDOW.starts_at + _HOUR, _WINDOW.ends_at + _HOUR)))
    assert len(sender.sent) == 1
    assert world.value(_REASON) == "mail to the address came back"


def test_the_copy_under_sent_mail_is_one_more_sighting_of_the_same_message(
    world: World, sender: MemorySender, ticket: UUID
) -> None:
    tell(world, book(world, ticket))
    raw = sender.sent[0].raw
    parsed = mime.parse(raw)
    row = world.rows("SELECT fingerprint, signature FROM messages WHERE direction = 'outbound'")[0]
    assert (row.fingerprint.hex(), row.signature.hex()) == (parsed.fingerprint, parsed.signature)
    copy = world.arrive(raw, labels=("SENT",))
    assert world.run(parse.STAGE, copy).unsaved == {}
    assert world.value("SELECT count(*) FROM messages WHERE direction = 'outbound'") == 1


def test_an_invitation_whose_text_is_lost_is_not_sent_as_another_mail(
    world: World, sender: MemorySender, ticket: UUID
) -> None:
    ran = world.run(invite.STAGE, visit_rows.invitation(book(world, ticket)).key)
    (step,) = ran.emits
    job = world.job(send.STAGE, step.key)
    world.run_jobs(send.STAGE, replace(job, args={"headers": step.args["headers"]}))
    assert sender.sent == []
    assert world.value("SELECT state FROM outbound") == "failed"
