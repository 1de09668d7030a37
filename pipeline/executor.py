"""The executor: takes every command through the same checks, in one order and one transaction.

Permission, idempotency key, lock, scope, version, state, gates, effect, next jobs, audit row, transition rows. A
refusal changes nothing, keeps no key, and is recorded by a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel
from sqlalchemy import Connection, text

from models.enums import AuditOutcome
from pipeline.command import Ask, Command, Effect, Locked, Move, Recorded, Refused, not_there
from pipeline.core.refusing import Because, Refusal
from pipeline.runtime import auditing, idempotency, ledger
from pipeline.runtime.idempotency import OtherBody, Stored
from pipeline.runtime.ledger import Line

Arguments = TypeVar("Arguments", bound=BaseModel)
Subject = TypeVar("Subject")

_MOVED = text("""
    INSERT INTO transitions (org_id, ticket_id, kind, from_state, to_state, command, audit_number)
    SELECT :org, ticket, :kind, before, after, :command, number
      FROM unnest(CAST(:tickets AS uuid[]), CAST(:numbers AS bigint[]), CAST(:before AS text[]), CAST(:after AS text[]))
           WITH ORDINALITY AS m(ticket, number, before, after, position)
     ORDER BY position
""")


class BadMove(Exception):
    """An effect changed a state in a way that its command does not declare; nothing is committed."""


@dataclass(frozen=True, slots=True)
class _Done:
    """What was asked for, what it was done to, and what it made."""

    ask: Ask[Any]
    locked: Locked[Any]
    effect: Effect

    @property
    def moves(self) -> list[Move]:
        """The changes of state."""
        return [move for move in self.effect.moves if move.before != move.after]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered. `lines` have work: ring them after the commit."""

    status: int
    body: dict[str, Any]
    version: int | None = None
    lines: frozenset[Line] = frozenset()
    is_replayed: bool = False
    #: What it was done to, and which states it went through; not of a replay, which did nothing.
    target_id: str | None = None
    #: The trace that its rows stand under.
    trace_id: str | None = None
    moves: Sequence[Move] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


def run(
    begin: Callable[[], AbstractContextManager[Connection]], command: Command[Arguments, Subject], ask: Ask[Arguments]
) -> Answer:
    """Execute a command in a transaction that `begin` opens; a refusal is recorded in another. Raises `Refused`."""
    try:
        with begin() as connection:
            return execute(connection, command, ask)
    except Refused as refused:
        with begin() as connection:
            record_refusal(connection, command, ask, refused.refusal)
        raise


def execute(connection: Connection, command: Command[Arguments, Subject], ask: Ask[Arguments]) -> Answer:
    """Execute a command in an open transaction, which must be rolled back when this raises `Refused`.

    The organization's audit trail stays locked until the transaction ends.
    """
    _permit(command, ask)
    stored = _enter(connection, command, ask)
    if stored is not None:
        answer = stored.answer
        return Answer(stored.status, answer["body"], answer["version"], is_replayed=True)
    locked = _lock(connection, command, ask)
    _check(command, ask, locked)
    effect = command.effect(connection, ask, locked.subject)
    # Before the audit row: whoever has an equal job at hand may wait for the trail, which is locked from there on.
    lines = ledger.put(connection, list(effect.jobs)) if effect.jobs else set()
    if ask.key is not None:
        kept = Stored(effect.status, {"body": effect.body, "version": effect.version})
        idempotency.keep(connection, ask.key, kept)
    _record(connection, command, [_Done(ask, locked, effect)])
    return Answer(
        effect.status,
        dict(effect.body),
        effect.version,
        frozenset(lines),
        target_id=locked.target_id,
        trace_id=ask.trace_id or locked.trace_id,
        moves=tuple(effect.moves),
        details=effect.details,
    )


def execute_all(connection: Connection, command: Command[Arguments, Subject], asks: Sequence[Ask[Arguments]]) -> int:
    """Execute a command on many things of one organization, a part of what somebody asked for; return how many.

    Each goes through the checks of `execute` but for keys, which belong to the whole. They are recorded together at
    the end, so that the audit trail is locked for a moment only.
    """
    done = []
    for ask in asks:
        _permit(command, ask)
        locked = _lock(connection, command, ask)
        _check(command, ask, locked)
        done.append(_Done(ask, locked, command.effect(connection, ask, locked.subject)))
    jobs = [job for one in done for job in one.effect.jobs]
    if jobs:
        ledger.put(connection, jobs)
    if done:
        _record(connection, command, done)
    return len(done)


