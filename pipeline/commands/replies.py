"""Answering a ticket, and what a person decides about a message whose sending did not end well."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row, text

from models.enums import Lane, OutboundKind, OutboundState
from pipeline.core.composing import reply_subject
from pipeline.ports import ReplyTokens
from pipeline.runtime import clocks, ledger
from pipeline.runtime.errors import UserError
from pipeline.runtime.jobs import Emit
from pipeline.runtime.ledger import Line
from pipeline.runtime.outgoing import STAGE, Intent, intend

#: So long after a mail was handed over nobody can still be sending it: a person may decide, whatever its job does.
ADRIFT = timedelta(minutes=5)

_JOB = text("SELECT id FROM jobs WHERE stage = :stage AND key = :key")
_LOCK = text("""
    SELECT b.id, b.org_id, b.mailbox_id, b.message_id, b.kind, b.state, b.handed_over, l.ticket_id,
           b.state = 'sending' AND b.handed_over_at < now() - make_interval(secs => :patience) AS is_adrift,
           b.state = 'queued' AND (j.id IS NULL OR j.state = 'dead') AS is_stranded,
           coalesce(j.args, '{}') ? 'headers'
             OR EXISTS (SELECT FROM blobs x WHERE x.org_id = b.org_id AND x.kind = 'raw' AND x.sha256 = m.raw_sha256)
             AS has_marks
      FROM outbound b
      JOIN messages m ON m.id = b.message_id
      LEFT JOIN ticket_messages l ON l.message_id = b.message_id
      LEFT JOIN jobs j ON j.stage = 'send' AND j.key = CAST(b.id AS text)
     WHERE b.id = :id AND (CAST(:org AS uuid) IS NULL OR b.org_id = :org) FOR UPDATE OF b
""")
#: How often it was handed over counts anew, and nothing is waited for.
_RETRY = text("""
    UPDATE outbound SET state = 'queued', handed_over = 0, handed_over_at = NULL, last_error = NULL WHERE id = :id
""")
#: Its job, wherever it got stuck, goes on at once; where it was buried, its dead letter is answered by that: the letter
#: is locked first and then the job, as `dlq` does. A job that killed its process runs alone.
_WAKE = text("""
    WITH letter AS (
        SELECT d.id, d.cause FROM dead_letters d JOIN jobs j ON j.id = d.job_id
         WHERE j.stage = :stage AND j.key = :key AND d.resolution IS NULL FOR UPDATE OF d
    ), locked AS (
        SELECT count(*) AS letters, coalesce(bool_or(cause = 'crashed'), false) AS has_crashed FROM letter
    ), awake AS (
        UPDATE jobs SET state = 'ready', run_at = now(), failures = 0, crashes = 0, company = 0,
                        is_suspect = (SELECT has_crashed FROM locked), is_wanted = false,
                        last_error = last_error - 'first'
         WHERE stage = :stage AND key = :key AND state IN ('waiting', 'blocked', 'held', 'dead')
           AND (SELECT letters FROM locked) >= 0
        RETURNING id, lane
    ), answered AS (
        UPDATE dead_letters SET resolution = 'replayed', resolved_at = now(), resolved_by = :actor,
                                resolved_reason = :reason
          FROM awake WHERE dead_letters.job_id = awake.id AND dead_letters.resolution IS NULL
        RETURNING dead_letters.id, dead_letters.org_id
    ), noted AS (
        INSERT INTO letter_actions (org_id, letter_id, action, actor, reason)
        SELECT org_id, id, 'replayed', :actor, :reason FROM answered
    )
    SELECT lane FROM awake
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
           (SELECT o.mailbox_id FROM occurrence_recipients r JOIN occurrences o ON o.id = r.occurrence_id
             WHERE r.message_id = m.id ORDER BY o.id LIMIT 1) AS mailbox_id
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
        raise UserError(f"there is no ticket {ticket!r}; `fieldpost search` finds them by their words")
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
    """Send a message (again) that failed or whose fate is unknown: a person answers for a second copy.

    So may one be that was handed over `ADRIFT` ago and is still not known to have left, and a queued one that no job
    will send. Raises `UserError` for any other, and for an automatic mail whose marks against loops are lost.
    """
    states = (OutboundState.UNKNOWN, OutboundState.FAILED)
    row = _held(connection, outbound_id, org_id, states, "sent again", stuck=("is_adrift", "is_stranded"))
    if row.kind != OutboundKind.REPLY and not row.has_marks:
        raise UserError(
            "the headers that mark this automatic mail were never stored, and without them it could begin a loop: "
            "write a reply instead"
        )
    connection.execute(_RETRY, {"id": outbound_id})
    _note(connection, row, "outbound.retried", actor)
    return _wake(connection, row, actor) | ledger.put(connection, [_step(row)])


