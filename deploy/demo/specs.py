"""The values a demonstration consists of: mails, assets, teams, rules and what is expected of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypedDict


class MailKind(StrEnum):
    """What a mail is, by construction. HOSTILE ones may defeat a parser; BLANK ones hold nothing readable at all."""

    TROUBLE = "trouble"
    QUESTION = "question"
    THANKS = "thanks"
    FOLLOW_UP = "follow_up"
    ANSWER = "answer"
    DUPLICATE = "duplicate"
    COLLISION = "collision"
    AUTO_REPLY = "auto_reply"
    BOUNCE = "bounce"
    NEWSLETTER = "newsletter"
    SPAM = "spam"
    HOSTILE = "hostile"
    BLANK = "blank"


class AssetKind(StrEnum):
    """What can break; also the skill a team needs for it."""

    CHARGER = "charger"
    DOOR = "door"
    GATE = "gate"
    LIFT = "lift"


@dataclass(frozen=True, slots=True)
class AssetSpec:
    """One thing in the field; `zone` is a zone's code, `lat` and `lon` are degrees (WGS 84)."""

    tag: str
    name: str
    kind: AssetKind
    zone: str
    lat: float
    lon: float


@dataclass(frozen=True, slots=True)
class TeamSpec:
    """People who go out; `skills` are asset kinds, `capacity` is open work orders at one time."""

    name: str
    skills: tuple[AssetKind, ...]
    zones: tuple[str, ...]
    capacity: int


class RuleSpec(TypedDict):
    """One routing rule: lower `priority` is asked first, None matches anything.

    Patterns are shell-style wildcards, but for the subject's, which is an RE2 expression searched for in it.
    """

    match_recipient_pattern: str | None
    match_sender_domain_pattern: str | None
    match_sender_email_pattern: str | None
    match_subject_pattern: str | None
    set_status: str | None
    set_priority: str | None
    assign_queue: str | None
    add_tags: list[str]
    auto_close: bool
    priority: int


@dataclass(frozen=True, slots=True)
class Mail:
    """One arrival in one mailbox: the bytes as they came, when they came, and the labels Gmail would show."""

    mailbox: str
    raw: bytes
    at: datetime
    kind: MailKind
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Expected:
    """What a right reader finds in the initial and later mails together.

    `messages_by_kind` counts arrivals, so a mail delivered to both mailboxes counts once under its own kind and once as
    a duplicate. `threads` counts the groups that Message-ID, In-Reply-To and References form over both mailboxes: equal
    Message-IDs are one, a bounce belongs to the mail it reports on, a reply that lost both headers starts a group, a
    mail without Message-ID stands alone, and BLANK mails are left out.
    """

    messages_by_kind: Mapping[str, int]
    threads: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """A company, what it looks after and all its mail; `initial` and `later` are each in order of arrival."""

    organization: str
    mailboxes: tuple[str, ...]
    assets: tuple[AssetSpec, ...]
    teams: tuple[TeamSpec, ...]
    rules: tuple[RuleSpec, ...]
    allowlist: tuple[str, ...]
    initial: tuple[Mail, ...]
    later: tuple[Mail, ...]
    expected: Expected
