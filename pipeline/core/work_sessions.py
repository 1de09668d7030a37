"""Work sessions as their events tell of them: what may follow what, and how long was worked (contract 002)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

from models.enums import WorkSessionAction, WorkSessionState
from pipeline.core.pause_budget import Pause, Terms, day_around, ends_at, remaining
from pipeline.core.written import plain

_A, _S = WorkSessionAction, WorkSessionState
#: State before (None: there was no session) and what is done -> state after; anything else is never done.
_AFTER: Mapping[tuple[WorkSessionState | None, WorkSessionAction], WorkSessionState] = MappingProxyType(
    {
        (None, _A.STARTED): _S.RUNNING,
        (_S.RUNNING, _A.PAUSED): _S.PAUSED,
        (_S.PAUSED, _A.RESUMED): _S.RUNNING,
        (_S.RUNNING, _A.STOPPED): _S.STOPPED,
        (_S.PAUSED, _A.STOPPED): _S.STOPPED,
    }
)
#: Whatever was before.
_LEADS_TO: Mapping[WorkSessionAction, WorkSessionState] = MappingProxyType(
    {action: state for (_, action), state in _AFTER.items()}
)
#: What is kept with a pause that was over by itself (seed-behaviours, 3.4).
BY_ITSELF: Mapping[str, object] = MappingProxyType({"auto_resumed": True, "reason": "daily_pause_limit_reached"})
#: Who resumes what is over by itself.
SYSTEM = "system"
_NONE = timedelta(0)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """One event of a session."""

    session_id: UUID
    action: WorkSessionAction
    at: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """One sitting of one technician at one order, with all that its commands decide on."""

    session_id: UUID
    org_id: UUID
    order_id: UUID
    technician_id: UUID
    state: WorkSessionState
    started_at: datetime
    ended_at: datetime | None
    #: Of the session, in order.
    events: tuple[SessionEvent, ...]
    #: The database's clock after the session was locked, never before the technician's last event.
    now: datetime
    #: The clock when the transaction began: delays of jobs count from here.
    began_at: datetime
    #: The technician's, of all sessions, as far as they may count on the days that matter; the open one among them.
    pauses: tuple[Pause, ...] = ()
    #: In force when the open pause began, and since; or now.
    terms: tuple[Terms, ...] = ()
    #: Of its order.
    attempt: int = 0
    trace_id: str | None = None

    @property
    def is_open(self) -> bool:
        """True until it is stopped."""
        return self.state is not _S.STOPPED

    @property
    def pause_ends_at(self) -> datetime | None:
        """When the open pause is over by itself; None where there is none, or its budget never runs out."""
        if self.state is not _S.PAUSED:
            return None
        return ends_at(self.pauses, self.events[-1].at, self.terms)

    @property
    def pause_left(self) -> timedelta:
        """What is left today of the technician's budget of pauses."""
        terms = self.terms[-1]
        return remaining(self.pauses, self.now, terms.limit, terms.zone)

    @property
    def budget_is_new_at(self) -> datetime:
        """When the next local day begins."""
        return day_around(self.now, self.terms[-1].zone)[1]

    def settled(self) -> Session:
        """Return it as it is after its pause was over by itself; as it is where that has not come yet."""
        end = self.pause_ends_at
        return self if end is None or end > self.now else self.then(_A.RESUMED, end)

    def then(self, action: WorkSessionAction, at: datetime) -> Session:
        """Return it after something was done to it. Raises ValueError where that cannot follow, or would be earlier."""
        state = after(self.state, action)
        if state is None or at < self.events[-1].at:
            raise ValueError(f"{action} at {at} cannot follow {self.events[-1]}")
        pauses = tuple(one if one.ended_at else replace(one, ended_at=at) for one in self.pauses)
        return replace(
            self,
            state=state,
            ended_at=at if state is _S.STOPPED else None,
            events=(*self.events, SessionEvent(self.session_id, action, at)),
            pauses=(*pauses, Pause(at)) if state is _S.PAUSED else pauses,
        )


def described(session: Session) -> dict[str, Any]:
    """Return a session by the names of contract 002, as it is at its `now`."""
    begun = [event.at for event in session.events if event.action in (_A.STARTED, _A.RESUMED)]
    return {
        "id": str(session.session_id),
        "ticket": str(session.order_id),
        "technician": str(session.technician_id),
        "status": session.state.value,
        "started_at": plain(session.started_at),
        "last_started_at": plain(begun[-1]),
        "ended_at": plain(session.ended_at),
        "active_seconds": active_seconds(session.events, session.now),
        "pause_seconds_left": session.pause_left // _SECOND,
        "auto_resume_at": plain(session.pause_ends_at),
    }


def described_event(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event that was read, by the names of contract 002; `action_before` is what its session saw before."""
    before = row["action_before"]
    return {
        "id": row["id"],
        "work_session": str(row["session_id"]),
        "ticket": str(row["order_id"]),
        "technician": str(row["technician_id"]),
        "action": row["action"],
        "from_status": None if before is None else _LEADS_TO[_A(before)].value,
        "to_status": _LEADS_TO[_A(row["action"])].value,
        "event_at": plain(row["event_at"]),
        "actor": row["actor_id"],
        "actor_name": row["actor_name"],
        "metadata": row["data"],
    }


def after(state: WorkSessionState | None, action: WorkSessionAction) -> WorkSessionState | None:
    """Return the state after something was done to a session, None where it cannot be done; no state: no session."""
    return _AFTER.get((state, action))


def active_time(events: Iterable[SessionEvent], until: datetime | None = None) -> timedelta:
    """Return how long was worked: from each start or resumption to the pause or stop that follows it.

    `events` of any sessions, those of each in order. What still runs counts up to `until`, and not at all without it.
    """
    total, running = _NONE, dict[UUID, datetime]()
    for event in events:
        since = running.pop(event.session_id, None)
        if since is not None:
            total += event.at - since
        if event.action in (_A.STARTED, _A.RESUMED):
            running[event.session_id] = event.at
    if until is not None:
        total += sum((max(until - since, _NONE) for since in running.values()), _NONE)
    return total


def active_seconds(events: Iterable[SessionEvent], until: datetime | None = None) -> int:
    """Return `active_time` in whole seconds, rounded down once at the end."""
    return active_time(events, until) // _SECOND
