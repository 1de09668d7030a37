"""Answering a ticket, and what a person decides about a message whose sending did not end well."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row, text

from models.enums import Lane, OutboundKind, OutboundState
from pipeline.core.composing import reply_subject
from pipeline.ports import ReplyTokens
from pipeline.runtime import ledger
from pipeline.runtime.errors import UserError
from pipeline.runtime.jobs import Emit
from pipeline.runtime.ledger import Line
from pipeline.runtime.outgoing import STAGE, Intent, intend

_JOB = text("SELECT id FROM jobs WHERE stage = :stage AND key = :key")
_LOCK = text("""
    SELECT b.id, b.org_id, b.mailbox_id, b.message_id, b.state, b.handed_over, l.ticket_id
      FROM outbound b LEFT JOIN ticket_messages l ON l.message_id = b.message_id
     WHERE b.id = :id AND (CAST(:org AS uuid) IS NULL OR b.org_id = :org) FOR UPDATE OF b
""")
#: How often it was handed over counts anew, and nothing is waited for.
_RETRY = text("""
    UPDATE outbound SET state = 'queued', handed_over = 0, handed_over_at = NULL, last_error = NULL WHERE id = :id
""")
_SETTLE = text("UPDATE outbound SET state = 'sent', sent_at = now(), last_error = NULL WHERE id = :id")
_CANCEL = text("UPDATE outbound SET state = 'cancelled' WHERE id = :id")
_EVENT = text("""
    INSERT INTO events (org_id, ticket_id, kind, actor, data)
    VALUES (:org, :ticket, :kind, :actor, CAST(:data AS jsonb))
""")
_TICKET = text("""
    SELECT t.id, t.org_id, t.code, t.subject, t.requester_email FROM tickets n
      JOIN tickets t ON t.id = coalesce(n.merged_into, n.id)
     WHERE n.code = lower(:name) OR CAST(n.id AS text) = lower(:name)
""")
#: The newest mail of a person in it says who is to be answered, by its Reply-To where it has one.
_ASKED = text("""
    SELECT coalesce((SELECT address FROM message_addresses WHERE message_id = m.id AND role = 'reply_to'
                      ORDER BY position LIMIT 1), m.from_address) AS address, m.subject,
           (SELECT o.mailbox_id FROM occurrences o WHERE o.message_id = m.id ORDER BY o.id LIMIT 1) AS mailbox_id
      FROM ticket_messages l JOIN messages m ON m.id = l.message_id
     WHERE l.ticket_id = :ticket AND m.direction = 'inbound' AND m.machine IS NULL
     ORDER BY m.received_at DESC, m.id DESC LIMIT 1
""")
_CHOICE = text("""
    SELECT i.id FROM send_identities i JOIN mailboxes x ON x.id = i.mailbox_id
     WHERE i.org_id = :org AND i.is_enabled AND i.status = 'verified'
       AND (CAST(:address AS text) IS NULL OR i.from_email = :address)
     ORDER BY i.mailbox_id = CAST(:mailbox AS uuid) DESC NULLS LAST, i.from_email = x.address DESC, i.from_email LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class Queued:
    """An answer that will be sent; `job_id` is None when it was sent already. `lines` have work now."""

    outbound_id: UUID
    message_id: int
    ticket_id: UUID
    job_id: int | None
    lines: frozenset[Line] = frozenset()


@dataclass(frozen=True, slots=True)
class Answer:
    """Whom an answer to a ticket goes to unless somebody says otherwise, from where, and under which subject."""

    org_id: UUID
    ticket_id: UUID
    identity_id: UUID
    to: str
    subject: str


def reply(
    connection: Connection,
    tokens: ReplyTokens,
    *,
    org_id: UUID,
    ticket_id: UUID,
    identity_id: UUID,
    to: Sequence[str],
    cc: Sequence[str],
    subject: str,
    body_text: str,
    created_by: str,
    request_key: str | None = None,
) -> Queued:
    """Queue an answer; the same `request_key` of the same person is the same answer. Raises as `outgoing.intend`."""
    intent = Intent(
        org_id=org_id,
        ticket_id=ticket_id,
        identity_id=identity_id,
        kind=OutboundKind.REPLY,
        to=to,
        cc=cc,
        subject=subject,
        body_text=body_text,
        created_by=created_by,
        request_key=request_key,
    )
    done = intend(connection, tokens, intent)
    lines = ledger.put(connection, [done.step]) if done.step is not None else set()
    return Queued(
        done.outbound_id, done.message_id, done.ticket_id, _job(connection, done.outbound_id), frozenset(lines)
    )