def settle(connection: Connection, outbound_id: UUID, *, actor: str, org_id: UUID | None = None) -> None:
    """Note that a message whose fate is unknown, or was for `ADRIFT`, did leave, as a person found out."""
    row = _held(connection, outbound_id, org_id, (OutboundState.UNKNOWN,), "settled", stuck=("is_adrift",))
    connection.execute(_SETTLE, {"id": outbound_id})
    _note(connection, row, "outbound.sent", actor)
    clocks.note_answer(connection, [row.ticket_id] if row.ticket_id and row.kind == OutboundKind.REPLY else [])
    # Its job finds nothing left to do, and ends.
    _wake(connection, row, actor)


def cancel(connection: Connection, outbound_id: UUID, *, actor: str, org_id: UUID | None = None) -> None:
    """Keep a message from being sent that was never handed over, or that certainly did not leave."""
    row = _held(connection, outbound_id, org_id, (OutboundState.QUEUED,), "cancelled")
    connection.execute(_CANCEL, {"id": outbound_id})
    _note(connection, row, "outbound.cancelled", actor)
    _wake(connection, row, actor)


def _held(
    connection: Connection,
    outbound_id: UUID,
    org_id: UUID | None,
    states: Sequence[OutboundState],
    done: str,
    *,
    stuck: Sequence[str] = (),
) -> Row[Any]:
    """Lock a message that stands in one of `states`, or is `stuck` as one of these columns says."""
    values = {"id": outbound_id, "org": org_id, "patience": ADRIFT.total_seconds()}
    row = connection.execute(_LOCK, values).one_or_none()
    if row is None:
        raise UserError(f"there is no outbound message {outbound_id}")
    if row.state in states or any(getattr(row, column) for column in stuck):
        return row
    if row.state == OutboundState.SENDING and stuck:
        minutes = ADRIFT // timedelta(minutes=1)
        raise UserError(f"the message is sending; it can be {done} {minutes} minutes after it was handed over")
    allowed = " or ".join(states)
    raise UserError(f"the message is {row.state}; only one that is {allowed} can be {done}")


def _wake(connection: Connection, row: Row[Any], actor: str) -> frozenset[Line]:
    values = {"stage": STAGE, "key": str(row.id), "actor": actor, "reason": "decided about the message itself"}
    return frozenset(Line(STAGE, Lane(lane)) for lane in connection.execute(_WAKE, values).scalars())


def _note(connection: Connection, row: Row[Any], kind: str, actor: str) -> None:
    data = orjson.dumps({"outbound_id": str(row.id), "message_id": row.message_id, "was": row.state}).decode()
    values = {"org": row.org_id, "ticket": row.ticket_id, "kind": kind, "actor": actor, "data": data}
    connection.execute(_EVENT, values)


def _step(row: Row[Any]) -> Emit:
    return Emit(STAGE, str(row.id), row.org_id, row.mailbox_id, Lane.LIVE, 0, secrets.token_hex(16))


def _job(connection: Connection, outbound_id: UUID) -> int | None:
    found: int | None = connection.execute(_JOB, {"stage": STAGE, "key": str(outbound_id)}).scalar_one_or_none()
    return found
