"""Conversations: somebody opens one, the desk answers, others join, headers get lost on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from email.message import MIMEPart

from deploy.demo.drafts import Draft, Evidence
from deploy.demo.people import Person
from deploy.demo.phrases import BOOKS
from deploy.demo.places import ALIASES, DISPATCH, MAILBOXES, SUPPORT
from deploy.demo.specs import AssetSpec, MailKind
from deploy.demo.wording import Report
from deploy.demo.wordsmith import answer, follow_up, quoted, report, small_talk
from deploy.demo.world import World

_DOWN, _DEGRADED, _WORKING, _UNCLEAR = Report.DOWN, Report.DEGRADED, Report.WORKING, Report.UNCLEAR
# What several people say about one asset within hours, and how often it goes like that.
_COURSES: tuple[tuple[int, tuple[Report, ...]], ...] = (
    (26, (_DOWN,)),
    (8, (_DEGRADED,)),
    (6, (_UNCLEAR,)),
    (10, (_DOWN, _DOWN, _DOWN)),
    (6, (_DOWN, _DOWN, _DOWN, _DOWN, _DOWN)),
    (8, (_DOWN, _WORKING)),
    (6, (_DOWN, _WORKING, _DOWN)),
    (6, (_DOWN, _DEGRADED, _UNCLEAR, _WORKING)),
    (8, (_DOWN, _DOWN, _WORKING)),
    (8, (_DEGRADED, _DEGRADED, _DEGRADED)),
    (6, (_UNCLEAR, _DOWN)),
)
_LENGTHS = (34, 20, 14, 9, 7, 5, 4, 3, 2, 1, 1, 1)
_STAFF_DOMAIN = "example.org"


def incident(world: World, start: datetime, end: datetime) -> Iterator[list[Draft]]:
    """Yield the conversations about one asset's trouble: one for each person who reports."""
    rng = world.rng
    # A few assets make most of the trouble.
    asset = world.assets[int(len(world.assets) * rng.random() ** 2)]
    course = rng.choices([reports for _, reports in _COURSES], [weight for weight, _ in _COURSES])[0]
    writers = rng.sample(world.customers, len(course))
    at = world.moment(start, end)
    for writer, state in zip(writers, course, strict=True):
        yield _reported(world, writer, asset, state, at=at, end=end)
        at = min(at + timedelta(minutes=rng.randrange(4, 150)), end - timedelta(minutes=10))


def _reported(
    world: World, writer: Person, asset: AssetSpec, state: Report, *, at: datetime, end: datetime
) -> list[Draft]:
    said = [(asset, state)]
    if world.chance(0.12):
        nearby = [other for other in world.assets if other.zone == asset.zone and other is not asset]
        said += [
            (other, world.rng.choice(list(Report))) for other in world.rng.sample(nearby, world.rng.choice((1, 2)))
        ]
    subject, text = report(world.rng, writer, said, at)
    first = _opening(world, MailKind.TROUBLE, writer, asset, at=at, subject=subject, text=text)
    if world.chance(0.22):
        first = replace(first, attachments=_pictures(world))
    return _conversation(world, first, end)


def _pictures(world: World) -> tuple[MIMEPart, ...]:
    shelf, rng = world.shelf, world.rng
    return tuple(rng.sample(shelf.photos, rng.choice((1, 1, 2))) + rng.sample(shelf.logs, rng.choice((0, 0, 1))))


def inquiry(world: World, kind: MailKind, start: datetime, end: datetime) -> list[Draft]:
    """Return a conversation that is about no trouble: a question (invoice, appointment) or thanks."""
    writer, asset, at = world.rng.choice(world.customers), world.rng.choice(world.assets), world.moment(start, end)
    book = BOOKS[writer.language]
    pairs = book.thanks if kind is MailKind.THANKS else book.questions
    subject, text = small_talk(world.rng, writer, pairs, asset, at)
    first = _opening(world, kind, writer, asset, at=at, subject=subject, text=text)
    if kind is MailKind.QUESTION and world.chance(0.15):
        first = replace(first, attachments=(world.rng.choice(world.shelf.documents),))
    return _conversation(world, first, end)


def _opening(
    world: World, kind: MailKind, writer: Person, asset: AssetSpec, *, at: datetime, subject: str, text: str
) -> Draft:
    rng = world.rng
    mailbox = rng.choices(MAILBOXES, (76, 24))[0]
    draft = world.compose(kind, writer, mailbox, at, subject=subject, text=text)
    recipient = ALIASES[asset.kind] if mailbox == SUPPORT and world.chance(0.4) else mailbox
    colleague = (_colleague(world, writer).address,) if world.chance(0.25) else ()
    draft = replace(draft, recipient=recipient, to=(recipient,), cc=colleague)
    if world.chance(0.05):
        return replace(draft, to=(_colleague(world, writer).address,), cc=(recipient,))
    if world.chance(0.015):
        evidence = rng.choice((Evidence.NONE, Evidence.DELIVERED_TO))
        return replace(draft, to=("undisclosed-recipients:;",), cc=(), evidence=evidence)
    return draft


def _colleague(world: World, writer: Person) -> Person:
    domain = writer.address.rpartition("@")[2]
    same = [other for other in world.customers if other.address.endswith(f"@{domain}") and other is not writer]
    return world.rng.choice(same or [other for other in world.customers if other is not writer])


