"""Acknowledge: tells the person whose mail made a new ticket that it came, once, and never a machine (RFC 3834).

How many a sender had is counted under the organization's stitching lock, which writing to somebody takes anyway: two
workers cannot both find the last one free. It is counted for the person whatever tag the address carries, for the
person's domain, and for the organization as a whole: a desk that writes from a new address each time is one sender.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from models.enums import MachineKind, OutboundKind
from pipeline.core import acknowledging, composing
from pipeline.core.answered import Answered, Tally
from pipeline.core.composing import Unwritable
from pipeline.core.loops import Asked, why_unanswered
from pipeline.core.machines import NO_AUTOMATIC_ANSWER
from pipeline.core.policies import OrganizationPolicy
from pipeline.ports import Ports, ReplyTokens
from pipeline.runtime import stitching
from pipeline.runtime.db import copy_rows
from pipeline.runtime.errors import UserError
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.outgoing import Intent, intend, why_it_cannot_send
from pipeline.stage import Stage, Work

#: Who writes automatic answers, as their rows and events tell.
_BY = "system"

#: What somebody has written to already, person or rule, needs no automatic answer any more.
_LOAD = text("""
    SELECT m.id, m.org_id, m.subject, lower(m.from_address) AS sender, m.machine, m.flags, now() - m.received_at AS age,
           t.id AS ticket_id, t.code, o.policy, i.id AS identity_id, i.from_email, i.provider, i.source,
           EXISTS (SELECT FROM mailboxes x WHERE x.org_id = m.org_id AND lower(x.address) = lower(m.from_address))
           OR EXISTS (SELECT FROM send_identities x
                       WHERE x.org_id = m.org_id AND x.from_email = lower(m.from_address)) AS is_ours,
           EXISTS (SELECT FROM events e WHERE e.ticket_id IS NULL AND e.org_id = m.org_id
                      AND e.kind = 'installation.restored' AND e.at >= m.received_at) AS is_before_restore
      FROM unnest(CAST(:messages AS bigint[]), CAST(:mailboxes AS uuid[])) AS asked(message_id, mailbox_id)
      JOIN messages m ON m.id = asked.message_id
      JOIN ticket_messages l ON l.message_id = m.id JOIN tickets t ON t.id = l.ticket_id
      JOIN organizations o ON o.id = m.org_id
      LEFT JOIN LATERAL (
          SELECT i.id, i.from_email, x.provider, x.source FROM send_identities i JOIN mailboxes x ON x.id = i.mailbox_id
           WHERE i.org_id = m.org_id AND i.mailbox_id = asked.mailbox_id AND i.is_enabled AND i.status = 'verified'
           ORDER BY EXISTS (SELECT FROM occurrence_recipients r
                             WHERE r.message_id = m.id AND lower(r.address) = i.from_email) DESC,
                    i.from_email = lower(x.address) DESC, i.created_at, i.id LIMIT 1) i ON true
     WHERE m.direction = 'inbound' AND t.status IN ('new', 'open')
       AND NOT EXISTS (SELECT FROM ticket_messages w JOIN outbound b ON b.message_id = w.message_id
                        WHERE w.ticket_id = t.id)
     ORDER BY m.received_at, m.id
""")
#: Ids of outbound messages grow with time: those of one day are read, whoever they went to.
_HAD = text("""
    SELECT b.org_id, b.recipient, count(*) FILTER (WHERE b.created_at > now() - interval '1 hour') AS in_hour,
           count(*) AS in_day
      FROM outbound b
     WHERE b.id > (SELECT uuidv7(interval '-25 hours')) AND b.org_id = ANY(CAST(:orgs AS uuid[]))
       AND b.kind = 'acknowledgement' AND b.state <> 'cancelled' AND b.created_at > now() - interval '1 day'
     GROUP BY b.org_id, b.recipient
""")


@dataclass(frozen=True, slots=True)
class Asking:
    """The message that made a ticket, the address to answer from, and whom its organization told lately."""

    row: Any
    policy: OrganizationPolicy
    had: Sequence[Answered]


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send, and the proofs that it carries; or why nothing is sent."""

    intent: Intent | None
    tokens: ReplyTokens
    withheld: str = ""


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Asking]:
    """Return the messages whose tickets nobody has written in, the oldest first; one per ticket."""
    orgs = sorted({job.org_id for job in jobs})
    for org_id in orgs:
        stitching.lock(connection, org_id)
    values = {"messages": [int(job.key) for job in jobs], "mailboxes": [job.mailbox_id for job in jobs]}
    by_ticket: dict[Any, Any] = {}
    for row in connection.execute(_LOAD, values):
        by_ticket.setdefault(row.ticket_id, row)
    had = _had(connection, orgs) if by_ticket else {}
    rows = {str(row.id): row for row in by_ticket.values()}
    found = {job.key: job.job_id for job in jobs}
    return {found[key]: Asking(row, OrganizationPolicy.read(row.policy), had[row.org_id]) for key, row in rows.items()}


