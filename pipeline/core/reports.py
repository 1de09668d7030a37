"""What a delivery report says: of which mail it speaks, and what became of that mail for each recipient."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from pipeline.core import headers, inner
from pipeline.core.addresses import clean_address
from pipeline.core.headers import Fields
from pipeline.core.parts import Attachment
from pipeline.core.text import one_line
from pipeline.core.words import decode_words

REPORTED_LIMIT = 5
DELIVERY_LIMIT = 20
DIAGNOSTIC_LENGTH = 300
_TEXT_REACH = 262_144
_STATUS_REACH = 262_144
_GROUP_LIMIT = 200
_PART_LIMIT = 50
_ABOUT_LENGTH = 2_000

_ORIGINAL = frozenset({"message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers"})
_STATUSES = frozenset({"message/delivery-status", "message/global-delivery-status"})
_RECEIPTS = frozenset({"message/disposition-notification", "message/global-disposition-notification"})
_ACTIONS = frozenset({"failed", "delayed", "delivered", "relayed", "expanded"})  # RFC 3464 section 2.3.3
_ROBOTS = frozenset({"mailer-daemon", "mailerdaemon", "postmaster", "mail-daemon"})

_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")  # RFC 3463 section 2
_BLANK_LINE = re.compile(rb"\n[ \t]*+\n")
#: The header of the returned mail, written into the text; deeper quotes are other people's.
_MESSAGE_ID = re.compile(r"^(?:[>|] ?)?Message-ID:[ \t]*(?:\n[ \t]+)?(<[^<>\s]{1,996}>)", re.MULTILINE | re.IGNORECASE)
#: qmail (QSBMF): the address in brackets with a colon, and below it what went wrong.
_PARAGRAPH = re.compile(r"^<([^<>\s]{1,320})>:[ \t]*+\n?((?:[^\n]++\n?){0,5})", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a mail for one recipient.

    `recipient` is the address it was sent to (lower case), None when the report hides it; `action` is one of RFC 3464's
    words or ""; `status` is a code of RFC 3463 ("5.1.1") or ""; `diagnostic` is one line of at most 300 characters.
    """

    recipient: str | None
    action: str
    status: str
    diagnostic: str


@dataclass(frozen=True, slots=True)
class Report:
    """The Message-IDs a report speaks of (at most 5), and the deliveries it tells of (at most 20)."""

    reported: tuple[str, ...]
    delivery: tuple[Delivery, ...]


NOTHING = Report((), ())


def read(
    fields: Fields, sender: str | None, attachments: Sequence[Attachment], text: str, *, is_report: bool
) -> Report:
    """Return what a mail reports; nothing for a mail that is no report.

    A report is a multipart/report (`is_report`; RFC 3464, RFC 8098, RFC 5965), or a mail of a mail system by its
    sender, its empty Return-Path or Exim's X-Failed-Recipients; those of Exim, qmail and Exchange are read too. Whether
    a report is to be believed is not decided here.
    """
    if not (is_report or _of_a_mail_system(fields, sender)):
        return NOTHING
    parts = attachments[:_PART_LIMIT]
    reported = tuple(islice(dict.fromkeys(_reported(parts, text)), REPORTED_LIMIT))
    told = list(islice(_deliveries(parts), DELIVERY_LIMIT))
    return Report(reported, tuple(told or islice(_without_status(fields, text), DELIVERY_LIMIT)))


def _of_a_mail_system(fields: Fields, sender: str | None) -> bool:
    if sender is not None and sender.partition("@")[0] in _ROBOTS:
        return True
    return fields.first("x-failed-recipients") is not None or fields.first("return-path") == "<>"


def _reported(attachments: Sequence[Attachment], text: str) -> Iterator[str]:
    found = False
    for part in attachments:
        for message_id in _ids_of(part):
            found = True
            yield message_id
    if not found:
        yield from (headers.message_ids([match[1]])[0] for match in _MESSAGE_ID.finditer(text, 0, _TEXT_REACH))


def _ids_of(part: Attachment) -> Iterable[str]:
    if part.content_type in _ORIGINAL:
        message_id = headers.message_id(inner.fields(part.payload))
        return [message_id] if message_id else []
    if part.content_type in _RECEIPTS:
        return headers.message_ids(inner.fields(part.payload).flat("original-message-id"))
    return []


def _deliveries(attachments: Sequence[Attachment]) -> Iterator[Delivery]:
    for part in attachments:
        if part.content_type in _STATUSES:
            for group in _groups(part.payload[:_STATUS_REACH]):
                told = inner.fields(group)
                if told.first("action") or told.first("final-recipient") or told.first("original-recipient"):
                    yield _delivery(told)


def _groups(payload: bytes) -> list[bytes]:
    """Return the field groups of a delivery-status part: one about the message, then one for each recipient."""
    lines = payload.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return _BLANK_LINE.split(lines, _GROUP_LIMIT)[:_GROUP_LIMIT]


def _delivery(told: Fields) -> Delivery:
    action = (told.first("action") or "").partition("(")[0].strip().lower()
    status = _STATUS.search((told.first("status") or "")[:DIAGNOSTIC_LENGTH])
    _, _, diagnostic = (told.first("diagnostic-code") or "").partition(";")
    return Delivery(
        _recipient(told.first("original-recipient")) or _recipient(told.first("final-recipient")),
        action if action in _ACTIONS else "",
        status[1] if status else "",
        _diagnostic(diagnostic),
    )


def _recipient(value: str | None) -> str | None:
    """Return the address of a typed field ("rfc822; a@b"); None when it is none."""
    if value is None:
        return None
    _, typed, rest = value.partition(";")
    return _address((rest if typed else value).strip(" <>"))


def _address(written: str) -> str | None:
    address = clean_address(written)
    return address if address and "@" in address else None


def _diagnostic(value: str) -> str:
    return one_line(decode_words(value[: 4 * DIAGNOSTIC_LENGTH])[0])[:DIAGNOSTIC_LENGTH].rstrip()


def _without_status(fields: Fields, text: str) -> Iterator[Delivery]:
    """Yield the failures of reports from before RFC 3464: Exim's header, qmail's paragraphs."""
    reach = text[:_TEXT_REACH]
    named = ",".join(fields.flat("x-failed-recipients"))[: headers.MESSAGE_ID_LENGTH * DELIVERY_LIMIT]
    exim = [address for written in named.split(",") if (address := _address(written.strip())) is not None]
    lowered = reach.lower() if exim else ""
    for address in exim:
        at = lowered.find(address)
        about = reach[at + len(address) : at + _ABOUT_LENGTH] if at >= 0 else ""
        yield _failed(address, about.partition("\n\n")[0])
    if not exim:
        for found in _PARAGRAPH.finditer(reach):
            if address := _address(found[1]):
                yield _failed(address, found[2])


def _failed(address: str, about: str) -> Delivery:
    status = _STATUS.search(about)
    return Delivery(address, "failed", status[1] if status else "", _diagnostic(about))
