"""A ticket's clocks as a ledger of intervals: each ran or stood still, and their sum is what a clock shows.

The ledger of a ticket has no gap and no overlap, and what was written is not rewritten: only its last interval is open,
until the matter is over. Reopened, it goes on, and the time in between stood still. A clock is computed from the ledger
by the policy of today: its running intervals, counted by the calendar, against the target of the ticket's priority.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from models.enums import ClockKind, ClockState, IntervalState, TicketPriority, TicketStatus
from pipeline.core import calendars
from pipeline.core.calendars import Calendar
from pipeline.core.service_levels import Policy, Standing

#: A ticket in one of these asks for nothing any more.
OVER = frozenset({TicketStatus.RESOLVED, TicketStatus.CLOSED, TicketStatus.SPAM, TicketStatus.MERGED})
#: It never was a matter of its own.
_VOID = frozenset({TicketStatus.SPAM, TicketStatus.MERGED})
#: Why a ledger stood still between the end of a matter and its reopening.
REST = "was over"
_ZERO = timedelta(0)


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of a ticket's time; open while `ended_at` is None."""

    state: IntervalState
    because: str
    began_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Clock:
    """How one target of a ticket stands; `due_at` is None while it stands still."""

    kind: ClockKind
    state: ClockState
    target: timedelta
    started_at: datetime
    policy_id: UUID | None = None
    policy_version: int = 0
    warn_at: datetime | None = None
    due_at: datetime | None = None
    warned_at: datetime | None = None
    breached_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Ticket:
    """What decides how clocks stand, at the moment `at`."""

    status: TicketStatus
    priority: TicketPriority
    policy: Policy
    at: datetime
    #: When a person of ours first answered.
    responded_at: datetime | None = None
    #: A rule ended it: it never was a matter of its own.
    is_dropped: bool = False
    #: It was late before we knew it: told to nobody.
    is_history: bool = False
    #: What the time was between its end and its reopening: somebody who took an end back waited all the while.
    rest: IntervalState = IntervalState.PAUSED


class Notice(StrEnum):
    """What is told of a clock, once each."""

    WARNING = "sla.warning"
    BREACH = "sla.breach"


@dataclass(frozen=True, slots=True)
class Told:
    """A notice that has become due while nobody looked."""

    notice: Notice
    kind: ClockKind
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Moved:
    """What is written to a ledger: the end of the open interval, and new ones."""

    closes_at: datetime | None = None
    added: tuple[Interval, ...] = ()

    def on(self, ledger: Sequence[Interval]) -> tuple[Interval, ...]:
        """Return the ledger with this written."""
        kept = tuple(
            replace(one, ended_at=self.closes_at) if one.ended_at is None and self.closes_at else one for one in ledger
        )
        return kept + self.added


def standing(clock: Clock, now: datetime) -> str:
    """Return how a clock stands in a word: that of its state, or while it runs healthy, warning or breach."""
    if clock.state is not ClockState.RUNNING or clock.due_at is None:
        return clock.state.value
    if clock.due_at < now:
        return Standing.BREACH.value
    is_near = clock.warn_at is not None and clock.warn_at <= now
    return (Standing.WARNING if is_near else Standing.HEALTHY).value


def begin(status: TicketStatus, policy: Policy, at: datetime, because: str) -> tuple[Interval, ...]:
    """Return the first interval of a ticket's ledger."""
    return (Interval(_wanted(status, policy) or IntervalState.RUNNING, because, at),)


def move(ledger: Sequence[Interval], ticket: Ticket, because: str) -> Moved:
    """Return what a ticket's status writes to its ledger now; nothing when it goes on as before."""
    last = ledger[-1]
    wanted = _wanted(ticket.status, ticket.policy)
    if last.ended_at is None and last.state is wanted:
        return Moved()
    # A clock that was set back makes nothing end before it began.
    at = max(ticket.at, last.ended_at or last.began_at)
    closes_at = at if last.ended_at is None else None
    if wanted is None:
        return Moved(closes_at)
    fresh = Interval(wanted, because, at)
    if last.ended_at is None or last.ended_at == at:
        return Moved(closes_at, (fresh,))
    return Moved(closes_at, (Interval(ticket.rest, REST, last.ended_at, at), fresh))


def _wanted(status: TicketStatus, policy: Policy) -> IntervalState | None:
    if status in OVER:
        return None
    return IntervalState.PAUSED if status in policy.pauses else IntervalState.RUNNING


