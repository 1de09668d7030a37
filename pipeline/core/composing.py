"""Mail that we write: what a person or a rule may put into it, and its bytes, the same for the same draft."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from textwrap import wrap

from pipeline.core.addresses import NAME_LENGTH
from pipeline.core.text import clean, normalised, one_line, plain_lines

#: Contract 001, `POST /tickets/{id}/reply`.
MOST_TO, MOST_CC, SUBJECT_LENGTH, BODY_LENGTH = 50, 50, 998, 100_000
#: A mail names so many of its thread's ids, the newest ones.
MOST_REFERENCES = 20
#: The header that proves which outbound message a copy is (`pipeline.core.ticket_codes`).
PROOF_HEADER = "X-Fieldpost-Message"

_LOCAL = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.ASCII)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
#: RFC 5321 4.5.3.1: local part, and the whole path without its brackets.
_LOCAL_LIMIT, _ADDRESS_LIMIT = 64, 254
_ID = re.compile(r"<[!-;=?-~]{1,250}>", re.ASCII)
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,60}", re.ASCII)
_HEADER_VALUE = re.compile(r"[ -~]{1,900}", re.ASCII)
_REPLY = re.compile(r"\s*(?:re|aw|sv|antw|odp)\s*(?:\[\d+\])?\s*[:\uff1a]", re.IGNORECASE)
#: White space that a body keeps; other controls have no meaning in mail and may hide something.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff]")
_LINE_LIMIT, _FOLD, _LONGEST_WORD = 998, 76, 800  # RFC 5322 2.1.1
#: Seven bits only, so that no server on the way needs an extension; headers set here are never folded anew.
_POLICY = SMTP.clone(cte_type="7bit", refold_source="none")
#: What the mail itself consists of: nothing given from outside may stand in for it.
_OWN = frozenset({
    "from", "sender", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id", "in-reply-to", "references",
    "mime-version", "content-type", "content-transfer-encoding", "content-disposition", "return-path", "received",
    PROOF_HEADER.lower(),
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Invitation:
    """A calendar object that goes with a mail, for programs that know it (RFC 6047); its lines end in CRLF."""

    method: str
    text: str


class Unwritable(ValueError):
    """The mail must not be written so; the text says what to change."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A mail with all that its bytes depend on. Addresses are lower case, ids in the form "<...>".

    Make one by `draft`, which checks it. `headers` are further headers of automatic mail, `proof` is the value of
    `PROOF_HEADER`.
    """

    message_id: str
    at: datetime
    from_address: str
    from_name: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    reply_to: str | None
    subject: str
    body: str
    in_reply_to: str | None
    references: tuple[str, ...]
    proof: str
    headers: tuple[tuple[str, str], ...] = ()
    invitation: Invitation | None = None


def draft(
    *,
    message_id: str,
    at: datetime,
    from_address: str,
    from_name: str,
    to: Sequence[str],
    cc: Sequence[str] = (),
    reply_to: str | None = None,
    subject: str,
    body: str,
    in_reply_to: str | None = None,
    references: Sequence[str] = (),
    proof: str,
    headers: Iterable[tuple[str, str]] = (),
    invitation: Invitation | None = None,
) -> Draft:
    """Return a checked draft: nothing in it can end a header line or begin another. Raises `Unwritable`.

    White space and controls in the subject, the name and the ends of the body are made harmless; ids that no reader
    would take are left out; addresses and headers must be right. `at` loses its fraction of a second: a Date has none.
    """
    recipients = tuple(dict.fromkeys(map(address, to)))
    copies = tuple(one for one in dict.fromkeys(map(address, cc)) if one not in recipients)
    if not 1 <= len(recipients) <= MOST_TO or len(copies) > MOST_CC:
        raise Unwritable(f"a mail goes to 1 to {MOST_TO} addresses, and at most {MOST_CC} get a copy")
    return Draft(
        message_id=_known_id(message_id),
        at=at.replace(microsecond=0),
        from_address=address(from_address),
        from_name=display_name(from_name),
        to=recipients,
        cc=copies,
        reply_to=None if reply_to is None else address(reply_to),
        subject=subject_line(subject),
        body=body_text(body),
        in_reply_to=next(iter(usable_ids([in_reply_to] if in_reply_to else ())), None),
        references=usable_ids(references)[-MOST_REFERENCES:],
        proof=_header_value(PROOF_HEADER, proof),
        headers=tuple(_checked_header(name, value) for name, value in headers),
        invitation=invitation,
    )


def compose(mail: Draft) -> bytes:
    """Return the mail's bytes (RFC 5322, lines end in CRLF, seven bits); the same draft always gives the same."""
    message = EmailMessage(policy=_POLICY)
    # Its own folding loses spaces between encoded words and breaks long ids into some; what stands here was checked
    # letter by letter.
    message.set_raw("From", _mailbox("From", mail.from_name, mail.from_address))
    message.set_raw("To", ",\r\n ".join(mail.to))
    if mail.cc:
        message.set_raw("Cc", ",\r\n ".join(mail.cc))
    if mail.reply_to:
        message.set_raw("Reply-To", _mailbox("Reply-To", mail.from_name, mail.reply_to))
    message.set_raw("Subject", _text("Subject", mail.subject))
    message.set_raw("Date", format_datetime(mail.at))
    message.set_raw("Message-ID", mail.message_id)
    if mail.in_reply_to:
        message.set_raw("In-Reply-To", mail.in_reply_to)
    if mail.references:
        message.set_raw("References", "\r\n ".join(mail.references))
    message.set_raw(PROOF_HEADER, mail.proof)
    for name, value in mail.headers:
        message.set_raw(name, value)
    is_plain = mail.body.isascii() and all(len(line) < _LINE_LIMIT for line in mail.body.splitlines())
    message.set_content(mail.body + "\n", cte="7bit" if is_plain else "quoted-printable")
    if mail.invitation is not None:
        _invite(message, mail.invitation, mail.message_id)
    return message.as_bytes()


