"""The intent to send a mail: everything about it is written before anything leaves, in the caller's transaction.

The mail's bytes are not stored by it: they follow from its rows (`pipeline.core.composing`), so that a stage without
I/O can mean to send. The message is canonical at once; the copy that the mailbox shows under sent mail is parsed to the
same fingerprint and signature and becomes one more sighting of it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row, text

from models.enums import (
    Confidence,
    Direction,
    Lane,
    OutboundKind,
    Provider,
    SendIdentityStatus,
    StitchReason,
)
from pipeline.core import composing
from pipeline.core.composing import Draft, Invitation, Unwritable
from pipeline.ports import ReplyTokens
from pipeline.runtime import outgoing_rows, stitching
from pipeline.runtime.db import copy_rows
from pipeline.runtime.errors import UserError
from pipeline.runtime.jobs import Emit

STAGE = "send"

_TICKET = text("""
    SELECT t.id, t.code, t.subject FROM tickets t
     WHERE t.org_id = :org
       AND t.id = (SELECT coalesce(merged_into, id) FROM tickets WHERE id = :ticket AND org_id = :org)
""")
_IDENTITY = text("""
    SELECT i.id, i.from_email, i.display_name, i.status, i.is_enabled, i.mailbox_id, m.address, m.provider, m.source
      FROM send_identities i JOIN mailboxes m ON m.id = i.mailbox_id WHERE i.id = :identity AND i.org_id = :org
""")
_THREAD = text("""
    SELECT rfc_message_id, direction FROM ticket_messages l JOIN messages m ON m.id = l.message_id
     WHERE l.ticket_id = :ticket AND m.rfc_message_id IS NOT NULL
     ORDER BY m.received_at DESC, m.id DESC LIMIT 200
""")
_NEW = text("SELECT uuidv7() AS id, date_trunc('second', now()) AS at")
_REPEATED = text("""
    SELECT b.id, b.message_id, b.identity_id, l.ticket_id, m.subject, c.body_text,
           ARRAY(SELECT address FROM message_addresses a WHERE a.message_id = b.message_id AND a.role = 'to'
                  ORDER BY position) AS "to",
           ARRAY(SELECT address FROM message_addresses a WHERE a.message_id = b.message_id AND a.role = 'cc'
                  ORDER BY position) AS cc
      FROM outbound b
      JOIN messages m ON m.id = b.message_id JOIN message_contents c ON c.message_id = b.message_id
      JOIN ticket_messages l ON l.message_id = b.message_id
     WHERE b.org_id = :org AND b.created_by = :by AND b.request_key = :key
""")
_OUTBOUND = text("""
    INSERT INTO outbound (id, org_id, mailbox_id, identity_id, message_id, kind, recipient, request_key, created_by)
    VALUES (:id, :org, :mailbox, :identity, :message, :kind, :recipient, :key, :by)
""")
_BUMP = text("""
    UPDATE tickets SET last_message_at = greatest(last_message_at, now()),
                       last_activity_at = greatest(last_activity_at, now()), version = version + 1
     WHERE id = :ticket
