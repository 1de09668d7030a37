"""The type Stage: what one step of the chain is, and the values its functions exchange."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Generic, ParamSpec, TypeVar

from sqlalchemy import Connection

from models.enums import Lane, MailboxState
from pipeline.ports import Ports
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.mailboxes import Mailbox

#: How long jobs step aside while one of them tries a mailbox; its success calls them at once.
_PROBE_PATIENCE = timedelta(minutes=1)
#: A worker renews the lease of what it holds; one that does so for this many leases is slow, or hangs.
_LEASES_ASKING, _LEASES = 20, 4

Item = TypeVar("Item")
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


@dataclass(frozen=True, slots=True)
class Again:
    """An outcome: not yet. Waiting is not failing, so it costs no attempt.

    What waits for the end of a pause goes on at once when the mailbox was resumed meanwhile.
    """

    delay: timedelta
    reason: str
    ends_with_pause: bool = False


@dataclass(frozen=True, slots=True)
class Blocked:
    """An outcome: not before a person acts on the mailbox. Costs no attempt."""

    reason: str


@dataclass(frozen=True, slots=True)
class Work(Generic[Item, Result]):
    """One job with what was loaded for it and what the work made of it."""

    job: Job
    item: Item
    result: Result


@dataclass(frozen=True, slots=True)
class Promise:
    """How long a due job may wait for a worker, by lane; what waits longer is told (reliability, section 8, G17).

    Waiting for a budget, a pause or a retry does not count: such a job is not due.
    """

    live: timedelta = timedelta(minutes=1)
    repair: timedelta = timedelta(minutes=10)
    backfill: timedelta = timedelta(hours=6)

    def of(self, lane: Lane) -> timedelta:
        """Return the promise of one lane."""
        return {Lane.LIVE: self.live, Lane.REPAIR: self.repair, Lane.BACKFILL: self.backfill}[lane]


@dataclass(frozen=True, slots=True)
class Stage(Generic[Item, Result]):
    """One step of the chain, declared whole: the runner knows nothing else about it.

    `load` turns jobs into items with set-wise queries; a job without an item has nothing left to do.
    `work` answers one result, `Again`, `Blocked` or exception per item, in order, and never raises for one item.
    `save` applies all results set-wise and returns the steps they make necessary. A stage with `io` runs `work` with
    no transaction open; any other runs load, work and save in one transaction.
    """

    #: Stored in the ledger; never renamed.
    name: str
    about: str
    load: Callable[[Connection, Sequence[Job]], Mapping[int, Item]]
    work: Callable[[Sequence[Item], Ports], Sequence[Result | Again | Blocked | Exception]]
    save: Callable[[Connection, Sequence[Work[Item, Result]]], Sequence[Emit]]
    emits: tuple[str, ...] = ()
    io: bool = False
    batch: int = 100
    attempts: int = 8
    backoff: timedelta = timedelta(seconds=1)
    backoff_cap: timedelta = timedelta(minutes=10)
    lease: timedelta = timedelta(seconds=30)
    permanent: tuple[type[Exception], ...] = ()
    #: The key is an occurrence's id: a dead letter quarantines that occurrence.
    by_occurrence: bool = False
    #: The key is a mailbox's id: its failures are the mailbox's trouble. They open its breaker and never end the job,
    #: so that reading goes on by itself when the trouble is over.
    by_mailbox: bool = False
    #: Its jobs wait for their mailbox's budget: outside the live lane they are held until the pump lets them go.
    by_budget: bool = False
    promise: Promise = Promise()

    @property
    def reads_mailbox(self) -> bool:
        """Whether it reads at the provider, so that its failures may be the mailbox's trouble."""
        return self.by_mailbox or self.by_budget

    @property
    def longest_run(self) -> timedelta:
        """How long a batch may take before somebody is told: 20 leases where others are asked, else 4."""
        return self.lease * (_LEASES_ASKING if self.io else _LEASES)


def each(function: Callable[[Item], Result]) -> Callable[[Sequence[Item], Ports], Sequence[Result | Exception]]:
    """Lift a pure function of one item to the `work` of a stage; an exception stays with its item."""
    attempt = caught(function)

    def work(items: Sequence[Item], _: Ports) -> Sequence[Result | Exception]:
        return [attempt(item) for item in items]

    return work


def caught(function: Callable[Arguments, Result]) -> Callable[Arguments, Result | Exception]:
    """Return a function that answers with what the given one raises: one item's trouble is that item's outcome."""

    @wraps(function)
    def attempt(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result | Exception:
        try:
            return function(*arguments, **options)
        except Exception as error:  # noqa: BLE001 - whatever one item raises is that item's outcome
            return error

    return attempt


def gate(mailbox: Mailbox, *, probes: bool = False) -> Again | Blocked | None:
    """Return why a mailbox may not be opened now: paused or suspended until a time, or until a person acts.

    While the breaker is half open only the stage that `probes` may pass: its answer decides for all others.
    """
    if mailbox.state is MailboxState.ACTIVE or (mailbox.state is MailboxState.PROBING and probes):
        return None
    if mailbox.state is MailboxState.PROBING:
        return Again(_PROBE_PATIENCE, "the mailbox is being tried")
    if mailbox.state in (MailboxState.PAUSED, MailboxState.SUSPENDED) and mailbox.paused_until is not None:
        left = max(mailbox.paused_until - mailbox.now, timedelta(seconds=1))
        return Again(left, mailbox.state.value, ends_with_pause=True)
    return Blocked(mailbox.state_reason or mailbox.state.value)
