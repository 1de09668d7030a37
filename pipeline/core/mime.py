"""A raw mail as a value: who wrote what to whom, with which files, and what was odd about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from pipeline.core import (
    addresses,
    fingerprints,
    forwards,
    headers,
    html,
    html_quotes,
    large,
    lists,
    parts,
    quotes,
    recipients,
    reply_words,
    reports,
    structure,
)
from pipeline.core.addresses import Address
from pipeline.core.flags import Flag
from pipeline.core.headers import Fields
from pipeline.core.parts import Attachment, Content
from pipeline.core.recipients import FALLBACKS, PRECEDENCE, WITNESSES, Recipient
from pipeline.core.reports import Delivery, Report
from pipeline.core.text import TEXT_LIMIT, clean, snippet, subject_norm

__all__ = ["Address", "Attachment", "Delivery", "Flag", "Parsed", "Recipient", "Unreadable", "describe", "parse"]

#: Written on every message; a new number makes stored raw mail worth parsing again.
PARSER_VERSION = 2

_PEOPLE = ("from", "reply-to", *(name for name, _, _ in (*PRECEDENCE, *FALLBACKS)))


class Unreadable(ValueError):
    """There is nothing in the mail that could be understood: it is empty."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """One understood mail. Every string fits PostgreSQL text, JSON and UTF-8.

    `date` is in UTC; `message_id` and the other ids have the form "<...>"; `html` is the safe subset, None when the
    mail has no HTML; `text` comes from the HTML when there is no text part; `headers` maps lower-case names to decoded
    values in order; `flags` are sorted; `fingerprint` and `signature` are hex SHA-256 (`pipeline.core.fingerprints`).
    `fresh` is `text` without quotes and signature (`pipeline.core.quotes`); `forwarded_from` wrote what is forwarded;
    `reported` and `delivery` are what a delivery report says (`pipeline.core.reports`).
    """

    subject: str
    subject_norm: str
    from_: tuple[Address, ...]
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    reply_to: tuple[Address, ...]
    date: datetime | None
    message_id: str | None
    in_reply_to: tuple[str, ...]
    references: tuple[str, ...]
    text: str
    html: str | None
    snippet: str
    attachments: tuple[Attachment, ...]
    recipient: Recipient
    headers: Mapping[str, tuple[str, ...]]
    flags: tuple[str, ...]
    fingerprint: str
    signature: str
    fresh: str
    forwarded_from: str | None
    list_id: str | None
    reported: tuple[str, ...]
    delivery: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True)
class _Bodies:
    """The bodies to keep; `marked` is the text with the quotations that only the HTML marks."""

    text: str
    html: str | None
    marked: str
    flags: frozenset[Flag]


@dataclass(frozen=True, slots=True)
class _Told:
    """What the mail tells about other mails: a quoted, a forwarded, a reported one."""

    fresh: str
    forwarded_from: str | None
    list_id: str | None
    report: Report


def parse(raw: bytes) -> Parsed:
    """Understand one raw mail (RFC 5322, MIME), however damaged; the same bytes always give the same value.

    Raises `Unreadable` only when `raw` is empty or blank. What had to be guessed, cut or left out is in `flags`.
    """
    if not raw or raw.isspace():
        raise Unreadable("the mail is empty")
    root, structure_flags = large.read(raw) if len(raw) > large.LIMIT else structure.read(raw)
    fields = headers.collect(root.items_seen)
    content = parts.extract(root)
    bodies = _bodies(content)
    people, people_flags = _people(fields)
    parsed = _parsed(fields, people, content, bodies, structure_flags | people_flags)
    if parsed.message_id is None and parsed.date is None:
        # Nothing says that two such mails are one sending: each raw is a message of its own, so that none is hidden.
        return replace(parsed, signature=fingerprints.bound_to(parsed.signature, raw))
    return parsed


def describe(parsed: Parsed) -> dict[str, object]:
    """Return what `fieldpost parse` prints about one mail, as JSON values."""
    return {
        "subject": parsed.subject,
        "from": parsed.from_[0].address if parsed.from_ else None,
        "to": [person.address for person in parsed.to],
        "cc": [person.address for person in parsed.cc],
        "reply_to": [person.address for person in parsed.reply_to],
        "date": parsed.date.isoformat() if parsed.date else None,
        "message_id": parsed.message_id,
        "in_reply_to": parsed.in_reply_to[0] if parsed.in_reply_to else None,
        "references": list(parsed.references),
        "list_id": parsed.list_id,
        "reported": list(parsed.reported),
        "delivery": [asdict(one) for one in parsed.delivery],
        "text": parsed.text,
        "fresh": parsed.fresh,
        "forwarded_from": parsed.forwarded_from,
        "html": parsed.html is not None,
        "attachments": [
            {
                "filename": attachment.filename,
                "content_type": attachment.content_type,
                "size": attachment.size,
                "sha256": attachment.sha256,
                "dangerous": attachment.is_dangerous,
            }
            for attachment in parsed.attachments
        ],
        "recipient": {
            "address": parsed.recipient.address,
            "source": parsed.recipient.source.value,
            "confidence": parsed.recipient.confidence.value,
        },
        "flags": list(parsed.flags),
    }


def _parsed(
    fields: Fields,
    people: Mapping[str, tuple[Address, ...]],
    content: Content,
    bodies: _Bodies,
    flags: frozenset[Flag],
) -> Parsed:
    subject = clean(headers.subject(fields))
    normalised = subject_norm(subject)
    date, date_flags = headers.date(fields)
    message_id = headers.message_id(fields)
    values, guessed = headers.decoded(fields)
    listed = {name: tuple(person.address for person in found) for name, found in people.items()}
    hashes = [attachment.sha256 for attachment in content.attachments]
    body = bodies.text.strip() or content.html
    sender = listed["from"][0] if listed["from"] else None
    told = _told(fields, sender, subject, content, bodies)
    own = {
        Flag.CHARSET_GUESSED: guessed,
        Flag.NO_HEADERS: not values,
        Flag.NO_MESSAGE_ID: message_id is None,
    }
    observed = flags | date_flags | content.flags | bodies.flags | {flag for flag, holds in own.items() if holds}
    return Parsed(
        subject=subject,
        subject_norm=normalised,
        from_=people["from"],
        to=people["to"],
        cc=people["cc"],
        reply_to=people["reply-to"],
        date=date,
        message_id=message_id,
        in_reply_to=headers.message_ids(fields.flat("in-reply-to"), strict=True),
        references=headers.message_ids(fields.flat("references")),
        text=bodies.text,
        html=bodies.html,
        snippet=snippet(bodies.text, subject),
        attachments=content.attachments,
        fresh=told.fresh,
        forwarded_from=told.forwarded_from,
        list_id=told.list_id,
        reported=told.report.reported,
        delivery=told.report.delivery,
        recipient=recipients.resolve(listed | {name: recipients.witnessed(fields.flat(name)) for name in WITNESSES}),
        headers=values,
        flags=tuple(sorted(flag.value for flag in observed)),
        fingerprint=fingerprints.fingerprint(
            sender=sender,
            subject_norm=normalised,
            date=date,
            body=body,
            attachment_hashes=hashes,
        ),
        signature=fingerprints.signature(
            message_id=message_id,
            date=date,
            senders=listed["from"],
            to=listed["to"],
            cc=listed["cc"],
            reply_to=listed["reply-to"],
            subject_norm=normalised,
            body=body,
            attachment_hashes=hashes,
        ),
    )


def _told(fields: Fields, sender: str | None, subject: str, content: Content, bodies: _Bodies) -> _Told:
    list_id = lists.list_id(fields)
    is_report = Flag.REPORT in content.flags
    report = reports.read(fields, sender, content.attachments, bodies.text, is_report=is_report)
    split = quotes.split(bodies.marked, is_forward=reply_words.is_forward_subject(subject))
    forwarded_from = None
    if report is reports.NOTHING:  # the mail inside a report is returned, not forwarded
        forwarded_from = forwards.original_sender(
            fields, sender, split.forwarded, content.attachments, is_list=list_id is not None
        )
    fresh = bodies.text if split.fresh == bodies.marked else split.fresh
    return _Told(fresh, forwarded_from, list_id, report)


def _people(fields: Fields) -> tuple[dict[str, tuple[Address, ...]], frozenset[Flag]]:
    people: dict[str, tuple[Address, ...]] = {}
    flags: set[Flag] = set()
    for name in _PEOPLE:
        people[name], cut = addresses.read(fields.flat(name))
        if cut:
            flags.add(Flag.TOO_MANY_ADDRESSES)
    return people, frozenset(flags)


def _bodies(content: Content) -> _Bodies:
    flags: set[Flag] = set()
    text, safe, marked = content.text, None, None
    if content.html:
        safe, cut = html.sanitise(content.html)
        safe = clean(safe)
        if cut:
            flags.add(Flag.HTML_TRUNCATED)
        if not text:
            text = clean(html.to_text(content.html))
            marked = html_quotes.marked_text(content.html)
            flags.add(Flag.HTML_ONLY)
    if len(text) > TEXT_LIMIT:
        text = text[:TEXT_LIMIT]
        flags.add(Flag.TEXT_TRUNCATED)
    return _Bodies(text, safe, clean(marked)[:TEXT_LIMIT] if marked else text, frozenset(flags))
