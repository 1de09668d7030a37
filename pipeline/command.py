"""The type Command: what a person (or another system) does to one thing, declared whole; executed by one executor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from models.enums import TransitionKind
from models.permissions import Permission
from pipeline.core.principals import Principal
from pipeline.core.refusing import Because, Refusal
from pipeline.runtime.errors import UserError
from pipeline.runtime.idempotency import Key
from pipeline.runtime.jobs import Emit

Arguments = TypeVar("Arguments", bound=BaseModel)
Subject = TypeVar("Subject")


class Refused(UserError):
    """A command was refused; nothing was changed."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.said)
        self.refusal = refusal


@contextmanager
def refusing_twins(refusal: Refusal) -> Iterator[None]:
    """Refuse what the database holds to be a second one, or to be in use; somebody else was quicker."""
    try:
        yield
    except IntegrityError:
        raise Refused(refusal) from None


@dataclass(frozen=True, slots=True)
class Ask(Generic[Arguments]):
    """One wish: who, with what, on which thing, and what the caller believes and calls it."""

    principal: Principal
    arguments: Arguments
    #: The id or code of what it is done to; None for what is made.
    target: str | None = None
    #: The version that the caller saw (`If-Match`); None when any will do.
    version: int | None = None
    #: The caller's name for this request (`Idempotency-Key`).
    key: Key | None = None
    request_id: str | None = None
    correlation_id: str | None = None
    trace_id: str | None = None


@dataclass(frozen=True, slots=True)
class Locked(Generic[Subject]):
    """What a command is done to: its row is locked until the transaction ends."""

    target_id: str
    subject: Subject
    version: int
    #: Within the scope of who asks.
    is_reached: bool
    #: None for what is made now.
    state: str | None = None
    #: Of what began it: followed where the request names no trace of its own.
    trace_id: str | None = None


@dataclass(frozen=True, slots=True)
class Target(Generic[Arguments, Subject]):
    """What commands are done to: how its row is locked, and what is said when there is none."""

    kind: str
    #: Locks and reads in the organization of who asks; None when there is none. Looks up what gates need, too.
    lock: Callable[[Connection, Ask[Arguments]], Locked[Subject] | None]
    missing: Refusal
    #: What is said when it is out of reach; `missing`, recorded as FORBIDDEN_SCOPE, unless its contract says otherwise.
    unreached: Refusal | None = None
    #: Keeps what was done beside the audit rows, in tables of the thing's own; a ticket's moves go to `transitions`.
    record: Callable[[Connection, Sequence[Recorded]], None] | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """One change of a state; nothing is before the state that a thing is made in."""

    before: str | None
    after: str


@dataclass(frozen=True, slots=True)
class Effect:
    """What an effect made: the answer, the thing as it is now, and what follows."""

    body: Mapping[str, Any]
    status: int = 200
    #: Of the thing, after the change.
    version: int | None = None
    moves: Sequence[Move] = ()
    #: For the audit trail, redacted there.
    details: Mapping[str, Any] = field(default_factory=dict)
    jobs: Sequence[Emit] = ()
    #: The thing after the change, for `Target.record`.
    subject: Any = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """One command that was done, and the number of its row in the audit trail."""

    command: str
    ask: Ask[Any]
    subject: Any
    effect: Effect
    audit_number: int


@dataclass(frozen=True, slots=True)
class Command(Generic[Arguments, Subject]):
    """One row of the command table. `gates` are pure and answer why not; `effect` changes rows and nothing else.

    `from_states` are those it may be done in (None: any), `moves` the changes of state it may make; a command that
    changes none has no moves. `wanted` names the state that arguments ask for, so that an illegal one is refused
    before the effect.
    """

    #: Recorded in `transitions` and the audit trail; never renamed.
    name: str
    about: str
    arguments: type[Arguments]
    permission: Permission
    target: Target[Arguments, Subject]
    effect: Callable[[Connection, Ask[Arguments], Subject], Effect]
    gates: Sequence[Callable[[Ask[Arguments], Subject], Refusal | None]] = ()
    kind: TransitionKind | None = None
    from_states: frozenset[str] | None = None
    moves: frozenset[tuple[str, str]] = frozenset()
    #: The states that it may make a thing in.
    beginnings: frozenset[str] = frozenset()
    wanted: Callable[[Arguments], str | None] | None = None
    #: Refused without a key (contract 000).
    needs_key: bool = False

    def may_move(self, before: str | None, after: str) -> bool:
        """Say whether a change of state is in the table."""
        if before is None:
            return after in self.beginnings
        return before == after or (before, after) in self.moves

    def may_reach(self, before: str, after: str) -> bool:
        """Say whether the changes of the table lead from one state to another, by way of others if need be."""
        reached, edge = {before}, {before}
        while edge:
            edge = {there for here, there in self.moves if here in edge} - reached
            reached |= edge
        return after in reached


def not_there(target: Target[Any, Any]) -> Refusal:
    """Return what is said when a thing is out of reach."""
    if target.unreached is not None:
        return target.unreached
    missing = target.missing
    return Refusal(missing.code, missing.said, Because.MISSING, recorded_as="FORBIDDEN_SCOPE")
