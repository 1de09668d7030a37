"""Send: hands an outbound message over to its provider, so that it leaves exactly once whatever dies meanwhile.

    queued ── marked, committed ──► sending ── handed over ──► sent
      ▲                              │  │ answer lost, or died: looked up
      ├── nothing left, it may later ┘  ├── there ──► sent
      └── not there ────────────────────┤
                                        └── nobody can tell, or no look-up succeeds ──► unknown: a person decides

The mark is committed before the first byte leaves, so a message found as `sending` may have left and is looked up
before it is handed over again, not sooner than its first sender must have ended. The time that a sender has begins
before its mark is written: one that stood still after that does not begin late. Where absence proves nothing (SMTP),
and where nothing can be looked up, a person decides. The bytes are stored before anything else: whatever becomes of a
message, it can be sent again as it was meant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection

from models.enums import BlobKind, OutboundKind, OutboundState
from pipeline.core import backoff, composing
from pipeline.core.composing import Invitation
from pipeline.core.handing_over import Finding, Handed, HandOver, Outgoing
from pipeline.core.moments import LONG_AGO, Moment
from pipeline.ports import Ports, Sender
from pipeline.runtime import clocks, outgoing_rows
from pipeline.runtime.db import copy_rows
from pipeline.runtime.errors import FieldpostError, NeedsAuthorization, Permanent
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.mailboxes import Mailbox, load_mailboxes
from pipeline.runtime.outgoing_rows import Standing, Stored, stored_draft
from pipeline.stage import Again, Blocked, Stage, Work, caught, gate

#: A sender must begin to transmit so soon after it took its message, and ends well before `CERTAIN`.
BEGIN_WITHIN = timedelta(seconds=20)
#: So long after the mark, or after a doubtful end, nobody can still be sending, and what was sent is found.
CERTAIN = timedelta(seconds=60)
_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=2), timedelta(minutes=10)
#: Refused for now so often, about two days, a message fails: a person looks at it.
MOST_HAND_OVERS = 300
#: When a mail whose answer was lost is first looked for, and how long a look-up rests that gave no answer.
_LOOK_SOON, _LOOK_AGAIN = timedelta(seconds=5), timedelta(seconds=30)
#: So long look-ups may fail before a person is asked.
LOOK_UP_FOR = timedelta(hours=1)
_GOES_ON = (OutboundState.QUEUED, OutboundState.SENDING)
_AT_ONCE = 8
_SAID = 500


class Step(StrEnum):
    """What is to be done with a message now."""

    SEND = "send"
    LOOK_UP = "look_up"
    WAIT = "wait"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Outward:
    """One outbound message as it stands, its mailbox, and what to do; `hold` is why nothing may be done yet."""

    row: Any
    mailbox: Mailbox
    step: Step
    headers: Sequence[Sequence[str]]
    begin_by: Moment
    invitation: Invitation | None = None
    hold: Again | Blocked | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a message stands now, and its bytes where they were stored."""

    state: OutboundState
    said: str | None = None
    provider_id: str | None = None
    stored: Stored | None = None


Outcome = Ended | Again | Blocked | Exception


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Outward]:
    """Read what is to be sent, and mark what will be handed over now: this commits before anything leaves."""
    rows = {str(row.id): row for row in outgoing_rows.read(connection, [UUID(job.key) for job in jobs])}
    mailboxes = load_mailboxes(connection, [row.mailbox_id for row in rows.values()])
    items = {
        job.job_id: _outward(row, mailboxes[row.mailbox_id], job)
        for job in jobs
        if (row := rows.get(job.key)) is not None
    }
    outgoing_rows.mark(connection, [item.row.id for item in items.values() if item.step is Step.SEND])
    return items


def _outward(row: Any, mailbox: Mailbox, job: Job) -> Outward:
    step, hold = Step.WAIT, gate(mailbox)
    if hold is None and (left := _left_to_wait(row)) > timedelta(0):
        hold = Again(left, row.last_error or "waits")
    if hold is None:
        step = _step(row)
    given = job.args.get("invitation")
    invitation = Invitation(given["method"], given["text"]) if given else None
    return Outward(row, mailbox, step, job.args.get("headers", ()), job.taken.after(BEGIN_WITHIN), invitation, hold)


