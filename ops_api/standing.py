"""How mailboxes stand, how long they still take, and why they wait, in words: for the command line and over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection

from dlq import reading
from models import row_security
from models.enums import MailboxState, WatchState
from models.queries import comparisons, progress, queue, summary, sync, watches
from models.queries.silence import Reading
from ops_api import silence, silence_words
from ops_api.wording import clock, counted, line_of, span
from pipeline.core.budget import Held
from pipeline.core.polling import STANDARD
from pipeline.runtime import breaker, budgets, slowness

#: States in which work goes on.
_GOING = (MailboxState.ACTIVE, MailboxState.PROBING)
#: A listing that began so many windows again is slowed down by it.
_MANY_RESTARTS = 3
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything that is told of some mailboxes, read in one transaction; `now` is the database's.

    `left` and `listings` are those of every mailbox: the workers are shared.
    """

    now: datetime
    mailboxes: Sequence[sync.SyncStatus]
    listings: Mapping[UUID, progress.Listing]
    left: Mapping[UUID, progress.Left]
    waits: Sequence[queue.Wait]
    blocked: Mapping[UUID, int]
    letters: Mapping[UUID | None, int]
    workers: Sequence[queue.LiveWorker]
    per_minute: int
    gaps: Mapping[UUID, comparisons.Unfilled]
    compared: Mapping[UUID, comparisons.Reconcile]
    watched: Mapping[UUID, watches.WatchStanding]
    budgets: Mapping[UUID, Held]
    slow: Mapping[UUID, Sequence[str]]
    readings: Mapping[UUID, Reading]

    def unsynced_seconds(self, mailbox_id: UUID) -> int | None:
        """Return how long ago a mailbox was read that should have been read since; None when all is well."""
        found = self.readings.get(mailbox_id)
        return round(found.seconds) if found is not None and found.is_overdue else None

    def remaining(self, mailbox_id: UUID) -> int:
        """Return how many messages are known to be still on their way, those not listed yet by the estimate."""
        listing = self.listings.get(mailbox_id)
        known = self.left.get(mailbox_id, progress.Left()).messages
        return known + (0 if listing is None else listing.unlisted)

    def to_fetch(self, mailbox_id: UUID) -> int:
        """Return how many messages are to be fetched yet, those not listed yet by the estimate."""
        listing = self.listings.get(mailbox_id)
        return self.left.get(mailbox_id, progress.Left()).fetches + (0 if listing is None else listing.unlisted)

    def pace(self, mailbox_id: UUID) -> float | None:
        """Return how many messages a minute the mailbox's budgets allow; None where nothing is counted."""
        held = self.budgets.get(mailbox_id)
        if held is None:
            return None
        cost = held.limits.cost("messages.get")
        budgets_and_paces = zip((held.mailbox, held.project), held.paces(), strict=True)
        return min(pace.rate * budget.ramp(held.now) for budget, pace in budgets_and_paces) * 60 / cost

    def eta(self, mailbox: sync.SyncStatus) -> timedelta | None:
        """Return when a mailbox is through; None when nothing is left, nothing goes on, or nobody knows.

        It is as fast as its budgets allow; where they do not matter, the last minute's rate is shared evenly by the
        mailboxes that have work.
        """
        mine = self.remaining(mailbox.mailbox_id)
        if not mine or not self.workers or mailbox.state not in _GOING:
            return None
        fetches, pace = self.to_fetch(mailbox.mailbox_id), self.pace(mailbox.mailbox_id)
        if fetches and pace:
            return _MINUTE * (fetches / pace)
        if not self.per_minute:
            return None
        shared = sum(min(mine, self.remaining(other)) for other in self.left.keys() | self.listings.keys())
        return _MINUTE * (shared / self.per_minute)

    def why(self, mailbox: sync.SyncStatus) -> list[str]:
        """Return in words what holds a mailbox up or makes it incomplete; empty when nothing does."""
        return list(self._why(mailbox))

    def _why(self, mailbox: sync.SyncStatus) -> Iterator[str]:
        mailbox_id = mailbox.mailbox_id
        yield from state_reasons(mailbox)
        if self.unsynced_seconds(mailbox_id) is not None:
            yield silence_words.unread(self.readings[mailbox_id], len(self.workers)).line
        yield from self.slow.get(mailbox_id, ())
        waits = [wait for wait in self.waits if wait.mailbox_id == mailbox_id and wait.next_at > self.now]
        yield from (reason(wait, self.now) for wait in waits)
        if self.blocked.get(mailbox_id):
            yield f"{counted(self.blocked[mailbox_id], 'job')} parked until a person acts"
        if (mailbox.queued_jobs_by_type or mailbox.running_jobs_by_type) and not self.workers:
            yield "no worker is alive: run `fieldpost up`"
        yield from _listing_reasons(self.listings.get(mailbox_id))
        yield from _gap_reasons(mailbox, self.gaps.get(mailbox_id))
        yield from _watch_reasons(self.watched.get(mailbox_id))
        if self.letters.get(mailbox_id):
            letters = counted(self.letters[mailbox_id], "dead letter")
            yield f"{letters}: see `fieldpost dlq groups --mailbox {mailbox.email}`"


