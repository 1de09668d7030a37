"""What is made of a parsed mail that stands in a mailbox: which way it travelled, whom it reached, what wrote it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from uuid import UUID

from models.enums import Direction, Provider
from pipeline.core import composing, loops, machines, recipients
from pipeline.core.mime import Parsed
from pipeline.ports import ReplyTokens
from pipeline.runtime.message_rows import Understood

_CALENDARS = frozenset({"text/calendar", "application/ics"})


def understand(
    mail: Parsed,
    *,
    mailbox: str,
    provider: str,
    labels: Collection[str],
    stored: Mapping[str, int],
    tokens: ReplyTokens,
) -> Understood:
    """Return what is kept of a mail found in a mailbox of that address; `stored` are its attachments' stored sizes.

    Ours is what stands under sent mail; From alone, which anybody can write, says so only where there are no folders.
    """
    sender = mail.from_[0].address if mail.from_ else None
    marker = _marker(mail, sender, mailbox, tokens)
    is_ours = "SENT" in labels or (provider == Provider.FILES and sender == mailbox)
    direction = Direction.OUTBOUND if is_ours else Direction.INBOUND
    mail = replace(mail, recipient=recipients.found_in(mail.recipient, mailbox))
    if machines.asks_for_no_answer(mail.headers):
        mail = replace(mail, flags=tuple(sorted({*mail.flags, machines.NO_AUTOMATIC_ANSWER})))
    outbound_id = _outbound_id(mail, labels, tokens)
    if marker is None:
        return Understood(mail, None, direction, stored, outbound_id=outbound_id)
    said = f"{marker.header}: {marker.value}"[:300]
    return Understood(mail, marker.kind.value, direction, stored, said, outbound_id)


def _outbound_id(mail: Parsed, labels: Collection[str], tokens: ReplyTokens) -> UUID | None:
    """Return which message of ours a mail under sent mail proves to be.

    Whoever got that message knows its proof, so that in other folders it would hide what a stranger writes.
    """
    if "SENT" not in labels:
        return None
    proofs = (tokens.outbound_id(value) for value in mail.headers.get(composing.PROOF_HEADER.lower(), ()))
    return next((found for found in proofs if found is not None), None)


def _marker(mail: Parsed, sender: str | None, mailbox: str, tokens: ReplyTokens) -> machines.Marker | None:
    calendars = (part.payload for part in mail.attachments if part.content_type in _CALENDARS)
    return machines.classify(
        mail.headers,
        sender,
        mail.subject,
        (mailbox.rpartition("@")[2],),
        calendar_method=machines.calendar_method(calendars),
        signed=lambda value: loops.is_signed(value, tokens.loop_keys()),
    )