def _had(connection: Connection, orgs: Sequence[UUID]) -> Mapping[UUID, list[Answered]]:
    found: dict[UUID, list[Answered]] = {org_id: [] for org_id in orgs}
    for row in connection.execute(_HAD, {"orgs": list(orgs)}):
        found[row.org_id].append(Answered(row.recipient, row.in_hour, row.in_day))
    return found


def work(items: Sequence[Asking], ports: Ports) -> Sequence[Answer]:
    """Decide for each message, counting what the batch itself tells each sender."""
    tallies: dict[UUID, Tally] = {}
    answers = []
    for item in items:
        tally = tallies.get(item.row.org_id) or tallies.setdefault(item.row.org_id, Tally(item.had))
        answer = _answer(item, ports.reply_tokens, tally)
        if answer.intent is not None:
            tally.add(item.row.sender)
        answers.append(answer)
    return answers


def _answer(item: Asking, tokens: ReplyTokens, tally: Tally) -> Answer:
    row, policy = item.row, item.policy
    asked = Asked(
        sender=row.sender,
        machine=MachineKind(row.machine) if row.machine else None,
        asks_for_none=NO_AUTOMATIC_ANSWER in row.flags,
        is_ours=row.is_ours,
        age=row.age,
        had=tally.had(row.sender or ""),
    )
    withheld = _why_silent(item) or why_unanswered(
        asked,
        per_hour=policy.automatic_answers_per_hour,
        per_day=policy.automatic_answers_per_day,
        in_all=policy.automatic_answers_in_all,
    )
    return Answer(None if withheld else _intent(item, tokens), tokens, withheld or "")


def _why_silent(item: Asking) -> str | None:
    if not item.policy.acknowledge:
        return "automatic answers are switched off"
    if item.row.is_before_restore:
        return "it came before the database was restored, and may have been answered then"
    if item.row.identity_id is None:
        return "its mailbox has no verified address to write from"
    return why_it_cannot_send(item.row.provider, item.row.source) or _why_unreachable(item.row.sender)


def _why_unreachable(sender: str | None) -> str | None:
    try:
        if sender is not None:
            composing.address(sender)
    except Unwritable as error:
        return str(error)
    return None


def _intent(item: Asking, tokens: ReplyTokens) -> Intent:
    row = item.row
    return Intent(
        org_id=row.org_id,
        ticket_id=row.ticket_id,
        identity_id=row.identity_id,
        kind=OutboundKind.ACKNOWLEDGEMENT,
        to=(row.sender,),
        subject=acknowledging.subject(row.subject),
        body_text=acknowledging.body(item.policy.acknowledgement, row.code),
        created_by=_BY,
        request_key=f"acknowledge:{row.ticket_id}",
        headers=acknowledging.headers(row.from_email, row.code, tokens.loop_keys()[0]),
    )


def save(connection: Connection, works: Sequence[Work[Asking, Answer]]) -> Sequence[Emit]:
    """Write down what is to be sent, and in the ticket's history what is not, and why."""
    sent = [_sent(connection, done) for done in works]
    rows = [
        (done.item.row.org_id, done.item.row.ticket_id, "acknowledgement.withheld", _said(done, why), done.job.trace_id)
        for done, (_, why) in zip(works, sent, strict=True)
        if why
    ]
    copy_rows(connection, "events", ("org_id", "ticket_id", "kind", "data", "trace_id"), rows)
    return [step for step, _ in sent if step is not None]


def _sent(connection: Connection, done: Work[Asking, Answer]) -> tuple[Emit | None, str]:
    """Return the step that sends the answer, or why there is none: a mail that cannot be written so is no failure."""
    intent = done.result.intent
    if intent is None:
        return None, done.result.withheld
    try:
        return intend(connection, done.result.tokens, replace(intent, trace_id=done.job.trace_id)).step, ""
    except UserError as error:
        return None, str(error)


def _said(done: Work[Asking, Answer], why: str) -> str:
    return orjson.dumps({"reason": why, "message_id": done.item.row.id}).decode()


STAGE = Stage(
    name="acknowledge",
    about="Tells a new ticket's sender that the mail came; never a machine.",
    load=load,
    work=work,
    save=save,
    emits=("send",),
    batch=20,
)