def suggested(connection: Connection, ticket: str, sender: str | None = None, *, needs_person: bool = True) -> Answer:
    """Return how a ticket (its code or id) is answered: the newest person in it, from the mailbox that was written to.

    `sender` is the address to write from. Raises `UserError` when the ticket is unknown, when nobody wrote in it though
    it `needs_person`, and when no verified address may be written from.
    """
    found = connection.execute(_TICKET, {"name": ticket.strip()}).one_or_none()
    if found is None:
        raise UserError(f"there is no ticket {ticket!r}; `fieldpost export tickets` lists them")
    asked = connection.execute(_ASKED, {"ticket": found.id}).one_or_none()
    to = (asked.address if asked is not None else None) or found.requester_email
    if not to and needs_person:
        raise UserError(f"nobody to answer is known in {found.code}: name somebody with --to")
    wanted = sender.strip().lower() if sender else None
    mailbox_id = asked.mailbox_id if asked is not None else None
    values = {"org": found.org_id, "address": wanted, "mailbox": mailbox_id}
    identity_id = connection.execute(_CHOICE, values).scalar_one_or_none()
    if identity_id is None:
        which = wanted or "any address of this organization"
        raise UserError(
            f"{which} may not be written from: see `fieldpost identity list`, or add it with `identity add`"
        )
    return Answer(
        found.org_id, found.id, identity_id, to or "", reply_subject(asked.subject if asked else found.subject)
    )


def retry(connection: Connection, outbound_id: UUID, *, actor: str, org_id: UUID | None = None) -> frozenset[Line]:
    """Send a message (again) that failed or whose fate is unknown: a person answers for a second copy."""
    row = _held(connection, outbound_id, org_id, (OutboundState.UNKNOWN, OutboundState.FAILED), "sent again")
    connection.execute(_RETRY, {"id": outbound_id})
    _note(connection, row, "outbound.retried", actor)
    return frozenset(ledger.put(connection, [_step(row)]))


def settle(connection: Connection, outbound_id: UUID, *, actor: str, org_id: UUID | None = None) -> None:
    """Note that a message whose fate is unknown did leave, as a person found out."""
    row = _held(connection, outbound_id, org_id, (OutboundState.UNKNOWN,), "settled")
    connection.execute(_SETTLE, {"id": outbound_id})
    _note(connection, row, "outbound.sent", actor)


def cancel(connection: Connection, outbound_id: UUID, *, actor: str, org_id: UUID | None = None) -> None:
    """Keep a message from being sent that was never handed over, or that certainly did not leave."""
    row = _held(connection, outbound_id, org_id, (OutboundState.QUEUED,), "cancelled")
    connection.execute(_CANCEL, {"id": outbound_id})
    _note(connection, row, "outbound.cancelled", actor)


def _held(
    connection: Connection, outbound_id: UUID, org_id: UUID | None, states: Sequence[OutboundState], done: str
) -> Row[Any]:
    row = connection.execute(_LOCK, {"id": outbound_id, "org": org_id}).one_or_none()
    if row is None:
        raise UserError(f"there is no outbound message {outbound_id}")
    if row.state not in states:
        allowed = " or ".join(states)
        raise UserError(f"the message is {row.state}; only one that is {allowed} can be {done}")
    return row


def _note(connection: Connection, row: Row[Any], kind: str, actor: str) -> None:
    data = orjson.dumps({"outbound_id": str(row.id), "message_id": row.message_id, "was": row.state}).decode()
    values = {"org": row.org_id, "ticket": row.ticket_id, "kind": kind, "actor": actor, "data": data}
    connection.execute(_EVENT, values)


def _step(row: Row[Any]) -> Emit:
    return Emit(STAGE, str(row.id), row.org_id, row.mailbox_id, Lane.LIVE, 0, secrets.token_hex(16))


def _job(connection: Connection, outbound_id: UUID) -> int | None:
    found: int | None = connection.execute(_JOB, {"stage": STAGE, "key": str(outbound_id)}).scalar_one_or_none()
    return found
