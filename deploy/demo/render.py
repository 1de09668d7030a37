"""A draft becomes bytes: transport headers, header block, MIME body (RFC 5322, 2045-2047)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from email import policy
from email.charset import QP, Charset
from email.header import Header
from email.utils import format_datetime, formataddr
from random import Random

from deploy.demo.bodies import body, fits
from deploy.demo.drafts import Draft, Evidence
from deploy.demo.payloads import Shelf

_QP_UTF8 = Charset("utf-8")
_QP_UTF8.header_encoding = QP


def envelope(draft: Draft, mailbox: str, hop: str) -> bytes:
    """Return what the last servers put on top for `mailbox`; nothing for a mail of our own, which never travelled.

    `hop` is 16 hex digits; two deliveries with the same one differ only in the address they name.
    """
    if draft.own:
        return b""
    lines = list(_evidence(draft, mailbox))
    arrived = format_datetime(draft.sent_at + timedelta(seconds=4))
    lines.append(f"Received: by 2002:a05:6a10:{hop[:4]} with SMTP id {hop[:12]}csp{hop[12:]};\r\n\t{arrived}")
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


def _evidence(draft: Draft, mailbox: str) -> Iterator[str]:
    recipient = draft.recipient if mailbox == draft.mailbox else mailbox
    if draft.evidence is Evidence.WORKSPACE:
        yield f"X-Gm-Original-To: {recipient}"
    if draft.evidence is Evidence.ORIGINAL_TO:
        yield f"X-Original-To: {recipient}"
    if draft.evidence is Evidence.WORKSPACE:
        yield f"Delivered-To: {mailbox}"
    if draft.evidence is Evidence.DELIVERED_TO:
        yield f"Delivered-To: {recipient}"


def content(draft: Draft, rng: Random, shelf: Shelf) -> bytes:
    """Return header block and body as the sender wrote them: the same for every mailbox the mail reaches."""
    block = "".join(f"{name}: {value}\r\n" for name, value in _headers(draft, rng))
    return block.encode("ascii") + body(draft, rng, shelf).as_bytes(policy=policy.SMTP)


def _headers(draft: Draft, rng: Random) -> Iterator[tuple[str, str]]:
    sender, domain = draft.sender, draft.sender.address.rpartition("@")[2]
    if not draft.own:
        sent, token = format_datetime(draft.sent_at), f"{rng.getrandbits(512):0128x}"
        yield "Received", f"from mail.{domain} (mail.{domain} [192.0.2.{rng.randrange(1, 255)}])\r\n\tby mx; {sent}"
        yield (
            "DKIM-Signature",
            (
                f"v=1; a=rsa-sha256; c=relaxed/relaxed; d={domain}; s=mail;\r\n\th=from:to:subject:date:message-id;\r\n"
                f"\tbh={token[:43]}=;\r\n\tb={token[43:]}"
            ),
        )
    yield "From", formataddr((sender.name, sender.address))
    if draft.to:
        yield "To", ",\r\n ".join(draft.to)
    if draft.cc:
        yield "Cc", ",\r\n ".join(draft.cc)
    yield "Subject", encoded_subject(draft.subject, draft.charset)
    yield "Date", format_datetime(draft.sent_at)
    if draft.message_id:
        yield "Message-ID", f"<{draft.message_id}>"
    if draft.in_reply_to:
        yield "In-Reply-To", f"<{draft.in_reply_to}>"
    if draft.references:
        yield "References", "\r\n ".join(f"<{reference}>" for reference in draft.references)
    yield from draft.headers
    yield "MIME-Version", "1.0"


def encoded_subject(subject: str, charset: str) -> str:
    """Return `subject` ready for a header line, as encoded words of `charset` where it is not ASCII (RFC 2047)."""
    if subject.isascii():
        return subject
    if fits(subject, charset) and charset != "utf-8":
        return Header(subject, charset, header_name="Subject").encode(linesep="\r\n")
    word_charset = _QP_UTF8 if len(subject) % 2 else "utf-8"
    return Header(subject, word_charset, header_name="Subject").encode(linesep="\r\n")
