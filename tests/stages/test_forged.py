"""A stranger who knows an id stays outside of a ticket, whatever he writes."""

from __future__ import annotations

from pipeline.stages import routing
from tests.factories import mail
from tests.stages.world import World

EVIL = "Mallory <mallory@evil.example>"


def apart(world: World, one: int, other: int) -> None:
    assert world.ticket_of(one).id != world.ticket_of(other).id


def test_reply_to_of_the_victim_with_the_victims_message_id(world: World):
    """From is the stranger's own (SPF and DMARC pass); only Message-ID and Reply-To are written."""
    (victim,) = world.stitched(mail("My contract", message_id="<a@x>"))
    (evil,) = world.stitched(
        mail("Hello", "Pay here", sender=EVIL, message_id="<a@x>", Reply_To="ann@customer.example"), minutes=9
    )
    apart(world, victim, evil)


def test_reply_to_of_the_victim_with_the_id_that_the_victim_answered(world: World):
    (victim,) = world.stitched(mail("Re: offer", message_id="<a@x>", in_reply_to="<ours@acme.example>"))
    (evil,) = world.stitched(
        mail("Hello", "Pay here", sender=EVIL, message_id="<ours@acme.example>", Reply_To="ann@customer.example"),
        minutes=9,
    )
    apart(world, victim, evil)


def test_own_google_group_as_the_support_address(world: World):
    """help@acme.example is a group: every customer's mail through it carries its List-ID."""
    group = {"List_ID": "<help.acme.example>", "Precedence": "list"}
    (victim,) = world.stitched(mail("My contract", message_id="<a@x>", **group))
    (evil,) = world.stitched(mail("Hello", "Pay here", sender=EVIL, in_reply_to="<a@x>", **group), minutes=9)
    apart(world, victim, evil)


def test_victim_who_wrote_to_nobody_named(world: World):
    """The provider writes on the envelope whose mailbox it is; without that the allowlist takes both for spam."""
    hidden = {"to": "undisclosed-recipients:;", "Delivered_To": "help@acme.example"}
    (victim,) = world.stitched(mail("My contract", message_id="<a@x>", **hidden))
    (evil,) = world.stitched(mail("Hello", "Pay here", sender=EVIL, in_reply_to="<a@x>", **hidden), minutes=9)
    apart(world, victim, evil)


def test_forged_from_of_our_own_mailbox_is_no_outbound_mail(world: World):
    """In the inbox, without the provider's SENT label: somebody else wrote it."""
    (victim,) = world.stitched(mail("My contract", message_id="<a@x>"))
    (evil,) = world.stitched(
        mail("Re: My contract", "Pay here", sender="help@acme.example", to="x@evil.example", in_reply_to="<a@x>"),
        minutes=9,
        labels=("INBOX", "UNREAD"),
    )
    assert world.value("SELECT direction FROM messages ORDER BY id DESC LIMIT 1") == "inbound"
    apart(world, victim, evil)


def test_contact_form_that_writes_as_our_own_address_asks_for_work(world: World):
    (form,) = world.stitched(
        mail("Contact form", sender="help@acme.example", Reply_To="joe@gmail.com"), labels=("INBOX", "UNREAD")
    )
    ran = world.run(routing.STAGE, form)
    assert [stage for stage, _ in ran.next] == ["triage"]