def read(
    connection: Connection,
    mailbox_ids: Sequence[UUID] | None = None,
    org_id: UUID | None = None,
    *,
    pace: timedelta = STANDARD,
) -> Standing:
    """Read how the given mailboxes stand (None: all), within one organization when it is given.

    `pace` is the schedule's: what is late is told by it.
    """
    found = sync.sync_status(connection, mailbox_ids, org_id)
    ids = [mailbox.mailbox_id for mailbox in found]
    paid = budgets.standings(connection, ids)
    # Counted over all organizations: only figures of one's own mailboxes are told, and how fast they go hangs on all.
    with row_security.unbarred(connection):
        listings, left = progress.listings(connection), progress.left(connection)
        per_minute = queue.parsed_last_minute(connection)
    return Standing(
        now=summary.database_time(connection),
        mailboxes=found,
        listings=listings,
        left=left,
        waits=queue.waits(connection, ids),
        blocked=queue.blocked(connection, ids),
        letters=reading.open_by_mailbox(connection),
        workers=queue.live_workers(connection),
        per_minute=per_minute,
        gaps=comparisons.unfilled(connection, ids),
        compared=comparisons.last_finished(connection, ids),
        watched=watches.standings(connection, ids),
        budgets=paid,
        slow={mailbox_id: slowness.explain(connection, mailbox_id) for mailbox_id in paid},
        readings={one.mailbox_id: one for one in silence.readings(connection, pace, ids)},
    )


def reason(wait: queue.Wait, now: datetime) -> str:
    """Say what some jobs wait for and how long."""
    what = f"{wait.jobs} {wait.stage} job{'s wait' if wait.jobs > 1 else ' waits'} {span(wait.next_at - now)} more"
    if wait.error is None:
        return f"{what}: the mailbox is paused or its provider asks for patience"
    return f"{what} after an error ({line_of(wait.error)})"


def state_reasons(mailbox: sync.SyncStatus) -> Iterator[str]:
    """Say what a mailbox's state keeps it from; nothing for one that is read without trouble."""
    why = line_of(mailbox.pause_reason or mailbox.last_sync_error or "no reason given")
    until = "" if mailbox.paused_until is None else f" until {clock(mailbox.paused_until)}"
    match mailbox.state:
        case MailboxState.AUTH_REQUIRED:
            yield f"waits for authorization ({why}): connect it again with `fieldpost mailbox add`"
        case MailboxState.BLOCKED:
            yield (
                f"its domain forbids reading it ({why}): an administrator must allow it, then "
                f"`fieldpost mailbox resume {mailbox.email}`"
            )
        case MailboxState.SUSPENDED:
            yield f"its provider has closed it ({why}): left alone{until}, then tried with one call"
        case MailboxState.PROBING:
            yield f"tried with one call after a pause ({why})"
        case MailboxState.PAUSED if mailbox.paused_by == breaker.BREAKER:
            yield f"paused by itself{until}, then tried with one call ({why})"
        case MailboxState.PAUSED:
            yield f"paused{until} by {mailbox.paused_by or 'somebody'} ({why})"
        case MailboxState.ACTIVE if mailbox.failures_in_row:
            failures = counted(mailbox.failures_in_row, "reading")
            yield f"the last {failures} failed ({why}); {breaker.MOST_FAILURES} in a row pause it"
        case MailboxState.ACTIVE if mailbox.last_sync_error:
            yield f"the last reading failed: {why}"


def _listing_reasons(listing: progress.Listing | None) -> Iterator[str]:
    if listing is not None and listing.restarts >= _MANY_RESTARTS:
        yield f"the listing began a window again {listing.restarts} times: its provider forgot where it was"


def _gap_reasons(mailbox: sync.SyncStatus, gaps: comparisons.Unfilled | None) -> Iterator[str]:
    if gaps is None:
        return
    if gaps.open:
        ids = f" ({counted(gaps.missing, 'id')} missing)" if gaps.missing else ""
        yield f"{counted(gaps.open, 'gap')} open{ids}: fill with `fieldpost gaps {mailbox.email} --fill`"
    if gaps.filling:
        yield f"{counted(gaps.filling, 'gap')} being filled by a comparison since {clock(gaps.since)}"


def _watch_reasons(watch: watches.WatchStanding | None) -> Iterator[str]:
    if watch is None:
        return
    if watch.state is WatchState.FAILED:
        yield f"new mail is not announced, only found by polling: {line_of(watch.error or 'the watch failed')}"
    if watch.state is WatchState.SILENT:
        yield "polling finds mail that nobody announced: see the runbook watch-silent"