def _invite(message: EmailMessage, invitation: Invitation, message_id: str) -> None:
    """Add the calendar object beside the body, as another way to read it (RFC 6047, 2.4)."""
    parameters = {"method": invitation.method}
    message.add_alternative(invitation.text, subtype="calendar", cte="base64", params=parameters)
    # A boundary of chance would make another mail each time.
    message.set_boundary(f"=_{hashlib.sha256(message_id.encode()).hexdigest()[:32]}")


def address(value: str) -> str:
    """Return an address that can stand in a header, lower case, its domain in ASCII (IDNA). Raises `Unwritable`."""
    local, _, domain = value.strip().lower().rpartition("@")
    try:
        domain = domain if domain.isascii() else domain.encode("idna").decode("ascii")
    except UnicodeError:
        domain = ""
    labels = domain.split(".")
    is_domain = len(labels) > 1 and all(map(_LABEL.fullmatch, labels))
    if not (is_domain and _LOCAL.fullmatch(local) and len(local) <= _LOCAL_LIMIT):
        raise Unwritable(f"{one_line(value)[:80]!r} is no mail address that can be written to")
    if len(local) + 1 + len(domain) > _ADDRESS_LIMIT:
        raise Unwritable(f"{one_line(value)[:80]!r} is longer than a mail address may be")
    return f"{local}@{domain}"


def display_name(value: str) -> str:
    """Return a name on one line, at most 200 characters; quotes and at signs, which could pose as an address, gone."""
    flat = one_line(_normal(value)).translate({ord(mark): " " for mark in '"<>@\\,;:'})
    return one_line(flat).strip("' ")[:NAME_LENGTH].rstrip("' ")


def subject_line(value: str) -> str:
    """Return a subject on one line. Raises `Unwritable` when it is blank or longer than the contract allows."""
    flat = one_line(_normal(value))
    if not 1 <= len(flat) <= SUBJECT_LENGTH:
        raise Unwritable(f"a subject has 1 to {SUBJECT_LENGTH} characters")
    return flat


def body_text(value: str) -> str:
    """Return a body with plain line ends and none at its end. Raises `Unwritable` when blank or too long."""
    text = _CONTROL.sub("", plain_lines(_normal(value))).rstrip().lstrip("\n")
    if not 1 <= len(text) <= BODY_LENGTH or not text.strip():
        raise Unwritable(f"a body has 1 to {BODY_LENGTH} characters")
    return text


def reply_subject(subject: str) -> str:
    """Return the subject of an answer: `Re: ` before one that is none yet."""
    flat = one_line(subject) or "your message"
    return (flat if _REPLY.match(flat) else f"Re: {flat}")[:SUBJECT_LENGTH].rstrip()


def usable_ids(ids: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct ids that can be repeated in a header line; a hostile one is left out."""
    return tuple(dict.fromkeys(one for one in ids if _ID.fullmatch(one)))


def _known_id(value: str) -> str:
    if not _ID.fullmatch(value) or "@" not in value:
        raise Unwritable(f"{one_line(value)[:80]!r} is no Message-ID")
    return value


def _checked_header(name: str, value: str) -> tuple[str, str]:
    if not _HEADER_NAME.fullmatch(name) or name.lower() in _OWN:
        raise Unwritable(f"the header {one_line(name)[:80]!r} cannot be added")
    return name, _header_value(name, value)


def _header_value(name: str, value: str) -> str:
    if not _HEADER_VALUE.fullmatch(value) or value != value.strip():
        raise Unwritable(f"the header {name} takes one line of ASCII, at most 900 characters")
    return value


def _mailbox(header: str, name: str, address: str) -> str:
    if not name:
        return address
    return f'"{name}" <{address}>' if _is_plain(name) else f"{_text(header, name)}\r\n <{address}>"


def _text(header: str, value: str) -> str:
    """Return one line of text as the value of a header: folded at spaces, in encoded words where it must be."""
    if _is_plain(value):
        return "\r\n ".join(wrap(value, _FOLD - len(header), break_long_words=False, break_on_hyphens=False))
    return Header(value, "utf-8", _FOLD, header).encode(linesep="\r\n")


def _is_plain(value: str) -> bool:
    """Say whether text needs no encoding: ASCII, no word too long for a line, nothing that looks encoded."""
    return value.isascii() and "=?" not in value and all(len(word) <= _LONGEST_WORD for word in value.split())


def _normal(value: str) -> str:
    """Return text as a reader of the mail will have it: composed characters, no NUL, no lone surrogates."""
    return normalised(clean(value))