def elapsed(calendar: Calendar | None, ledger: Sequence[Interval], until: datetime) -> timedelta:
    """Return the time that counted until a moment: the sum of the running intervals."""
    return sum(
        (
            calendars.elapsed(calendar, one.began_at, min(one.ended_at or until, until))
            for one in ledger
            if one.state is IntervalState.RUNNING
        ),
        _ZERO,
    )


def reach(calendar: Calendar | None, ledger: Sequence[Interval], amount: timedelta) -> datetime | None:
    """Return when so much time had counted, or will have if nothing changes; None when it stands still before that."""
    left = max(amount, _ZERO)
    for one in ledger:
        if one.state is not IntervalState.RUNNING:
            continue
        if one.ended_at is None:
            return calendars.add(calendar, one.began_at, left)
        counted = calendars.elapsed(calendar, one.began_at, one.ended_at)
        if counted >= left:
            return calendars.add(calendar, one.began_at, left)
        left -= counted
    return None


def credit(calendar: Calendar | None, ledger: Sequence[Interval], amount: timedelta, because: str) -> Interval:
    """Return the running interval that, put before a ledger, makes `amount` more of time count."""
    first = ledger[0].began_at
    return Interval(IntervalState.RUNNING, because, calendars.subtract(calendar, first, amount), first)


def stand(
    ledger: Sequence[Interval], ticket: Ticket, before: Mapping[ClockKind, Clock]
) -> tuple[list[Clock], list[Told]]:
    """Return both clocks as they stand by a ledger that is up to date, and what is to be told of them now."""
    clocks, told = [], []
    for kind in ClockKind:
        clock, notice = _stand(kind, ledger, ticket, before.get(kind))
        clocks.append(clock)
        told += [notice] if notice else []
    return clocks, told


def _stand(
    kind: ClockKind, ledger: Sequence[Interval], ticket: Ticket, before: Clock | None
) -> tuple[Clock, Told | None]:
    answered = ticket.responded_at if kind is ClockKind.RESPONSE else None
    ended_before = before is not None and before.ended_at is not None
    started_at = ledger[0].began_at
    if answered is not None:
        answered = max(answered, started_at)
    if before is not None and ended_before and (ticket.status in OVER or before.ended_at == answered):
        return before, None
    policy = ticket.policy
    target = policy.targets[ticket.priority][kind]
    due_at = reach(policy.calendar, ledger, target)
    ended_at = answered if answered is not None else ticket.at if ticket.status in OVER else None
    state = _state(ledger, ticket, due_at, ended_at, is_unanswered=kind is ClockKind.RESPONSE and answered is None)
    runs = state is ClockState.RUNNING
    clock = Clock(
        kind=kind,
        state=state,
        target=target,
        started_at=started_at,
        policy_id=policy.policy_id,
        policy_version=policy.version,
        warn_at=reach(policy.calendar, ledger, target - policy.warning) if runs else None,
        due_at=due_at if runs or ended_at is not None else None,
        warned_at=None if before is None else before.warned_at,
        breached_at=None if before is None else before.breached_at,
        ended_at=None if ended_at is None else max(ended_at, started_at),
    )
    return _marked(clock, ticket, due_at, ended_at or ticket.at)


def _state(
    ledger: Sequence[Interval],
    ticket: Ticket,
    due_at: datetime | None,
    ended_at: datetime | None,
    *,
    is_unanswered: bool,
) -> ClockState:
    if ended_at is None:
        return ClockState.RUNNING if ledger[-1].state is IntervalState.RUNNING else ClockState.PAUSED
    is_void = ticket.is_dropped or ticket.status in _VOID
    if is_void and ended_at == ticket.at:
        return ClockState.CANCELLED
    if due_at is not None and due_at < ended_at:
        return ClockState.MISSED
    # What was resolved without an answer needs none any more.
    return ClockState.CANCELLED if is_unanswered else ClockState.MET


def _marked(clock: Clock, ticket: Ticket, due_at: datetime | None, until: datetime) -> tuple[Clock, Told | None]:
    """Mark what fell due before this, though no sweep has come by; a warning of what was met is no use."""
    if clock.state in (ClockState.CANCELLED, ClockState.MET):
        return clock, None
    if due_at is not None and due_at < until and clock.breached_at is None:
        marked = replace(clock, breached_at=ticket.at, warned_at=clock.warned_at or ticket.at)
        return marked, None if ticket.is_history else Told(Notice.BREACH, clock.kind, due_at)
    if clock.warn_at is not None and clock.due_at is not None and clock.warn_at <= until and clock.warned_at is None:
        marked = replace(clock, warned_at=ticket.at)
        return marked, None if ticket.is_history else Told(Notice.WARNING, clock.kind, clock.due_at)
    return clock, None
