"""The meter in front of a provider's calls: no call without its units, and every answer told to the budget."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Protocol
from uuid import UUID

from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from models.enums import Lane, QuotaProfile
from pipeline.adapters.refusals import Refusals
from pipeline.adapters.slot_keeper import SlotKeeper
from pipeline.core import budget as rules
from pipeline.core.budget import Grant
from pipeline.core.quota import COSTS, LIMITS, MINUTE
from pipeline.ports import Clock
from pipeline.runtime import budgets
from pipeline.runtime.budgets import Account
from pipeline.runtime.db import Database, is_passing
from pipeline.runtime.errors import CursorExpired, OutOfBudget, PageExpired, Permanent, Reach, Throttled

#: How long a call waits for its units where it stands; whoever would wait longer steps aside and frees its thread.
PATIENCE = timedelta(seconds=1)
PATIENCE_OF_LIVE = timedelta(seconds=2)
#: Units that were drawn in advance pay for no call after this: another process may have been refused meanwhile. They go
#: back with the next draw, unless that comes so late that a rest may have begun and ended.
_KEEPS, _GOES_BACK = timedelta(milliseconds=100), timedelta(seconds=1)
_MOST_IN_ADVANCE = 10
#: What only the provider can have said: a call that ended so was let through.
_ANSWERS = (CursorExpired, PageExpired, Permanent)
#: Shorter waits would ask the database more often than calls are made.
_SHORTEST, _SHORTEST_OF_LIVE = timedelta(milliseconds=20), timedelta(milliseconds=5)
_SLOT_POLL = timedelta(milliseconds=50)
#: After so many bytes the budget hears of them though the fetch goes on.
_MANY_BYTES = 16_000_000
_DATABASE_REST = timedelta(seconds=1)

Change = Callable[[Connection], None]


@dataclass(frozen=True, slots=True)
class Paid:
    """The right to make one call; a probe decides whether a rest is over."""

    method: str
    units: int
    is_probe: bool = False

    @property
    def brings_bytes(self) -> bool:
        """Whether the call returns mail."""
        return self.method == "messages.get"


class Payer(Protocol):
    """What pays for the calls of one mailbox and lane; may be shared by threads."""

    def pay(self, method: str, wanted: int = 1) -> Paid:
        """Pay for one call, of `wanted` that will be made now; raises `OutOfBudget` without a call."""

    def tell(self, paid: Paid, error: Exception | None, *, is_told: bool = False, size: int = 0) -> None:
        """Say how a call ended: with an error or without, whether its wait was told, and how many bytes it brought."""

    def slots(self, wanted: int) -> AbstractContextManager[int]:
        """Return a block that holds up to `wanted` of the calls at once; raises `OutOfBudget` when none is free."""


class NullMeter:
    """Pays for everything: where nothing is counted, and in tests."""

    def __init__(self, costs: Mapping[str, int] = COSTS[QuotaProfile.SINCE_2026_05]) -> None:
        self._costs = costs

    def pay(self, method: str, wanted: int = 1) -> Paid:  # noqa: ARG002 - the protocol's signature
        """Pay at once."""
        return Paid(method, self._costs.get(method, 1))

    def tell(self, paid: Paid, error: Exception | None, *, is_told: bool = False, size: int = 0) -> None:
        """Do nothing."""

    @contextmanager
    def slots(self, wanted: int) -> Iterator[int]:
        """Allow as many calls at once as a new project's mailbox may make."""
        yield min(wanted, LIMITS[QuotaProfile.SINCE_2026_05].concurrency)


@dataclass(slots=True)
class _Advance:
    """Calls of one method that were paid for at a monotonic time, when so many refusals had been seen."""

    calls: int
    units: int
    at: float
    seen: int

    def give_up(self) -> int:
        """Return the units that pay for nothing any more."""
        calls, self.calls = self.calls, 0
        return calls * self.units


