"""Whose delay it was: the time of a ticket's field work by the state it spent it in (seed-behaviours, 1.8).

Minutes are cut at whole minutes since the beginning, so that those of the stays add up to those of the whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from models.enums import DispatchState
from pipeline.core.field_work import OUT_OF_QUEUE

_MINUTE = timedelta(minutes=1)


class Party(StrEnum):
    """Who has to act."""

    CUSTOMER = "customer"
    PROVIDER = "provider"
    UNKNOWN = "unknown"


_S = DispatchState
#: What is not named is nobody's we know.
_PARTIES = MappingProxyType(
    {
        _S.APPROVAL_REQUIRED: Party.CUSTOMER,
        **dict.fromkeys((_S.SCHEDULED, _S.DISPATCHED, _S.ON_SITE, _S.IN_PROGRESS, _S.ON_HOLD), Party.PROVIDER),
        _S.COMPLETED_PENDING_VERIFICATION: Party.PROVIDER,
    }
)


@dataclass(frozen=True, slots=True)
class Stay:
    """One stretch of time in one state."""

    state: DispatchState
    party: Party
    began_at: datetime
    ended_at: datetime
    minutes: int


@dataclass(frozen=True, slots=True)
class Delays:
    """Where the time went, without a gap; `party` is who has to act now, None once the work is over."""

    began_at: datetime
    until: datetime
    elapsed_minutes: int
    party: Party | None
    stays: Sequence[Stay]

    @property
    def minutes(self) -> Mapping[Party, int]:
        """The minutes of each party; together they are all that elapsed."""
        counted = Counter[Party](dict.fromkeys(Party, 0))
        for stay in self.stays:
            counted[stay.party] += stay.minutes
        return dict(counted)

    @property
    def by_state(self) -> Mapping[DispatchState, int]:
        """The minutes of each state that it was in."""
        counted: Counter[DispatchState] = Counter()
        for stay in self.stays:
            counted[stay.state] += stay.minutes
        return dict(counted)


def party_of(state: DispatchState) -> Party:
    """Return who has to act on field work in a state."""
    return _PARTIES.get(state, Party.UNKNOWN)


def delays(
    began_at: datetime, first: DispatchState, entered: Iterable[tuple[DispatchState, datetime]], now: datetime
) -> Delays:
    """Return where the time went since `began_at`, in `first`, through the states that were entered in this order.

    A state whose time lies before the one before it was entered at that one's: a command's time is when it began, and
    it may have waited for another. What is over counts until it was.
    """
    marks = [(first, began_at)]
    for state, at in entered:
        marks.append((state, max(at, marks[-1][1])))
    is_over = marks[-1][0] in OUT_OF_QUEUE
    until = _over_since(marks) if is_over else max(now, marks[-1][1])
    ends = [*(at for _, at in marks[1:]), until]
    stays = [
        Stay(state, party_of(state), at, end, (end - began_at) // _MINUTE - (at - began_at) // _MINUTE)
        for (state, at), end in zip(marks, ends, strict=True)
        if at < until
    ]
    party = None if is_over else party_of(marks[-1][0])
    return Delays(began_at, until, (until - began_at) // _MINUTE, party, stays)


def _over_since(marks: Sequence[tuple[DispatchState, datetime]]) -> datetime:
    """Return since when it has been over without a break."""
    since = marks[-1][1]
    for state, at in reversed(marks):
        if state not in OUT_OF_QUEUE:
            break
        since = at
    return since
