"""One budget as a value: what is left of it, its rests and probes; drawing from it, and what answers do to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum

from pipeline.core.quota import MINUTE, Limits, Pace, next_quota_day, pace, quota_day, ramp

#: More than any budget holds: the first look cuts it down.
FULL = 1e12
#: A probe that tells nothing for this long is thought lost, and another call may probe.
PROBE = timedelta(seconds=60)
#: Whoever meets a probe under way looks again after this.
PROBE_POLL = timedelta(seconds=1)
#: The first rest when no time was told, as a share of a minute; each refusal in a row doubles it.
_FIRST_REST, _LONGEST_REST = 0.25, timedelta(hours=1)
#: A day's limit is never waited for longer than this at a time: it may be raised meanwhile.
_LONGEST_WAIT = timedelta(minutes=15)
#: No clock is trusted to write of a later time than this: what one that was ahead left behind is not waited for.
_SKEW = timedelta(seconds=5)
#: The longest rest: the provider's longest day. A told wait is cut to it, and what ends later was no rest.
LONGEST = timedelta(hours=25)
#: So many calls without a refusal allow one more at a time.
_CALLS_PER_STEP = 20


class Scope(StrEnum):
    """Whose limit holds a call back."""

    MAILBOX = "mailbox"
    BYTES = "bytes"
    PROJECT = "project"


@dataclass(frozen=True, slots=True)
class Budget:
    """What a mailbox or a project has left (table `budgets`, where the fields are explained)."""

    level: float
    level_at: datetime
    day: date
    day_units: int = 0
    day_bytes: int = 0
    rest_until: datetime | None = None
    bytes_rest_until: datetime | None = None
    rest_reason: str | None = None
    probe_until: datetime | None = None
    refusals: int = 0
    ramp_at: datetime | None = None
    concurrency: float | None = None

    def ramp(self, now: datetime, minute: timedelta = MINUTE) -> float:
        """Return the share of the full pace that holds now."""
        return 1.0 if self.ramp_at is None else ramp(now - self.ramp_at, minute)

    def rests(self, now: datetime, *, brings_bytes: bool) -> datetime | None:
        """Return until when no call may go, or none that brings bytes; None when it may."""
        ends = [self.rest_until, self.bytes_rest_until if brings_bytes else None]
        return max((end for end in ends if end is not None and end > now), default=None)

    def needs_probe(self, *, brings_bytes: bool) -> bool:
        """Say whether a rest was told that no call has yet proved to be over."""
        return self.rest_until is not None or (brings_bytes and self.bytes_rest_until is not None)


def full(now: datetime) -> Budget:
    """Return a budget of which nothing was ever spent."""
    return Budget(FULL, now, quota_day(now))


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked for: up to `calls` calls of `cost` units each; `brings_bytes` for calls that return mail."""

    cost: int
    calls: int
    is_live: bool
    brings_bytes: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """How many calls may go now and what each costs; with none, how long to wait, whose limit it is, and why."""

    calls: int
    cost: int = 0
    wait: timedelta = timedelta(0)
    scope: Scope = Scope.MAILBOX
    reason: str = ""
    is_probe: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """The two budgets that pay for a mailbox's calls, their limits, and the time."""

    mailbox: Budget
    project: Budget
    limits: Limits
    now: datetime
    minute: timedelta = MINUTE

    def paces(self) -> tuple[Pace, Pace]:
        """Return the paces of the mailbox and of the project."""
        dearest = self.limits.cost("messages.get")
        return (
            pace(self.limits.units_per_user_minute, dearest, self.minute),
            pace(self.limits.units_per_minute, dearest, self.minute),
        )


def draw(held: Held, ask: Ask) -> tuple[Grant, Held]:
    """Return what is granted and what is left then. After a rest exactly one call is granted: the probe."""
    held = replace(held, mailbox=as_of(held.mailbox, held.now), project=as_of(held.project, held.now))
    refused = _resting(held, ask) or _day_used_up(held, ask)
    if refused is not None:
        return refused, held
    is_probe = any(budget.needs_probe(brings_bytes=ask.brings_bytes) for budget in (held.mailbox, held.project))
    return _draw_units(held, replace(ask, calls=1) if is_probe else ask, is_probe=is_probe)