def _conversation(world: World, first: Draft, end: datetime) -> list[Draft]:
    drafts = [first]
    wanted = world.rng.choices(range(1, len(_LENGTHS) + 1), _LENGTHS)[0]
    while len(drafts) < wanted:
        pause = timedelta(minutes=int(world.rng.lognormvariate(4.5, 1.4)) + 3)
        at = drafts[-1].sent_at + pause
        if at > end - timedelta(hours=1):
            break
        drafts.append(next_mail(world, drafts, at))
    return _delayed(world, drafts)


def next_mail(world: World, drafts: Sequence[Draft], at: datetime, *, by_customer: bool = False) -> Draft:
    """Return the mail that goes on with a conversation at `at`, usually an answer to the last one."""
    parent = drafts[-1] if world.chance(0.88) else world.rng.choice(drafts)
    answered = parent.sender.address.endswith(_STAFF_DOMAIN)
    if by_customer or world.chance(0.85 if answered else 0.25):
        machine = answered and world.chance(0.09)
        return _automatic(world, parent, at, drafts[0]) if machine else _customer_mail(world, parent, at, drafts[0])
    return _staff_mail(world, parent, at, drafts[0])


def _customer_mail(world: World, parent: Draft, at: datetime, first: Draft) -> Draft:
    writer = _speaker(world, first)
    text = quoted(follow_up(world.rng, writer), parent.text, writer, parent.sender.name, parent.sent_at)
    draft = _reply(
        world, MailKind.FOLLOW_UP, writer, parent, at=at, text=text if world.chance(0.8) else text.split("\n>")[0]
    )
    desk = parent.sender.address if parent.sender.address.endswith(_STAFF_DOMAIN) else first.mailbox
    copies = () if desk == first.mailbox else (first.mailbox,)
    attachments = _pictures(world) if world.chance(0.1) else ()
    return replace(draft, to=(desk,), cc=copies, attachments=attachments)


def _speaker(world: World, first: Draft) -> Person:
    """Return who goes on for the customer: the first writer, or somebody who was in copy from the beginning."""
    others = [person for person in world.customers if person.address in first.cc]
    return others[0] if others and world.chance(0.2) else first.sender


def _automatic(world: World, parent: Draft, at: datetime, first: Draft) -> Draft:
    text = "I am out of the office until next week and read mail only now and then.\n\nThis is an automatic reply.\n"
    draft = _reply(world, MailKind.AUTO_REPLY, first.sender, parent, at=at, text=text)
    extra = (("Auto-Submitted", "auto-replied"), ("X-Auto-Response-Suppress", "All"), ("Precedence", "auto_reply"))
    return replace(draft, subject=f"Automatic reply: {first.subject}", headers=draft.headers + extra)


def _staff_mail(world: World, parent: Draft, at: datetime, first: Draft) -> Draft:
    writer = world.rng.choice(world.staff[first.mailbox])
    text = quoted(answer(world.rng, writer, at), parent.text, writer, parent.sender.name, parent.sent_at)
    customer = first.sender.address
    draft = replace(_reply(world, MailKind.ANSWER, writer, parent, at=at, text=text), to=(customer,))
    if writer.address == first.mailbox:
        return replace(draft, recipient=customer, own=True, labels=("SENT",), evidence=Evidence.NONE)
    return replace(draft, cc=(first.mailbox,))


def _reply(world: World, kind: MailKind, writer: Person, parent: Draft, *, at: datetime, text: str) -> Draft:
    word = "AW" if writer.language == "de" else "Re"
    subject = parent.subject if parent.subject[:3].lower() in {"re:", "aw:"} else f"{word}: {parent.subject}"
    draft = world.compose(kind, writer, parent.mailbox, at, subject=subject, text=text)
    return _linked(world, draft, parent)


def _linked(world: World, draft: Draft, parent: Draft) -> Draft:
    """Return `draft` with the headers that tie it to `parent` (RFC 5322 3.6.4), some lost or broken on the way."""
    known, fate = (*parent.references, parent.message_id), world.rng.random()
    whole = replace(draft, in_reply_to=parent.message_id, references=known)
    if fate < 0.05:
        return draft
    if fate < 0.07:
        return replace(draft, headers=(("References", f"<{parent.message_id[:14]}"), ("In-Reply-To", "your last mail")))
    if fate < 0.13:
        return replace(whole, references=())
    if fate < 0.21:
        return replace(whole, in_reply_to="")
    if fate < 0.26:
        return replace(whole, references=(known[0], *known[-2:]) if len(known) > 3 else known)
    return whole


def _delayed(world: World, drafts: list[Draft]) -> list[Draft]:
    """Return the drafts with some arrivals swapped, so that a reply is here before the mail it answers."""
    for index in range(len(drafts) - 1):
        if world.chance(0.06):
            early, late = drafts[index].at, drafts[index + 1].at
            drafts[index], drafts[index + 1] = replace(drafts[index], at=late), replace(drafts[index + 1], at=early)
    return drafts


def shared(draft: Draft) -> Draft:
    """Return `draft` addressed to both mailboxes."""
    other = DISPATCH if draft.mailbox == SUPPORT else SUPPORT
    return replace(draft, cc=(*draft.cc, other))
