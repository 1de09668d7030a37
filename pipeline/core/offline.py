"""What a technician's app did while it had no network: a queue of actions, their order, and what each rests on.

An action says which version of its order it means (`version`), or that it comes `after` an earlier action of its queue:
it then means the version which that one's answer had. Decision 43 tells the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

#: Actions of one queue, and bytes of the body that brings them.
MOST_ACTIONS = 100
MOST_BYTES = 262_144


class Deed(StrEnum):
    """What may be done without a network."""

    START = "start"
    DONE = "done"
    RETURN = "return"
    READ_NOTIFICATION = "read_notification"


#: What changes no version of anything.
_UNVERSIONED = frozenset({Deed.READ_NOTIFICATION})


class Why(StrEnum):
    """Why an action is not even tried."""

    TWICE = "IDEMPOTENCY_PAYLOAD_MISMATCH"
    UNKNOWN = "UNKNOWN_DEPENDENCY"
    DEPENDS = "DEPENDS_ON_FAILED"
    UNVERSIONED = "IF_MATCH_REQUIRED"


@dataclass(frozen=True, slots=True)
class Queued:
    """One action as it was queued; `target` is the id of an order or a notification."""

    client_id: UUID
    deed: Deed
    target: str
    version: int | None = None
    after: UUID | None = None
    body: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    queued_at: datetime | None = None
    #: As the app writes its `client_id`; None as it is written here.
    spelled: str | None = None

    @property
    def name(self) -> str:
        """What the app calls it, and looks for in the answer."""
        return self.spelled or str(self.client_id)

    def is_same(self, other: Queued) -> bool:
        """Say whether two actions ask for the same; what they believe of versions is not what they ask for."""
        mine, theirs = (self.deed, self.target.lower()), (other.deed, other.target.lower())
        return mine == theirs and dict(self.body) == dict(other.body)


@dataclass(frozen=True, slots=True)
class Held:
    """An action that is not tried, and why."""

    why: Why
    said: str


@dataclass(frozen=True, slots=True)
class Go:
    """An action that is to be tried, with the version that it means; None where nothing has one."""

    version: int | None


@dataclass(frozen=True, slots=True)
class _Ended:
    action: Queued
    is_done: bool
    version: int | None


class Course:
    """What became of a queue's actions so far. Actions of other orders never stand in each other's way."""

    def __init__(self) -> None:
        self._ended: dict[UUID, _Ended] = {}

    def judge(self, action: Queued) -> Go | Held:
        """Return whether an action is tried now that those before it have ended."""
        same = self._ended.get(action.client_id)
        if same is not None and not same.action.is_same(action):
            return Held(Why.TWICE, "this clientId names another action of the same queue; give each its own")
        before = None if action.after is None else self._ended.get(action.after)
        if action.after is not None and (before is None or action.after == action.client_id):
            return Held(Why.UNKNOWN, "`after` names no earlier action of this queue; send the version instead")
        if before is not None and not before.is_done:
            return Held(Why.DEPENDS, "what it comes after was not done, so this was not tried; send both again")
        if action.deed in _UNVERSIONED:
            return Go(None)
        version = action.version if action.version is not None else _version_after(before, action)
        if version is None:
            return Held(Why.UNVERSIONED, "say which version you saw (`version`), or what it comes `after`")
        return Go(version)

    def end(self, action: Queued, *, is_done: bool, version: int | None = None) -> None:
        """Note how an action ended, with the version of its answer; the first action of an id keeps it."""
        same = self._ended.get(action.client_id)
        if same is None or same.action.is_same(action):
            self._ended[action.client_id] = _Ended(action, is_done, version)


def _version_after(before: _Ended | None, action: Queued) -> int | None:
    """Return the version that an earlier action of the same order led to."""
    is_same_order = before is not None and before.action.target.lower() == action.target.lower()
    return before.version if before is not None and is_same_order else None