class Meter:
    """Pays for one mailbox's calls in one class of lanes, out of budgets that every process shares.

    A few calls are paid for in advance, never more than are wanted now. While units are short one thread waits for
    them and the others wait for it. A database that is away means that nobody knows: no call is made.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        keeper: SlotKeeper,
        account: Account,
        *,
        is_live: bool,
        patience: timedelta,
        refusals: Refusals | None = None,
    ) -> None:
        self._db, self._clock, self._keeper, self._account = db, clock, keeper, account
        self._is_live, self._patience = is_live, patience
        self._refusals = refusals or Refusals()
        #: Whoever has the turn pays: what was drawn in advance is his alone to use and to give up.
        self._turn, self._guard = threading.Lock(), threading.Lock()
        self._advance: dict[str, _Advance] = {}
        self._unused = 0
        self._size = self._calls = 0
        self._at_once: int | None = None

    def pay(self, method: str, wanted: int = 1) -> Paid:
        """Pay for one call; waits a little, and raises `OutOfBudget` when that would not do."""
        deadline = self._clock.monotonic() + self._patience.total_seconds()
        if not self._turn.acquire(timeout=self._patience.total_seconds()):
            raise OutOfBudget("other calls wait for the mailbox's units before this one", self._patience)
        try:
            while (paid := self._from_advance(method)) is None:
                seen = self._refusals.seen(self._account)
                grant = self._draw(method, min(max(wanted, 1), _MOST_IN_ADVANCE))
                if grant.calls:
                    self._advance[method] = _Advance(grant.calls - 1, grant.cost, self._clock.monotonic(), seen)
                    return Paid(method, grant.cost, grant.is_probe)
                wait = max(grant.wait, _SHORTEST_OF_LIVE if self._is_live else _SHORTEST)
                if self._clock.monotonic() + wait.total_seconds() > deadline:
                    raise OutOfBudget(grant.reason, wait, Reach(grant.scope.value))
                self._clock.wait(wait)
            return paid
        finally:
            self._turn.release()

    def tell(self, paid: Paid, error: Exception | None, *, is_told: bool = False, size: int = 0) -> None:
        """Count what passed; tell the budget of refusals at once, and of a probe's end."""
        if isinstance(error, Throttled):
            self._note_refusal(paid, error, is_told=is_told)
        elif error is None or isinstance(error, _ANSWERS):
            if paid.is_probe:
                self._note(
                    lambda connection: budgets.succeed(connection, self._account, brings_bytes=paid.brings_bytes)
                )
            with self._guard:
                self._size, self._calls = self._size + size, self._calls + 1
            if self._size >= _MANY_BYTES:
                self._flush()
        elif paid.is_probe:
            self._doubt()

    @contextmanager
    def slots(self, wanted: int) -> Iterator[int]:
        """Hold slots of the mailbox for the block; what it brought is noted at its end."""
        mailbox_id, taken = self._account.mailbox_id, self._take_slots(wanted)
        try:
            yield len(taken)
        finally:
            self._keeper.give(mailbox_id, taken)
            self._flush()

    def _from_advance(self, method: str) -> Paid | None:
        found = self._advance.get(method)
        if found is None or found.calls < 1:
            return None
        age = timedelta(seconds=self._clock.monotonic() - found.at)
        if found.seen != self._refusals.seen(self._account) or age > _GOES_BACK:
            found.give_up()
            return None
        if age > _KEEPS:
            self._unused += found.give_up()
            return None
        found.calls -= 1
        return Paid(method, found.units)

    def _draw(self, method: str, calls: int) -> Grant:
        unused, self._unused = self._unused, 0
        take = partial(budgets.take, is_live=self._is_live, unused=unused)
        try:
            with self._db.begin() as connection:
                return take(connection, self._account, method, calls)
        except SQLAlchemyError as error:
            raise _unknown(error) from error

    def _take_slots(self, wanted: int) -> list[int]:
        """Wait a little for the first slot; more are taken when they are free."""
        deadline = self._clock.monotonic() + self._patience.total_seconds()
        while True:
            try:
                with self._db.begin() as connection:
                    most = self._at_once = budgets.at_once(connection, self._account)
                allowed = rules.slots(most, is_live=self._is_live)
                taken = self._keeper.take(self._account.mailbox_id, allowed, wanted)
            except SQLAlchemyError as error:
                raise _unknown(error) from error
            if taken:
                return taken
            if self._clock.monotonic() > deadline:
                raise OutOfBudget("as many calls as the mailbox may make at once are under way", reach=Reach.CALLS)
            self._clock.wait(_SLOT_POLL)

    def _note_refusal(self, paid: Paid, error: Throttled, *, is_told: bool) -> None:
        if not self._refusals.note(self._account, error.reach, self._clock.monotonic()):
            if paid.is_probe:
                self._doubt()
            return
        refuse = partial(budgets.refuse, is_told=is_told, is_probe=paid.is_probe, at_once=self._at_once)
        self._note(lambda connection: refuse(connection, self._account, error.reach, error.retry_after, str(error)))

    def _doubt(self) -> None:
        self._note(lambda connection: budgets.doubt(connection, self._account))

    def _flush(self) -> None:
        with self._guard:
            size, calls, self._size, self._calls = self._size, self._calls, 0, 0
        if calls:
            self._note(lambda connection: budgets.spend(connection, self._account, size, calls))

    def _note(self, change: Change) -> None:
        """Write something down; with the database away it is left out: no mail hangs on it."""
        try:
            with self._db.begin() as connection:
                change(connection)
        except SQLAlchemyError as error:
            if not is_passing(error):
                raise


class Meters:
    """Makes the meters of one process, which share a keeper of slots."""

    def __init__(self, db: Database, clock: Clock, minute: timedelta = MINUTE) -> None:
        self._db, self._clock, self._minute = db, clock, minute
        self._keeper, self._refusals = SlotKeeper(db), Refusals()

    def meter(self, mailbox_id: UUID, project: str, lane: Lane, patience: timedelta | None = None) -> Meter:
        """Return a meter for a mailbox in a lane; `patience` is the lane's own unless given.

        Raises `OutOfBudget` when the database does not answer.
        """
        try:
            with self._db.begin() as connection:
                budgets.note_project(connection, mailbox_id, project)
        except SQLAlchemyError as error:
            raise _unknown(error) from error
        is_live = lane is Lane.LIVE
        patience = patience or (PATIENCE_OF_LIVE if is_live else PATIENCE)
        account = Account(mailbox_id, project, self._minute)
        return Meter(
            self._db, self._clock, self._keeper, account, is_live=is_live, patience=patience, refusals=self._refusals
        )

    def close(self) -> None:
        """Give back every slot."""
        self._keeper.close()


def _unknown(error: SQLAlchemyError) -> Exception:
    """Return what a draw raises when the database does not say whether there are units."""
    if not is_passing(error):
        return error
    is_held = isinstance(error, DBAPIError) and isinstance(error.orig, LockNotAvailable)
    said = "another process holds the budget and does not let go" if is_held else "the database does not answer"
    return OutOfBudget(said, _DATABASE_REST)