def record_refusal(connection: Connection, command: Command[Any, Any], ask: Ask[Any], refusal: Refusal) -> int:
    """Append that a command was refused, and why; return the row's number."""
    entry = auditing.by(
        ask.principal,
        command.name,
        outcome=AuditOutcome.REFUSED,
        code=refusal.recorded_as or refusal.code,
        target_kind=command.target.kind,
        target_id=ask.target,
        details=refusal.details,
        **_origin(ask),
    )
    return auditing.append(connection, entry)


def _permit(command: Command[Any, Any], ask: Ask[Any]) -> None:
    if not ask.principal.may(command.permission):
        said = f"the role {ask.principal.role} may not do this; it needs {command.permission.value}"
        raise Refused(Refusal("FORBIDDEN", said, Because.FORBIDDEN))


def _enter(connection: Connection, command: Command[Any, Any], ask: Ask[Any]) -> Stored | None:
    if ask.key is None:
        if command.needs_key:
            said = "send a header Idempotency-Key with a UUID of your own: sent again, the request has the same answer"
            raise Refused(Refusal("MISSING_IDEMPOTENCY_KEY", said, Because.MALFORMED))
        return None
    try:
        return idempotency.enter(connection, ask.key)
    except OtherBody:
        said = "this Idempotency-Key was used for another body; send a new key with a new request"
        raise Refused(Refusal("IDEMPOTENCY_PAYLOAD_MISMATCH", said)) from None


def _lock(connection: Connection, command: Command[Arguments, Subject], ask: Ask[Arguments]) -> Locked[Subject]:
    locked = command.target.lock(connection, ask)
    if locked is None:
        raise Refused(command.target.missing)
    if not locked.is_reached:
        raise Refused(not_there(command.target))
    return locked


def _check(command: Command[Arguments, Subject], ask: Ask[Arguments], locked: Locked[Subject]) -> None:
    """Check version, state and gates, in this order."""
    if ask.version is not None and ask.version != locked.version:
        said = f"it was changed meanwhile: its version is {locked.version}, not {ask.version}; read it again"
        raise Refused(Refusal("STALE_VERSION", said, details={"version": locked.version}))
    wanted = command.wanted(ask.arguments) if command.wanted else None
    state = locked.state
    is_here = command.from_states is None or state in command.from_states
    if not is_here or (wanted is not None and state is not None and not command.may_reach(state, wanted)):
        said = f"{command.name} is not possible from {state}" + (f" to {wanted}" if wanted else "")
        details = {"from_state": state, "to_state": wanted or _only([after for _, after in command.moves])}
        raise Refused(Refusal("INVALID_STATE_TRANSITION", said, details=details))
    for gate in command.gates:
        if (refusal := gate(ask, locked.subject)) is not None:
            raise Refused(refusal)


def _only(states: list[str]) -> str | None:
    return states[0] if len(set(states)) == 1 else None


def _record(connection: Connection, command: Command[Any, Any], done: Sequence[_Done]) -> None:
    for one in done:
        _check_moves(command, one.moves)
    org_id = done[0].ask.principal.org_id
    numbers = auditing.append_all(connection, org_id, [_entry(command, one) for one in done])
    moved = [(one, number, move) for one, number in zip(done, numbers, strict=True) for move in one.moves]
    if moved and command.kind is not None:
        values = {
            "org": org_id,
            "kind": command.kind.value,
            "command": command.name,
            "tickets": [one.locked.target_id for one, _, _ in moved],
            "numbers": [number for _, number, _ in moved],
            "before": [move.before for _, _, move in moved],
            "after": [move.after for _, _, move in moved],
        }
        connection.execute(_MOVED, values)
    if command.target.record is not None:
        recorded = [
            Recorded(command.name, one.ask, one.locked.subject, one.effect, number)
            for one, number in zip(done, numbers, strict=True)
        ]
        command.target.record(connection, recorded)


def _entry(command: Command[Any, Any], one: _Done) -> auditing.Entry:
    ask, locked = one.ask, one.locked
    return auditing.by(
        ask.principal,
        command.name,
        target_kind=command.target.kind,
        target_id=locked.target_id,
        details=one.effect.details,
        **(_origin(ask) | {"trace_id": ask.trace_id or locked.trace_id}),
    )


def _check_moves(command: Command[Any, Any], moves: list[Move]) -> None:
    for move in moves:
        if not command.may_move(move.before, move.after):
            raise BadMove(f"{command.name} moved {move.before} to {move.after}, which it does not declare")


def _origin(ask: Ask[Any]) -> dict[str, str | None]:
    return {"request_id": ask.request_id, "correlation_id": ask.correlation_id, "trace_id": ask.trace_id}