def _draw_units(held: Held, ask: Ask, *, is_probe: bool) -> tuple[Grant, Held]:
    mailbox, project = _filled(held, held.mailbox, held.paces()[0]), _filled(held, held.project, held.paces()[1])
    calls = min(ask.calls, (held.limits.units_of_day(is_live=ask.is_live) - project.day_units) // ask.cost)
    wait, scope = timedelta(0), Scope.MAILBOX
    for name, budget, its in zip((Scope.MAILBOX, Scope.PROJECT), (mailbox, project), held.paces(), strict=True):
        calls = min(calls, its.calls(budget.level, ask.cost, is_live=ask.is_live))
        waits = its.wait(budget.level, ask.cost, is_live=ask.is_live, ramp=budget.ramp(held.now, held.minute))
        wait, scope = max((wait, scope), (waits, name), key=lambda found: found[0])
    if calls < 1:
        said = f"the {scope.value}'s units of this minute are spent"
        return Grant(0, ask.cost, wait, scope, said), replace(held, mailbox=mailbox, project=project)
    probe_until = held.now + PROBE if is_probe else None
    spent = [_spent(budget, calls * ask.cost, ask, probe_until) for budget in (mailbox, project)]
    return Grant(calls, ask.cost, is_probe=is_probe), replace(held, mailbox=spent[0], project=spent[1])


def _spent(budget: Budget, units: int, ask: Ask, probe_until: datetime | None) -> Budget:
    probes = probe_until if budget.needs_probe(brings_bytes=ask.brings_bytes) else budget.probe_until
    return replace(budget, level=budget.level - units, day_units=budget.day_units + units, probe_until=probes)


def _filled(held: Held, budget: Budget, its: Pace) -> Budget:
    """Refill for the time that passed, at the pace of its beginning."""
    at = max(held.now, budget.level_at)
    share = budget.ramp(budget.level_at, held.minute)
    is_over = budget.ramp(at, held.minute) >= 1.0
    level = its.refilled(budget.level, at - budget.level_at, share)
    return replace(budget, level=level, level_at=at, ramp_at=None if is_over else budget.ramp_at)


def as_of(budget: Budget, now: datetime) -> Budget:
    """Return the budget as it stands now: another day begins at nothing, and no time is believed that cannot be.

    A database whose clock was ahead leaves such times behind. A rest of that kind is over, and a call proves it.
    """
    if budget.day != (today := quota_day(now)):
        budget = replace(budget, day=today, day_units=0, day_bytes=0)
    return replace(
        budget,
        level_at=_believed(budget.level_at, now, _SKEW),
        rest_until=budget.rest_until and _believed(budget.rest_until, now, LONGEST),
        bytes_rest_until=budget.bytes_rest_until and _believed(budget.bytes_rest_until, now, LONGEST),
        probe_until=budget.probe_until and _believed(budget.probe_until, now, PROBE + _SKEW),
        ramp_at=budget.ramp_at and _believed(budget.ramp_at, now, _SKEW),
    )


def _believed(at: datetime, now: datetime, most: timedelta) -> datetime:
    return now if at > now + most else at


def returned(budget: Budget, units: int) -> Budget:
    """Return a budget with units that were drawn a moment ago and paid for no call."""
    return replace(budget, level=budget.level + units, day_units=max(0, budget.day_units - units))


def _resting(held: Held, ask: Ask) -> Grant | None:
    for scope, budget in ((Scope.PROJECT, held.project), (Scope.MAILBOX, held.mailbox)):
        until = budget.rests(held.now, brings_bytes=ask.brings_bytes)
        if until is not None:
            only_bytes = budget.rests(held.now, brings_bytes=False) is None
            whose = Scope.BYTES if only_bytes else scope
            return Grant(
                0, ask.cost, until - held.now, whose, f"the {scope.value} rests: {budget.rest_reason or 'told to wait'}"
            )
        if budget.needs_probe(brings_bytes=ask.brings_bytes) and budget.probe_until and budget.probe_until > held.now:
            wait = min(PROBE_POLL, budget.probe_until - held.now)
            return Grant(0, ask.cost, wait, scope, f"one call finds out whether the {scope.value}'s rest is over")
    return None


def _day_used_up(held: Held, ask: Ask) -> Grant | None:
    wait = min(next_quota_day(held.now) - held.now, _LONGEST_WAIT)
    but = "" if ask.is_live else ", but for those kept for live mail"
    if held.project.day_units + ask.cost > held.limits.units_of_day(is_live=ask.is_live):
        return Grant(0, ask.cost, wait, Scope.PROJECT, f"the project's units of the day are spent{but}")
    if ask.brings_bytes and held.mailbox.day_bytes >= held.limits.bytes_of_day(is_live=ask.is_live):
        return Grant(0, ask.cost, wait, Scope.BYTES, f"the mailbox's bytes of the day are spent{but}")
    return None


def refused(
    budget: Budget, now: datetime, told: timedelta | None, reason: str, *, minute: timedelta = MINUTE
) -> Budget:
    """Return a budget that rests: as long as told, or else longer with each refusal in a row.

    A rest is never shortened, and refusals of calls that were under way when it began count as one.
    """
    told = told and min(told, LONGEST)
    if budget.rest_until is not None and budget.rest_until > now:
        return budget if told is None else replace(budget, rest_until=max(budget.rest_until, now + told))
    grown = min(minute * _FIRST_REST * 2 ** min(budget.refusals, 20), _LONGEST_REST)
    return replace(
        budget,
        rest_until=now + (grown if told is None else told),
        rest_reason=reason,
        probe_until=None,
        refusals=min(budget.refusals + 1, 1000),
        ramp_at=None,
    )


def refused_bytes(budget: Budget, now: datetime, wait: timedelta, reason: str) -> Budget:
    """Return a budget whose bytes rest; listing and history go on."""
    until = max(now + min(wait, LONGEST), budget.bytes_rest_until or now)
    return replace(budget, bytes_rest_until=until, rest_reason=reason, probe_until=None)


def passed(budget: Budget, now: datetime, its: Pace, *, brings_bytes: bool) -> Budget:
    """Return a budget after its probe succeeded: the rest is over, and the pace grows from a tenth."""
    if not budget.needs_probe(brings_bytes=brings_bytes) or budget.rests(now, brings_bytes=brings_bytes):
        return budget
    bytes_rest = None if brings_bytes else budget.bytes_rest_until
    return replace(
        budget,
        # Live mail may go at once, the rest as the pace grows.
        level=min(budget.level, its.reserved),
        level_at=max(now, budget.level_at),
        rest_until=None,
        bytes_rest_until=bytes_rest,
        rest_reason=None if bytes_rest is None else budget.rest_reason,
        probe_until=None,
        refusals=0,
        ramp_at=now,
    )


def unclear(budget: Budget) -> Budget:
    """Return a budget after its probe told nothing: another call may probe at once."""
    return replace(budget, probe_until=None)


def fewer(concurrency: float | None, limit: int) -> float:
    """Return the calls at once after there were too many: half, and at least one."""
    return max(1.0, min(limit if concurrency is None else concurrency, limit) / 2)


def more(concurrency: float | None, limit: int, calls: int) -> float | None:
    """Return the calls at once after some without a refusal: one more for every twenty; None when that is the limit."""
    if concurrency is None:
        return None
    grown = concurrency + calls / _CALLS_PER_STEP
    return None if grown >= limit else grown


def at_once(concurrency: float | None, limit: int) -> int:
    """Return how many calls may be under way together."""
    return limit if concurrency is None else max(1, min(limit, int(concurrency)))


def slots(at_most: int, *, is_live: bool) -> Sequence[int]:
    """Return the slots a lane may take, of 1 to `at_most`: the first is kept for live mail where there are two."""
    return range(1 if is_live or at_most < 2 else 2, at_most + 1)
