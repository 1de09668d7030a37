"""A job as it is claimed, and a step as it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from models.enums import Lane
from pipeline.core.moments import LONG_AGO, Moment


@dataclass(frozen=True, slots=True)
class Job:
    """One claimed row of the ledger; `attempt` is the fence that its effects must still hold when they commit."""

    job_id: int
    stage: str
    key: str
    org_id: UUID
    mailbox_id: UUID | None
    lane: Lane
    place: int
    attempt: int
    failures: int
    crashes: int
    args: Mapping[str, Any]
    trace_id: str
    #: Seconds between due and claimed.
    waited: float = 0.0
    #: Its process died, or seemed to, while it held this job.
    is_suspect: bool = False
    #: Just before its stage began to load it, in this process: what a stage with `io` may do within a time counts from
    #: here, for everything after it, the commit of its marks too, may take as long as it likes.
    taken: Moment = LONG_AGO

    def then(self, stage: str, key: str) -> Emit:
        """Return the next step for `key`, in the same lane, at the same place in line, under the same trace."""
        return Emit(stage, key, self.org_id, self.mailbox_id, self.lane, self.place, self.trace_id)


@dataclass(frozen=True, slots=True)
class Emit:
    """A step that has become necessary; writing it in the transaction that made it so is what enqueues it."""

    stage: str
    key: str
    org_id: UUID
    mailbox_id: UUID | None
    lane: Lane
    place: int
    trace_id: str
    args: Mapping[str, Any] = field(default_factory=dict)
    delay: timedelta = timedelta(0)
    #: It waits for its mailbox's budget before it is ready.
    is_held: bool = False

    def in_lane(self, lane: Lane) -> Emit:
        """Return the same step in another lane, at its front."""
        return replace(self, lane=lane, place=0)

    def after(self, delay: timedelta) -> Emit:
        """Return the same step, due `delay` from now."""
        return replace(self, delay=delay)