def _step(row: Any) -> Step:
    if row.state == OutboundState.SENDING:
        return Step.LOOK_UP
    return Step.SEND if row.may_send else Step.REFUSE


def _left_to_wait(row: Any) -> timedelta:
    """Return how long a message still rests that was refused for now, or whose answer was just lost."""
    if not row.handed_over or row.handed_over_at is None or not row.may_send:
        return timedelta(0)
    wait = _LOOK_SOON
    if row.state == OutboundState.QUEUED:
        # Spread without chance, so that every look at the row says the same.
        jitter = row.id.int % 1000 / 2000
        wait = backoff.delay(row.handed_over, base=_FIRST_WAIT, cap=_LONGEST_WAIT, jitter=jitter)
    left: timedelta = row.handed_over_at + wait - row.now
    return left


def work(items: Sequence[Outward], ports: Ports) -> Sequence[Outcome]:
    """Hand over, or look up; several at a time, for providers take their time."""
    act = caught(partial(_act, ports=ports))
    if len(items) < 2:
        return [act(item) for item in items]
    with ThreadPoolExecutor(min(len(items), _AT_ONCE), thread_name_prefix="send") as pool:
        return [each.result() for each in [pool.submit(copy_context().run, act, item) for item in items]]


def _act(item: Outward, *, ports: Ports) -> Outcome:
    if item.hold is not None:
        return item.hold
    if item.step is Step.LOOK_UP:
        return _look_up(item, ports)
    try:
        stored = _stored(item, ports)
    except FieldpostError as error:
        return _later(item, f"its bytes could not be stored: {error}")
    if stored is None:
        return Ended(OutboundState.FAILED, "the headers of this automatic mail are lost")
    return replace(_hand_over(item, stored.raw, ports), stored=stored)


def _hand_over(item: Outward, raw: bytes, ports: Ports) -> Ended:
    """Hand over now, unless that must not be (any more)."""
    if item.step is Step.REFUSE:
        return Ended(OutboundState.FAILED, f"{item.row.from_address} may not be written from any more")
    try:
        sender = ports.senders.open(item.mailbox.ref)
    except Permanent as error:
        return Ended(OutboundState.FAILED, _short(str(error)))
    except FieldpostError as error:
        return _later(item, str(error))
    if item.begin_by.is_over(ports.clock):
        return _later(item, "the time to begin was over")
    return _judged(item, sender.send(_outgoing(item, ports, raw, item.begin_by)))


def _judged(item: Outward, handed: Handed) -> Ended:
    if handed.how is HandOver.ACCEPTED:
        return Ended(OutboundState.SENT, provider_id=handed.provider_id)
    if handed.how is HandOver.DOUBTFUL:
        return Ended(OutboundState.SENDING, _short(handed.said) or "its answer was lost")
    if handed.how is HandOver.REFUSED:
        return Ended(OutboundState.FAILED, _short(handed.said))
    return _later(item, handed.said)


def _later(item: Outward, said: str) -> Ended:
    # The row was read before it was marked.
    if item.row.handed_over + 1 >= MOST_HAND_OVERS:
        return Ended(OutboundState.FAILED, _short(f"given up after {MOST_HAND_OVERS} times: {said}"))
    return Ended(OutboundState.QUEUED, _short(said))


def _look_up(item: Outward, ports: Ports) -> Outcome:
    rested = item.row.now - item.row.handed_over_at
    try:
        sender: Sender = ports.senders.open(item.mailbox.ref)
        finding, provider_id = sender.find(_outgoing(item, ports, b"", LONG_AGO))
    except FieldpostError as error:
        return _unseen(error, rested)
    if finding is not Finding.THERE and rested < CERTAIN:
        return Again(min(CERTAIN - rested, _LOOK_AGAIN), "it may still be under way")
    try:
        return replace(_found(finding, provider_id), stored=_stored(item, ports))
    except FieldpostError as error:
        return Again(_LOOK_AGAIN, f"its bytes could not be stored: {error}")


def _unseen(error: FieldpostError, rested: timedelta) -> Outcome:
    """Return how a message goes on that could not be looked up: for good, or for long, a person is asked.

    A mailbox that waits for a consent is a person's matter already, and the look-up goes on after that.
    """
    if isinstance(error, NeedsAuthorization):
        return error
    if rested < (CERTAIN if isinstance(error, Permanent) else LOOK_UP_FOR):
        return Again(_LOOK_AGAIN, str(error))
    return Ended(OutboundState.UNKNOWN, _short(f"its answer was lost, and it cannot be looked up: {error}"))


