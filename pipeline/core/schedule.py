"""The rules of proposed windows and of holds, plain (contract 000; seed-behaviours, 1.5 and 1.8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from models.enums import DispatchState, HoldReason
from pipeline.core.field_work import Window
from pipeline.core.written import plain

MOST_WINDOWS = 10
LONGEST = timedelta(hours=24)
#: Nobody plans further ahead.
FURTHEST = timedelta(days=366)
#: Nothing else is a time of a visit; days before and after these can be counted.
YEARS = range(1970, 3000)
#: How far a calendar, and a list of free slots, reaches at most.
MOST_DAYS = 31
#: A customer's link is good until the last window that it is about is over, and never shorter or longer than these.
LINK_LASTS = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Proposed:
    """A window that was offered, and whose free time it is; nobody's in particular without a technician."""

    window: Window
    technician_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """A schedule that waits for its customer, with what a release brings back."""

    hold_id: UUID
    reason: HoldReason
    window: Window
    from_state: DispatchState
    kept: Window | None = None

    def is_stale(self, now: datetime) -> bool:
        """Say whether the customer's time to confirm is over."""
        return now > self.window.ends_at


@dataclass(frozen=True, slots=True)
class Restored:
    """Where a ticket stands again after a hold, and when somebody comes."""

    state: DispatchState
    window: Window | None


def why_not(windows: Sequence[Window], now: datetime) -> str | None:
    """Return what is wrong with windows that somebody wants to offer, None when nothing is."""
    for number, one in enumerate(windows):
        problem = why_not_window(one, now)
        if problem is not None:
            return f"options[{number}]: {problem}"
    if len(set(windows)) < len(windows):
        return "options: two of them are the same window"
    return None


def why_not_window(window: Window, now: datetime) -> str | None:
    """Return what is wrong with one window, None when nothing is."""
    checks = (
        (window.ends_at <= window.starts_at, "it must end after it starts"),
        (window.ends_at - window.starts_at > LONGEST, f"it is longer than {LONGEST // timedelta(hours=1)} hours"),
        (window.starts_at <= now, "it must start in the future"),
        (window.starts_at > now + FURTHEST, "it is more than a year ahead"),
    )
    return next((said for holds, said in checks if holds), None)


def chosen(windows: Sequence[Proposed], wanted: Window) -> Proposed | None:
    """Return the offered window that is meant, None when there is none such."""
    return next((one for one in windows if one.window == wanted), None)


def restored(hold: Hold | None, offered: Sequence[Proposed], now: datetime) -> Restored:
    """Return what ends a hold: what was before it, unless its time has passed; then it must be scheduled anew.

    Without a hold nothing is known of before.
    """
    if hold is None or hold.kept is None or hold.from_state is DispatchState.READY_TO_SCHEDULE:
        return Restored(DispatchState.READY_TO_SCHEDULE, None)
    if hold.from_state is DispatchState.SCHEDULE_PROPOSED:
        ahead = [one.window for one in offered if one.window.starts_at > now]
        kept = hold.kept if hold.kept in ahead else next(iter(ahead), None)
    else:
        kept = hold.kept if hold.kept.starts_at > now else None
    return Restored(hold.from_state if kept else DispatchState.READY_TO_SCHEDULE, kept)


def link_expires_at(now: datetime, windows: Sequence[Window]) -> datetime:
    """Return until when a customer's link is good: the end of the last window, or 14 days where none is known."""
    return max((one.ends_at for one in windows if one.ends_at > now), default=now + LINK_LASTS)


def as_json(window: Window) -> dict[str, str]:
    """Return a window as contract 000 writes it."""
    return {"start": plain(window.starts_at), "end": plain(window.ends_at)}


def proposed_as_json(one: Proposed) -> Mapping[str, Any]:
    """Return an offered window as it is written."""
    return {**as_json(one.window), "technician_id": str(one.technician_id) if one.technician_id else None}
