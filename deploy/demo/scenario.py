"""One demonstration from a seed: a company, its assets and teams, and the mail of its shared mailboxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from deploy.demo.drafts import Draft, Evidence
from deploy.demo.hostile import BLANK, HOSTILE, Stem
from deploy.demo.places import ALLOWLIST, DISPATCH, MAILBOXES, ORGANIZATION, SUPPORT, TEAMS, make_rules
from deploy.demo.render import content, envelope
from deploy.demo.specs import AssetKind, AssetSpec, Expected, Mail, MailKind, RuleSpec, Scenario, TeamSpec
from deploy.demo.threads import incident, inquiry, next_mail, shared
from deploy.demo.traffic import bounce, collision, newsletter, spam
from deploy.demo.world import World, make_world

__all__ = ["AssetKind", "AssetSpec", "Expected", "Mail", "MailKind", "RuleSpec", "Scenario", "TeamSpec", "build"]

SPAN = timedelta(days=30)
LATER_SPAN = timedelta(hours=6)
SMALLEST = 40
_OPENINGS = {MailKind.TROUBLE, MailKind.QUESTION, MailKind.THANKS}


@dataclass(frozen=True, slots=True)
class Quota:
    """How many mails of each exact kind a batch gets; conversations fill the rest."""

    hostile: int
    blank: int
    duplicate: int
    collision: int
    bounce: int
    newsletter: int
    spam: int

    @property
    def total(self) -> int:
        """Return how many mails are no part of a conversation."""
        rest = self.newsletter + self.spam
        return self.hostile + self.blank + self.duplicate + self.collision + self.bounce + rest


def build(seed: int, size: int, start: datetime) -> Scenario:
    """Return the scenario of `seed`: `size` initial mails within SPAN after `start`, then size // 20 later ones.

    Equal arguments give equal bytes. Raises ValueError for a `size` under SMALLEST or a `start` without a time zone.
    """
    if size < SMALLEST or start.tzinfo is None:
        raise ValueError(f"a scenario needs at least {SMALLEST} mails and a start with a time zone")
    rng = Random(seed)  # noqa: S311 - a seed must give the same mails again; nothing here is a secret
    world, end = make_world(rng), start + SPAN
    quota = Quota(
        max(1, size // 100), len(BLANK), size * 6 // 100, max(1, size // 400), size // 40, size // 33, size // 25
    )
    conversations: list[list[Draft]] = []
    drafts = _batch(world, quota, size - quota.total, start, end, conversations=conversations)
    initial = _deliver(world, drafts, quota, start, end)
    later_drafts, later = _later(world, conversations, size // 20, end)
    return Scenario(
        organization=ORGANIZATION,
        mailboxes=MAILBOXES,
        assets=world.assets,
        teams=TEAMS,
        rules=make_rules(),
        allowlist=ALLOWLIST,
        initial=initial,
        later=later,
        expected=_expected((*initial, *later), (*drafts, *later_drafts)),
    )


def _batch(
    world: World, quota: Quota, rest: int, start: datetime, end: datetime, *, conversations: list[list[Draft]]
) -> list[Draft]:
    """Return all drafts but the hostile and blank; what was said in `conversations` is kept there to go on with."""
    talk: list[Draft] = []
    for conversation in _talk(world, start, end):
        conversations.append(conversation[: rest - len(talk)])
        talk += conversations[-1]
        if len(talk) == rest:
            break
    answers = [draft for draft in talk if draft.kind is MailKind.ANSWER] or talk
    first = [draft for draft in talk if draft.kind in _OPENINGS]
    talk += [collision(world, world.rng.choice(first), end) for _ in range(quota.collision)]
    talk += [bounce(world, world.rng.choice(answers), start, end) for _ in range(quota.bounce)]
    talk += [newsletter(world, start, end) for _ in range(quota.newsletter)]
    talk += [spam(world, start, end) for _ in range(quota.spam)]
    return talk


def _talk(world: World, start: datetime, end: datetime) -> Iterator[list[Draft]]:
    while True:
        fate = world.rng.random()
        if fate < 0.55:
            yield from incident(world, start, end)
        else:
            yield inquiry(world, MailKind.QUESTION if fate < 0.9 else MailKind.THANKS, start, end)


def _later(
    world: World, conversations: Sequence[Sequence[Draft]], count: int, start: datetime
) -> tuple[list[Draft], tuple[Mail, ...]]:
    end = start + LATER_SPAN
    quota = Quota(1, 0, count // 15, 0, 0, count // 30, count // 30)
    rest = max(1, count - quota.total)
    replies = [
        next_mail(world, world.rng.choice(conversations), world.moment(start, end), by_customer=True)
        for _ in range(rest // 2)
    ]
    drafts = replies + _batch(world, quota, rest - len(replies), start, end, conversations=[])
    return drafts, _deliver(world, drafts, quota, start, end)


def _deliver(world: World, drafts: list[Draft], quota: Quota, start: datetime, end: datetime) -> tuple[Mail, ...]:
    """Return the arrivals in order of time; some drafts reach the second mailbox too."""
    able = [
        index
        for index, draft in enumerate(drafts)
        if draft.kind in _OPENINGS and draft.evidence is not Evidence.NONE and "undisclosed" not in draft.to[0]
    ]
    twice = set(world.rng.sample(able, min(quota.duplicate, len(able))))
    mails = [mail for index, draft in enumerate(drafts) for mail in _arrivals(world, draft, both=index in twice)]
    mails += [_hostile(world, number, start, end) for number in range(quota.hostile)]
    for raw in BLANK[: quota.blank]:
        mails.append(Mail(SUPPORT, raw, world.moment(start, end), MailKind.BLANK, ("INBOX", "UNREAD")))
    return tuple(sorted(mails, key=lambda mail: (mail.at, mail.mailbox)))


def _arrivals(world: World, draft: Draft, *, both: bool) -> Iterator[Mail]:
    hop = f"{world.rng.getrandbits(64):016x}"
    addressed = shared(draft) if both else draft
    written = content(addressed, world.rng, world.shelf)
    raw = envelope(addressed, draft.mailbox, hop) + written
    yield Mail(draft.mailbox, raw, draft.at, draft.kind, draft.labels)
    if both:
        other = DISPATCH if draft.mailbox == SUPPORT else SUPPORT
        second_hop = hop if world.chance(0.5) else f"{world.rng.getrandbits(64):016x}"
        at = draft.at + timedelta(seconds=world.rng.randrange(1, 100))
        yield Mail(other, envelope(addressed, other, second_hop) + written, at, MailKind.DUPLICATE, draft.labels)


def _hostile(world: World, number: int, start: datetime, end: datetime) -> Mail:
    mailbox, at = world.rng.choice(MAILBOXES), world.moment(start, end)
    stem = Stem(mailbox, at, f"{world.rng.getrandbits(48):012x}", world.rng.choice(world.assets).tag)
    return Mail(mailbox, HOSTILE[number % len(HOSTILE)](stem), at, MailKind.HOSTILE, ("INBOX", "UNREAD"))


def _expected(mails: Sequence[Mail], drafts: Iterable[Draft]) -> Expected:
    counts = Counter(mail.kind.value for mail in mails)
    # A bounce belongs to the answer that did not arrive, and names it only inside.
    return Expected(dict(sorted(counts.items())), _groups(drafts) + counts[MailKind.HOSTILE] - counts[MailKind.BOUNCE])


def _groups(drafts: Iterable[Draft]) -> int:
    """Return how many groups the drafts form by the Message-IDs they carry and name (union-find)."""
    parents: dict[str, str] = {}

    def root(name: str) -> str:
        while parents.setdefault(name, name) != name:
            parents[name] = parents[parents[name]]
            name = parents[name]
        return name

    own = []
    for draft in drafts:
        own.append(draft.message_id)
        for named in (draft.in_reply_to, *draft.references):
            if named:
                parents[root(named)] = root(draft.message_id)
    return len({root(message_id) for message_id in own})
