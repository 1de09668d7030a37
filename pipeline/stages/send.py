"""Send: hands an outbound message over to its provider, so that it leaves exactly once whatever dies meanwhile.

    queued ── marked, committed ──► sending ── handed over ──► sent
      ▲                              │  │ answer lost, or died: looked up
      ├── nothing left, it may later ┘  ├── there ──► sent
      └── not there ────────────────────┤
                                        └── nobody can tell ──► unknown: a person decides

The mark is committed before the first byte leaves, so a message found as `sending` may have left and is looked up
before it is handed over again, not sooner than its first sender must have ended. Where absence proves nothing (SMTP) a
person decides.
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
from pipeline.core.handing_over import Finding, Handed, HandOver, Outgoing
from pipeline.ports import Ports, Sender
from pipeline.runtime import outgoing_rows
from pipeline.runtime.db import copy_rows
from pipeline.runtime.errors import FieldpostError, NeedsAuthorization, Permanent
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.mailboxes import Mailbox, load_mailboxes
from pipeline.runtime.outgoing_rows import Standing, Stored, stored_draft
from pipeline.stage import Again, Blocked, Stage, Work, caught, gate

#: A sender must begin to transmit so soon after its message was marked, and ends well before `CERTAIN`.
BEGIN_WITHIN = timedelta(seconds=20)
#: So long after the mark nobody can still be sending, and what was sent is found where it is looked for.
CERTAIN = timedelta(seconds=60)
_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=2), timedelta(minutes=10)
#: Refused for now so often, about two days, a message fails: a person looks at it.
MOST_HAND_OVERS = 300
#: When a mail whose answer was lost is first looked for, and how long a look-up rests that gave no answer.
_LOOK_SOON, _LOOK_AGAIN = timedelta(seconds=5), timedelta(seconds=30)
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
    headers = job.args.get("headers", ())
    hold = gate(mailbox)
    if hold is not None:
        return Outward(row, mailbox, Step.WAIT, headers, hold)
    if row.state == OutboundState.SENDING:
        return Outward(row, mailbox, Step.LOOK_UP, headers)
    if not row.may_send:
        return Outward(row, mailbox, Step.REFUSE, headers)
    left = _left_to_wait(row)
    if left > timedelta(0):
        return Outward(row, mailbox, Step.WAIT, headers, Again(left, row.last_error or "waits"))
    return Outward(row, mailbox, Step.SEND, headers)


def _left_to_wait(row: Any) -> timedelta:
    """Return how long a message that was refused for now still rests."""
    if not row.handed_over or row.handed_over_at is None:
        return timedelta(0)
    # Spread without chance, so that every look at the row says the same.
    jitter = row.id.int % 1000 / 2000
    wait = backoff.delay(row.handed_over, base=_FIRST_WAIT, cap=_LONGEST_WAIT, jitter=jitter)
    left: timedelta = row.handed_over_at + wait - row.now
    return left


def work(items: Sequence[Outward], ports: Ports) -> Sequence[Outcome]:
    """Hand over, or look up; several at a time, for providers take their time."""
    begin_by = ports.clock.monotonic() + BEGIN_WITHIN.total_seconds()
    act = caught(partial(_act, ports=ports, begin_by=begin_by))
    if len(items) < 2:
        return [act(item) for item in items]
    with ThreadPoolExecutor(min(len(items), _AT_ONCE), thread_name_prefix="send") as pool:
        return [each.result() for each in [pool.submit(copy_context().run, act, item) for item in items]]


def _act(item: Outward, *, ports: Ports, begin_by: float) -> Outcome:
    if item.hold is not None:
        return item.hold
    if item.step is Step.REFUSE:
        return Ended(OutboundState.FAILED, f"{item.row.from_address} may not be written from any more")
    try:
        sender = ports.senders.open(item.mailbox.ref)
    except FieldpostError as error:
        return _unopened(item, error)
    if item.step is Step.LOOK_UP:
        return _look_up(item, sender, ports)
    return _hand_over(item, sender, ports, begin_by)


def _unopened(item: Outward, error: FieldpostError) -> Outcome:
    """Nothing left this time; a message that may have left before stays in doubt."""
    if item.step is Step.LOOK_UP:
        return error if isinstance(error, NeedsAuthorization) else Again(_LOOK_AGAIN, str(error))
    if isinstance(error, Permanent):
        return Ended(OutboundState.FAILED, _short(str(error)))
    return _later(item, str(error))


def _hand_over(item: Outward, sender: Sender, ports: Ports, begin_by: float) -> Outcome:
    try:
        stored = _stored(item, ports)
    except FieldpostError as error:
        return _later(item, f"its bytes could not be stored: {error}")
    if stored is None:
        return Ended(OutboundState.FAILED, "the headers of this automatic mail are lost")
    handed = sender.send(_outgoing(item, ports, stored.raw, begin_by))
    if handed.how is HandOver.DOUBTFUL:
        return Again(_LOOK_SOON, _short(handed.said))
    return replace(_judged(item, handed), stored=stored)


def _judged(item: Outward, handed: Handed) -> Ended:
    if handed.how is HandOver.ACCEPTED:
        return Ended(OutboundState.SENT, provider_id=handed.provider_id)
    if handed.how is HandOver.REFUSED:
        return Ended(OutboundState.FAILED, _short(handed.said))
    return _later(item, handed.said)


def _later(item: Outward, said: str) -> Ended:
    # The row was read before it was marked.
    if item.row.handed_over + 1 >= MOST_HAND_OVERS:
        return Ended(OutboundState.FAILED, _short(f"given up after {MOST_HAND_OVERS} times: {said}"))
    return Ended(OutboundState.QUEUED, _short(said))


def _look_up(item: Outward, sender: Sender, ports: Ports) -> Outcome:
    try:
        finding, provider_id = sender.find(_outgoing(item, ports, b"", 0.0))
        left = item.row.handed_over_at + CERTAIN - item.row.now
        if finding is not Finding.THERE and left > timedelta(0):
            return Again(min(left, _LOOK_AGAIN), "it may still be under way")
        return replace(_found(finding, provider_id), stored=_stored(item, ports))
    except NeedsAuthorization as error:
        return error
    except FieldpostError as error:
        return Again(_LOOK_AGAIN, str(error))


def _found(finding: Finding, provider_id: str | None) -> Ended:
    if finding is Finding.THERE:
        return Ended(OutboundState.SENT, provider_id=provider_id)
    if finding is Finding.NOT_THERE:
        return Ended(OutboundState.QUEUED, "its sender ended before it left")
    return Ended(OutboundState.UNKNOWN, "its answer was lost, and nobody can tell whether it left")


def _outgoing(item: Outward, ports: Ports, raw: bytes, begin_by: float) -> Outgoing:
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
        raw = composing.compose(stored_draft(row, ports.reply_tokens.proof(row.id), item.headers))
        if row.kind != OutboundKind.REPLY and hashlib.sha256(raw).digest() != wanted:
            return None
    sha256 = hashlib.sha256(raw)
    sizes = ports.blobs.put(BlobKind.RAW, {sha256.hexdigest(): raw})
    return Stored(raw, sha256.digest(), sizes[sha256.hexdigest()])


def save(connection: Connection, works: Sequence[Work[Outward, Ended]]) -> Sequence[Emit]:
    """Write how each message stands; what may be handed over again goes on, after a rest that `load` knows."""
    kept = [(done, done.result.stored) for done in works if done.result.stored is not None]
    outgoing_rows.note_stored(connection, [(one.job.org_id, one.item.row.message_id, stored) for one, stored in kept])
    states = outgoing_rows.settle(connection, [_standing(done) for done in works])
    told = [done for done in works if states.get(done.item.row.id, "queued") != "queued"]
    columns = ("org_id", "ticket_id", "kind", "data", "trace_id")
    copy_rows(connection, "events", columns, [_event(done) for done in told])
    again = [done.job.then("send", done.job.key) for done in works if states.get(done.item.row.id) == "queued"]
    return [*again, *(done.job.then("index", str(done.item.row.message_id)) for done in told)]


def _standing(done: Work[Outward, Ended]) -> Standing:
    ended = done.result
    return Standing(done.item.row.id, ended.state, ended.said, ended.provider_id)


def _event(done: Work[Outward, Ended]) -> tuple[Any, ...]:
    row, ended = done.item.row, done.result
    said = {"outbound_id": str(row.id), "message_id": row.message_id, "provider_id": ended.provider_id}
    if ended.said:
        said["reason"] = ended.said
    kind = f"outbound.{ended.state.value}"
    return (row.org_id, row.ticket_id, kind, orjson.dumps(said).decode(), done.job.trace_id)


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
