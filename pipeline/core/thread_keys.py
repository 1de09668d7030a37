"""The keys by which messages find each other: ids together with whose they are and who may speak of them.

A key is never a bare Message-ID: it is an id together with its author and with somebody who may speak of it. A message
offers its own id to each of its people; what it answers it claims for its sender, as a message of somebody it is
addressed to. So a reference joins only when its sender is one of the people of the message it names, or of the same
organization; a reference or an id alone, which anybody can write, joins nothing (reliability, section 4). Missing
parents are keys without a message, and join those of one organization who answer them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from models.enums import StitchReason
from pipeline.core import participants

#: Bounds what one hostile message costs: 100 references by 10 authors, and 100 people for 3.
_VOICES, _AUTHORS, _AUDIENCE = 10, 3, 100
_SHOWN = 200
#: Shorter subjects ("Hello", "Invoice") say nothing about what belongs together.
_SUBJECT_WORDS, _SUBJECT_LENGTH = 2, 8


@dataclass(frozen=True, slots=True)
class Key:
    """One node beside a message: why it connects, its digest, and what it says in words."""

    reason: StitchReason
    digest: bytes
    shown: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What of a message matters for where it belongs; addresses lower case, ids in the form "<...>".

    `references` come nearest first; `reported` are the ids that a delivery report speaks of; `threads` are the
    (mailbox, provider thread) of its sightings.
    """

    message_id: int
    at: datetime
    rfc_message_id: str | None = None
    in_reply_to: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    reported: tuple[str, ...] = ()
    sender: str | None = None
    recipients: tuple[str, ...] = ()
    reply_to: tuple[str, ...] = ()
    subject_norm: str = ""
    is_outbound: bool = False
    is_list: bool = False
    list_id: str | None = None
    #: Not even the envelope names us.
    is_unaddressed: bool = False
    threads: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """What an organization decides about stitching: who "we" are (tokens), and whether equal subjects join.

    `subject_window` None: never. Otherwise messages of one outside person with the same subject join when at most that
    far apart, and never when twice as far.
    """

    own: frozenset[str] = frozenset()
    #: The addresses themselves that we write from.
    own_addresses: frozenset[str] = frozenset()
    subject_window: timedelta | None = None


def digest(kind: str, value: str, *who: str) -> bytes:
    """Return the key of a named thing for somebody: 16 bytes whatever the length of a hostile id."""
    said = "\n".join((f"{kind}:{value}", *who))
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).digest()[:16]


def keys_of(facts: Facts, rules: Rules) -> tuple[Key, ...]:
    """Return the keys of a message, strongest evidence first, each digest once."""
    found: dict[bytes, Key] = {}
    for key in _keys(facts, rules):
        found.setdefault(key.digest, key)
    return tuple(found.values())


def _keys(facts: Facts, rules: Rules) -> Iterator[Key]:
    for value in facts.reported:
        yield Key(StitchReason.DELIVERY_REPORT, digest("report", value), f"reports on {value[:_SHOWN]}")
    claims = _claims(facts, rules)
    for reason, ids in ((StitchReason.IN_REPLY_TO, facts.in_reply_to), (StitchReason.REFERENCES, facts.references)):
        for value in ids:
            for author, who in claims:
                yield Key(reason, digest("id", value, author, who), value[:_SHOWN])
    if facts.rfc_message_id:
        for author, who in _offers(facts, rules):
            found = digest("id", facts.rfc_message_id, author, who)
            yield Key(StitchReason.REFERENCED_BY, found, facts.rfc_message_id[:_SHOWN])
        if facts.is_outbound or participants.US in _sender(facts, rules):
            # Of others' mail a report proves nothing: anybody can write one.
            shown = f"reported on: {facts.rfc_message_id[:_SHOWN]}"
            yield Key(StitchReason.DELIVERY_REPORT, digest("report", facts.rfc_message_id), shown)
    for mailbox, thread in facts.threads:
        for who in _counterparts(facts, rules):
            shown = f"provider thread {thread[:100]}"
            yield Key(StitchReason.PROVIDER_THREAD, digest("thread", f"{mailbox}:{thread}", who), shown)
    yield from _subject_keys(facts, rules)