""")


class UnknownTicket(UserError):
    """The organization has no such ticket."""


class UnknownIdentity(UserError):
    """The organization has no such address to write from."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What somebody, or a rule, wants to be sent about a ticket; see `pipeline.core.composing` for the limits.

    `request_key` is the caller's own name for the request: repeated by the same `created_by` it is one message.
    `headers` are further headers of automatic mail.
    """

    org_id: UUID
    ticket_id: UUID
    identity_id: UUID
    kind: OutboundKind
    to: Sequence[str]
    subject: str
    body_text: str
    created_by: str
    cc: Sequence[str] = ()
    request_key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    invitation: Invitation | None = None
    lane: Lane = Lane.LIVE
    trace_id: str | None = None


@dataclass(frozen=True, slots=True)
class Intended:
    """An outbound message; `step` is what sends it, None when the request was a repetition."""

    outbound_id: UUID
    message_id: int
    ticket_id: UUID
    step: Emit | None


def intend(connection: Connection, tokens: ReplyTokens, intent: Intent) -> Intended:
    """Write down a message that is to be sent; the caller enqueues `step`. Nothing leaves before the commit.

    Takes the organization's stitching lock: call it before any ticket is locked. A ticket that was merged is answered
    as the one it went into. Raises `UnknownTicket`, `UnknownIdentity`, or `UserError` for what must not be sent so.
    """
    stitching.lock(connection, intent.org_id)
    ticket = connection.execute(_TICKET, {"org": intent.org_id, "ticket": intent.ticket_id}).one_or_none()
    if ticket is None:
        raise UnknownTicket("your organization has no such ticket")
    identity = _usable_identity(connection, intent)
    if intent.request_key is not None and (before := _repeated(connection, intent, ticket)) is not None:
        return before
    new = connection.execute(_NEW).one()
    draft = _draft(connection, tokens, intent, ticket=ticket, identity=identity, new=new)
    raw = composing.compose(draft)
    message_id = outgoing_rows.write(connection, intent.org_id, intent.kind, draft, raw)
    connection.execute(
        _OUTBOUND,
        {
            "id": new.id,
            "org": intent.org_id,
            "mailbox": identity.mailbox_id,
            "identity": identity.id,
            "message": message_id,
            "kind": intent.kind.value,
            "recipient": draft.to[0],
            "key": intent.request_key,
            "by": intent.created_by,
        },
    )
    _place(connection, intent.org_id, ticket.id, message_id, draft.message_id)
    trace_id = intent.trace_id or secrets.token_hex(16)
    said = {"outbound_id": str(new.id), "message_id": message_id, "kind": intent.kind.value}
    said |= {"from": draft.from_address, "to": draft.to, "cc": draft.cc}
    row = (intent.org_id, ticket.id, "outbound.queued", intent.created_by, orjson.dumps(said).decode(), trace_id)
    copy_rows(connection, "events", ("org_id", "ticket_id", "kind", "actor", "data", "trace_id"), [row])
    args: dict[str, Any] = {"headers": [list(pair) for pair in draft.headers]} if draft.headers else {}
    if draft.invitation is not None:
        args["invitation"] = {"method": draft.invitation.method, "text": draft.invitation.text}
    step = Emit(STAGE, str(new.id), intent.org_id, identity.mailbox_id, intent.lane, 0, trace_id, args)
    return Intended(new.id, message_id, ticket.id, step)


def why_it_cannot_send(provider: str, source: Mapping[str, Any]) -> str | None:
    """Return why nothing can be sent through a mailbox, or None."""
    if provider == Provider.FILES:
        return "it reads files, and nothing can be sent through those"
    if provider == Provider.IMAP and not source.get("smtp"):
        return "it has no SMTP server: connect it anew with `fieldpost mailbox add imap ... --smtp-host`"
    return None


def message_id_of(outbound_id: UUID, from_address: str) -> str:
    """Return the Message-ID of an outbound message."""
    return f"<{outbound_id}@{from_address.rpartition('@')[2]}>"


def _usable_identity(connection: Connection, intent: Intent) -> Row[Any]:
    """Return the address to write from; the list of those that may be is an allowlist (contract 001)."""
    found = connection.execute(_IDENTITY, {"org": intent.org_id, "identity": intent.identity_id}).one_or_none()
    if found is None:
        raise UnknownIdentity("your organization has no such address to write from")
    if not found.is_enabled:
        raise UserError(f"{found.from_email} is disabled: choose another address to write from")
    if found.status != SendIdentityStatus.VERIFIED:
        raise UserError(f"{found.from_email} is not verified; see `fieldpost identity verify`")
    problem = why_it_cannot_send(found.provider, found.source)
    if problem is not None:
        raise UserError(f"{found.from_email} cannot be written from through {found.address}: {problem}")
    return found


def _repeated(connection: Connection, intent: Intent, ticket: Row[Any]) -> Intended | None:
    """Return what an equal request made before; the stitching lock lets no twin run beside this.

    Raises `UserError` when the key was used for another mail.
    """
    values = {"org": intent.org_id, "by": intent.created_by, "key": intent.request_key}
    found = connection.execute(_REPEATED, values).one_or_none()
    if found is None:
        return None
    try:
        to, cc = tuple(map(composing.address, intent.to)), tuple(map(composing.address, intent.cc))
        same = (
            (found.identity_id, found.ticket_id) == (intent.identity_id, ticket.id)
            and set(found.to) == set(to) and set(found.cc) == set(cc) - set(to)
            and found.subject == composing.subject_line(intent.subject)
            and found.body_text == composing.body_text(intent.body_text)
        )  # fmt: skip
    except Unwritable as error:
        raise UserError(str(error)) from error
    if not same:
        raise UserError("this idempotency key was used for another reply: take a new key for a new reply")
    return Intended(found.id, found.message_id, found.ticket_id, None)


def _draft(
    connection: Connection, tokens: ReplyTokens, intent: Intent, *, ticket: Row[Any], identity: Row[Any], new: Row[Any]
) -> Draft:
    thread = connection.execute(_THREAD, {"ticket": ticket.id}).all()
    answered = next((row.rfc_message_id for row in thread if row.direction == Direction.INBOUND), None)
    others = [row.rfc_message_id for row in reversed(thread) if row.rfc_message_id != answered]
    try:
        return composing.draft(
            message_id=message_id_of(new.id, identity.from_email),
            at=new.at,
            from_address=identity.from_email,
            from_name=identity.display_name,
            to=intent.to,
            cc=intent.cc,
            reply_to=tokens.address(ticket.code, identity.address),
            subject=intent.subject,
            body=intent.body_text,
            in_reply_to=answered,
            # What is answered stands last (RFC 5322, 3.6.4).
            references=[*others, answered] if answered else others,
            proof=tokens.proof(new.id),
            headers=list(intent.headers.items()),
            invitation=intent.invitation,
        )
    except Unwritable as error:
        raise UserError(str(error)) from error


def _place(connection: Connection, org_id: UUID, ticket_id: UUID, message_id: int, evidence: str) -> None:
    """Put the message into its ticket, and let answers find it."""
    copy_rows(
        connection,
        "ticket_messages",
        ("message_id", "org_id", "ticket_id", "reason", "confidence", "evidence"),
        [(message_id, org_id, ticket_id, StitchReason.OUTBOUND.value, Confidence.HIGH.value, evidence)],
    )
    stitching.register(connection, org_id, ticket_id, [message_id])
    connection.execute(_BUMP, {"ticket": ticket_id})
