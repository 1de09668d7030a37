"""A mail before it becomes bytes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.message import MIMEPart
from enum import StrEnum

from deploy.demo.people import Person
from deploy.demo.specs import MailKind


class Layout(StrEnum):
    """How the text is packed."""

    PLAIN = "plain"
    ALTERNATIVE = "alternative"
    HTML = "html"
    RELATED = "related"


class Evidence(StrEnum):
    """Which header tells the address the mail was sent to; with NONE only To and Cc may."""

    WORKSPACE = "x-gm-original-to"
    DELIVERED_TO = "delivered-to"
    ORIGINAL_TO = "x-original-to"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Draft:
    """One mail: `recipient` is the envelope's address, `sent_at` becomes Date, `at` is its arrival in `mailbox`.

    Message-IDs are written without angle brackets. `headers` are extra ones, ASCII, written as they are.
    A `prepared` body stands in place of the text; an `own` mail was written in the mailbox itself and never travelled.
    """

    kind: MailKind
    mailbox: str
    recipient: str
    sender: Person
    to: tuple[str, ...]
    cc: tuple[str, ...]
    subject: str
    text: str
    message_id: str
    sent_at: datetime
    at: datetime
    in_reply_to: str = ""
    references: tuple[str, ...] = ()
    layout: Layout = Layout.PLAIN
    charset: str = "utf-8"
    evidence: Evidence = Evidence.DELIVERED_TO
    attachments: tuple[MIMEPart, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    labels: tuple[str, ...] = ("INBOX", "UNREAD")
    prepared: MIMEPart | None = None
    own: bool = False