def _claims(facts: Facts, rules: Rules) -> list[tuple[str, str]]:
    """Return whose message a reference may name, and for whom this one speaks: (author, voice).

    One answers somebody one writes to, oneself, or us; our own mail speaks for us.
    """
    sender = _sender(facts, rules)
    voices = _some(_VOICES, sender, (participants.US,) if facts.is_outbound else ())
    authors = _some(_VOICES, sender, (participants.US,), participants.people(facts.recipients, rules.own))
    return [(author, who) for who in voices for author in authors] + _circles(facts, rules)


def _offers(facts: Facts, rules: Rules) -> list[tuple[str, str]]:
    """Return as whose a message may be answered, and by whom: (author, voice).

    By everybody it names, and by us, in whose mailbox it is. Another message with the same id has another author, and
    is not answered instead of it. Reply-To makes an author only when one of us wrote the mail, as a form of our site
    does: a stranger may put anybody there.
    """
    sender = _sender(facts, rules)
    reply_to = participants.people(facts.reply_to, rules.own)
    authors = _some(_AUTHORS, sender, reply_to if participants.US in sender else ())
    named = participants.people(facts.recipients, rules.own)
    audience = _some(_AUDIENCE, (participants.US,), sender, reply_to, named)
    return [(author, who) for author in authors for who in audience] + _circles(facts, rules)


def _sender(facts: Facts, rules: Rules) -> tuple[str, ...]:
    return participants.people([facts.sender] if facts.sender else [], rules.own)


def _circles(facts: Facts, rules: Rules) -> list[tuple[str, str]]:
    """Return the circles in which everybody answers everybody: of list mail its lists and outside addressees.

    A list of our own is no circle: it is the address that customers write to. The readers of posts that name nobody,
    not even on the envelope, are one.
    """
    found: Iterable[str] = ()
    if facts.is_list:
        lists = (f"list {facts.list_id}",) if facts.list_id else ()
        outside = participants.outside(participants.people(facts.recipients, rules.own))
        found = () if _is_own(facts.list_id, rules) else _some(_VOICES, lists, outside)
    elif facts.is_unaddressed and not facts.recipients and not facts.is_outbound:
        found = (participants.NOBODY_NAMED,)
    return [("circle", circle) for circle in found]


def _is_own(list_id: str | None, rules: Rules) -> bool:
    """Say whether a list lies under one of our domains, or is one of our addresses."""
    if not list_id:
        return False
    domain = list_id.rpartition("@")[2]
    domains = [own[1:] for own in rules.own if own.startswith("@")]
    return list_id in rules.own or any(domain == one or domain.endswith(f".{one}") for one in domains)


def _some(limit: int, *found: Iterable[str]) -> tuple[str, ...]:
    return tuple(islice(dict.fromkeys(one for some in found for one in some), limit))


def _counterparts(facts: Facts, rules: Rules) -> tuple[str, ...]:
    """Return the outside people of a message in a provider's thread; among ourselves, us.

    The provider joins by references too, so that its word counts no more than theirs.
    """
    sender = _sender(facts, rules)
    outside = participants.outside(sender)
    if facts.is_outbound or not outside:
        outside = participants.outside(participants.people(facts.recipients, rules.own))
    return (outside or sender)[:_VOICES]


def _subject_keys(facts: Facts, rules: Rules) -> Iterator[Key]:
    words = facts.subject_norm.split()
    too_short = len(words) < _SUBJECT_WORDS or len(facts.subject_norm) < _SUBJECT_LENGTH
    if rules.subject_window is None or too_short or facts.is_list:
        return
    bucket = int(facts.at.timestamp() // rules.subject_window.total_seconds())
    who = facts.recipients if facts.is_outbound else (facts.sender,) if facts.sender else ()
    for address in who[:_VOICES]:
        if participants.token(address) in rules.own:
            continue
        for near in (bucket, bucket + 1):
            shown = f"subject {facts.subject_norm[:100]!r} with {address}"
            yield Key(StitchReason.SUBJECT, digest("subject", facts.subject_norm, address, str(near)), shown)
