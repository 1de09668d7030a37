"""Invite: tells the customer by mail when somebody comes, that this has changed, or that nobody does (RFC 6047).

The key is a visit and how often its invitation had changed; what changed again meanwhile is told by that change's own
step. The mail is written into the ticket's conversation by the path of every other mail that we send.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from sqlalchemy import Connection

from models.enums import OutboundKind, VisitState
from pipeline.core import composing, invitations
from pipeline.core.composing import Invitation, Unwritable
from pipeline.core.field_work import Window
from pipeline.core.invitations import Addressee, Meeting, Method
from pipeline.core.policies import OrganizationPolicy
from pipeline.ports import Ports, ReplyTokens
from pipeline.runtime import inviting
from pipeline.runtime.db import copy_rows
from pipeline.runtime.errors import UserError
from pipeline.runtime.invitations import write
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.outgoing import Intent, intend, why_it_cannot_send
from pipeline.stage import Stage, Work

#: Who writes, as rows and events tell.
_BY = "system"


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send, and the proofs that it carries; or why nothing is sent."""

    intent: Intent | None
    tokens: ReplyTokens
    withheld: str = ""


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Any]:
    """Return the visits that stand as their keys say."""
    rows = inviting.visits(connection, {job.org_id for job in jobs}, [job.key for job in jobs])
    return {job.job_id: rows[job.key] for job in jobs if job.key in rows}


def work(items: Sequence[Any], ports: Ports) -> Sequence[Answer]:
    """Decide for each visit whether somebody is told, and write what they are told."""
    return [_answer(item, ports.reply_tokens) for item in items]


def _answer(row: Any, tokens: ReplyTokens) -> Answer:
    withheld = _why_silent(row)
    return Answer(None if withheld else _intent(row, tokens), tokens, withheld or "")


def _why_silent(row: Any) -> str | None:
    if row.state == VisitState.CANCELLED and not row.told:
        return "nobody was told of the visit"
    if row.identity_id is None:
        return "there is no verified address to write from"
    addressee = Addressee(row.recipient, row.is_ours, row.is_machine, row.has_bounced, row.had)
    is_wanted = OrganizationPolicy.read(row.policy).visit_invitations
    why_not = invitations.why_not(addressee, is_wanted=is_wanted)
    return why_not or why_it_cannot_send(row.provider, row.source) or _why_unreachable(row.recipient)


def _why_unreachable(recipient: str) -> str | None:
    try:
        composing.address(recipient)
    except Unwritable as error:
        return str(error)
    return None


def _intent(row: Any, tokens: ReplyTokens) -> Intent:
    meeting = _meeting(row)
    is_first = row.told == 0
    return Intent(
        org_id=row.org_id,
        ticket_id=row.ticket_id,
        identity_id=row.identity_id,
        kind=OutboundKind.VISIT,
        to=(row.recipient,),
        subject=invitations.subject(meeting, is_first=is_first),
        body_text=invitations.body(meeting, row.timezone, is_first=is_first),
        created_by=_BY,
        request_key=inviting.request_key(row.visit_id, row.sequence),
        headers=invitations.headers(row.from_email, row.code, tokens.loop_keys()[0]),
        invitation=Invitation(meeting.method.value, write(meeting)),
    )


def _meeting(row: Any) -> Meeting:
    return Meeting(
        visit_id=row.visit_id,
        sequence=row.sequence,
        method=Method.CANCEL if row.state == VisitState.CANCELLED else Method.REQUEST,
        window=Window(row.starts_at, row.ends_at),
        at=row.now,
        code=row.code,
        company=row.company,
        location=row.location,
        organizer=row.from_email,
        attendee=composing.address(row.recipient),
    )


def save(connection: Connection, works: Sequence[Work[Any, Answer]]) -> Sequence[Emit]:
    """Write down what is to be sent, and in the ticket's history what is not, and why."""
    sent = [_sent(connection, done) for done in works]
    rows = [
        (done.item.org_id, done.item.ticket_id, "invitation.withheld", _said(done, why), done.job.trace_id)
        for done, (_, why) in zip(works, sent, strict=True)
        if why
    ]
    copy_rows(connection, "events", ("org_id", "ticket_id", "kind", "data", "trace_id"), rows)
    return [step for step, _ in sent if step is not None]


def _sent(connection: Connection, done: Work[Any, Answer]) -> tuple[Emit | None, str]:
    """Return the step that sends the mail, or why there is none: a mail that cannot be written so is no failure."""
    intent = done.result.intent
    if intent is None:
        return None, done.result.withheld
    try:
        return intend(connection, done.result.tokens, replace(intent, trace_id=done.job.trace_id)).step, ""
    except UserError as error:
        return None, str(error)


def _said(done: Work[Any, Answer], why: str) -> str:
    return orjson.dumps({"reason": why, "visit_id": str(done.item.visit_id)}).decode()


STAGE = Stage(
    name="invite",
    about="Tells the customer when somebody comes, with an invitation.",
    load=load,
    work=work,
    save=save,
    emits=("send",),
    batch=20,
)