def _found(finding: Finding, provider_id: str | None) -> Ended:
    if finding is Finding.THERE:
        return Ended(OutboundState.SENT, provider_id=provider_id)
    if finding is Finding.NOT_THERE:
        return Ended(OutboundState.QUEUED, "its sender ended before it left")
    return Ended(OutboundState.UNKNOWN, "its answer was lost, and nobody can tell whether it left")


def _outgoing(item: Outward, ports: Ports, raw: bytes, begin_by: Moment) -> Outgoing:
    row = item.row
    return Outgoing(
        raw=raw,
        message_id=row.rfc_message_id,
        proof=ports.reply_tokens.proof(row.id),
        from_address=row.from_address,
        recipients=(*row.to, *row.cc),
        since=row.created_at,
        begin_by=begin_by,
    )


def _stored(item: Outward, ports: Ports) -> Stored | None:
    """Return the bytes, stored: those of an earlier time, whatever program composed them, else composed now.

    None for an automatic mail whose marks are lost: without them it could begin a loop.
    """
    row = item.row
    wanted: bytes = row.raw_sha256
    raw = ports.blobs.get(BlobKind.RAW, [wanted.hex()]).get(wanted.hex())
    if raw is None:
        raw = composing.compose(stored_draft(row, ports.reply_tokens.proof(row.id), item.headers, item.invitation))
        if row.kind != OutboundKind.REPLY and hashlib.sha256(raw).digest() != wanted:
            return None
    sha256 = hashlib.sha256(raw)
    sizes = ports.blobs.put(BlobKind.RAW, {sha256.hexdigest(): raw})
    return Stored(raw, sha256.digest(), sizes[sha256.hexdigest()])


def save(connection: Connection, works: Sequence[Work[Outward, Ended]]) -> Sequence[Emit]:
    """Write how each message stands; what is not at its end goes on, after a rest that `load` knows."""
    kept = [(done, done.result.stored) for done in works if done.result.stored is not None]
    outgoing_rows.note_stored(connection, [(one.job.org_id, one.item.row.message_id, stored) for one, stored in kept])
    states = outgoing_rows.settle(connection, [_standing(done) for done in works])
    told = [(done, state) for done in works if (state := states.get(done.item.row.id)) not in (None, *_GOES_ON)]
    columns = ("org_id", "ticket_id", "kind", "data", "trace_id")
    copy_rows(connection, "events", columns, [_event(done, state) for done, state in told])
    clocks.note_answer(connection, _answered(told))
    again = [done.job.then("send", done.job.key) for done in works if states.get(done.item.row.id) in _GOES_ON]
    return [*again, *(done.job.then("index", str(done.item.row.message_id)) for done, _ in told)]


def _answered(told: Sequence[tuple[Work[Outward, Ended], OutboundState]]) -> list[UUID]:
    """Return the tickets that a person's reply has left for."""
    replies = [done for done, state in told if state is OutboundState.SENT and done.item.row.kind == OutboundKind.REPLY]
    return [done.item.row.ticket_id for done in replies if done.item.row.ticket_id is not None]


def _standing(done: Work[Outward, Ended]) -> Standing:
    ended = done.result
    return Standing(done.item.row.id, ended.state, ended.said, ended.provider_id)


def _event(done: Work[Outward, Ended], state: OutboundState) -> tuple[Any, ...]:
    row, ended = done.item.row, done.result
    said = {"outbound_id": str(row.id), "message_id": row.message_id, "provider_id": ended.provider_id}
    if ended.said and state is ended.state:
        said["reason"] = ended.said
    return (row.org_id, row.ticket_id, f"outbound.{state.value}", orjson.dumps(said).decode(), done.job.trace_id)


def _short(said: str) -> str:
    return " ".join(said.split())[:_SAID]


STAGE = Stage(
    name="send",
    about="Hands an outbound message over to its provider, exactly once.",
    load=load,
    work=work,
    save=save,
    emits=("send", "index"),
    io=True,
    batch=16,
    attempts=8,
    backoff=timedelta(seconds=30),
    lease=timedelta(seconds=30),
)
