"""Mail that is nobody's conversation: bounces, newsletters, spam, and a Message-ID used twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from email import policy
from email.message import Message, MIMEPart

from deploy.demo.bodies import container, text_part
from deploy.demo.drafts import Draft, Evidence, Layout
from deploy.demo.people import Person
from deploy.demo.places import MAILBOXES, RETIRED, SUPPORT
from deploy.demo.specs import MailKind
from deploy.demo.world import World

_DAEMON = Person("Mail Delivery Subsystem", "mailer-daemon@mx.example.net", "en", "")
_PUBLISHERS = (
    Person("Charging Weekly", "news@charging-weekly.example.net", "en", ""),
    Person("Facility Brief", "letter@facility-brief.example.com", "en", ""),
    Person("Aufzug Aktuell", "post@aufzug-aktuell.example.net", "de", ""),
)
_HEADLINES = ("EV tariffs in spring", "Ten doors that saved energy", "Lift safety rules explained", "Neue Prüffristen")
_OFFERS = (
    "You have been selected",
    "Cheap rankings for your site",
    "Re: our invoice",
    "💰 Instant loan",
    "Werbung für Sie",
)


def bounce(world: World, failed: Draft, start: datetime, end: datetime) -> Draft:
    """Return the report that `failed` could not be delivered (RFC 3464); only its inside names that mail."""
    at = min(max(failed.sent_at, start) + timedelta(minutes=world.rng.randrange(1, 20)), end - timedelta(minutes=3))
    text = f"Your message to {failed.to[0]} could not be delivered.\n\n550 5.1.1 user unknown\n"
    draft = world.compose(MailKind.BOUNCE, _DAEMON, failed.mailbox, at, subject="Undelivered mail", text=text)
    headers = (("Return-Path", "<>"), ("Auto-Submitted", "auto-replied"), ("X-Failed-Recipients", failed.to[0]))
    return replace(draft, prepared=_report(world, failed, text), headers=headers)


def _report(world: World, failed: Draft, text: str) -> MIMEPart:
    status = MIMEPart(policy=policy.SMTP)
    status["Content-Type"] = "message/delivery-status"
    status.set_payload(
        [
            _fields(("Reporting-MTA", "dns; mx.example.net"), ("Arrival-Date", "Mon, 5 Jan 2026 06:00:00 +0000")),
            _fields(("Final-Recipient", f"rfc822; {failed.to[0]}"), ("Action", "failed"), ("Status", "5.1.1")),
        ]
    )
    original = f"From: {failed.sender.address}\nTo: {failed.to[0]}\nMessage-ID: <{failed.message_id}>\n"
    parts = (
        text_part(text, "plain", "utf-8", world.rng),
        status,
        text_part(original, "rfc822-headers", "utf-8", world.rng),
    )
    return container("report; report-type=delivery-status", parts, world.rng)


def _fields(*pairs: tuple[str, str]) -> Message:
    block = Message()
    for name, value in pairs:
        block[name] = value
    return block


def newsletter(world: World, start: datetime, end: datetime) -> Draft:
    """Return one issue of a mailing list (RFC 2919, RFC 2369)."""
    publisher, headline = world.rng.choice(_PUBLISHERS), world.rng.choice(_HEADLINES)
    domain = publisher.address.rpartition("@")[2]
    story = f"{headline}. Read what operators of large sites do differently, and what it saves them in a year."
    text = "\n\n".join((f"{publisher.name}: {headline}", *(story for _ in range(8)), "You get this as a subscriber."))
    draft = world.compose(
        MailKind.NEWSLETTER, publisher, SUPPORT, world.moment(start, end),
        subject=f"Newsletter: {headline}", text=text + "\n",
    )  # fmt: skip
    headers = (
        ("List-Id", f"<weekly.{domain}>"),
        ("List-Unsubscribe", f"<mailto:leave@{domain}>"),
        ("Precedence", "bulk"),
    )
    layout = world.rng.choice((Layout.HTML, Layout.ALTERNATIVE))
    return replace(draft, layout=layout, headers=headers, labels=("INBOX", "UNREAD", "CATEGORY_PROMOTIONS"))


def spam(world: World, start: datetime, end: datetime) -> Draft:
    """Return an offer nobody wanted, sent to an address that is not on the allowlist."""
    rng, token = world.rng, f"{world.rng.getrandbits(32):08x}"
    sender = Person(rng.choice(("Deal Desk", "Prize Office", "SEO Team")), f"{token}@offers.example.net", "en", "")
    text = f"Dear friend,\n\nthis is your last chance. See http://offers.example.net/{token} today.\n\n{token * 6}\n"
    recipient = rng.choice(RETIRED)
    draft = world.compose(
        MailKind.SPAM, sender, rng.choice(MAILBOXES), world.moment(start, end), subject=rng.choice(_OFFERS), text=text
    )
    evidence = rng.choice((Evidence.WORKSPACE, Evidence.DELIVERED_TO, Evidence.NONE))
    labels = ("SPAM",) if world.chance(0.4) else ("INBOX", "UNREAD")
    return replace(draft, recipient=recipient, to=(recipient,), evidence=evidence, labels=labels)


def collision(world: World, original: Draft, end: datetime) -> Draft:
    """Return a different mail under the Message-ID of `original`: a gateway's footer, or another text altogether."""
    footer = f"\n___\nScanned by gateway {world.rng.randrange(100, 999)}\n"
    text = original.text + footer if world.chance(0.5) else f"Please ignore my last mail.{footer}"
    at = min(original.at + timedelta(minutes=world.rng.randrange(2, 60)), end - timedelta(minutes=1))
    return replace(original, kind=MailKind.COLLISION, text=text, at=at)
