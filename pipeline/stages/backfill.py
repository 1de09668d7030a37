"""Backfill: lists a mailbox in date windows, newest first, a page at a time; records every id before moving on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Lane
from pipeline.core import backoff, windows
from pipeline.core.windows import Window
from pipeline.ports import Page, Ports, Profile, Span
from pipeline.runtime import breaker
from pipeline.runtime.errors import PageExpired
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.mailboxes import Mailbox, load_mailboxes
from pipeline.runtime.occurrences import Recorded, record
from pipeline.stage import Again, Blocked, Stage, Work, caught, gate

#: Ids per page: the most that Gmail gives for 5 units (mission-peers, 1.1).
PAGE = 500

_RUNNING = text("""
    SELECT b.id, b.mailbox_id, b.since, w.number, w.after_at, w.before_at, w.cursor, w.restarts,
           w.started_at
      FROM backfills b LEFT JOIN backfill_windows w ON w.backfill_id = b.id AND w.state = 'open'
     WHERE b.mailbox_id = ANY(CAST(:ids AS uuid[])) AND b.state = 'running'
""")
#: Locked before anything is written: whoever asks the listing to reach further back, or to start again, waits.
_LOCK = text("SELECT since FROM backfills WHERE id = :id AND state = 'running' FOR UPDATE")
_OPEN = text("""
    INSERT INTO backfill_windows (backfill_id, number, after_at, before_at) VALUES (:id, :number, :after, :before)
        ON CONFLICT (backfill_id, number) DO NOTHING
""")
_MOVE = text("""
    UPDATE backfill_windows
       SET cursor = :cursor, pages = pages + 1, listed = listed + :listed, fresh = fresh + :fresh,
           state = CASE WHEN :is_last THEN 'done' ELSE 'open' END, finished_at = CASE WHEN :is_last THEN now() END
     WHERE backfill_id = :id AND number = :number AND state = 'open' AND cursor IS NOT DISTINCT FROM :from_cursor
    RETURNING pages, listed
""")
#: What was listed of the window is listed again, and counts once.
_RESTART = text("""
    WITH so_far AS (
        SELECT backfill_id, number, listed FROM backfill_windows
         WHERE backfill_id = :id AND number = :number AND state = 'open' AND cursor IS NOT DISTINCT FROM :from_cursor
           FOR UPDATE
    ), again AS (
        UPDATE backfill_windows w SET cursor = NULL, pages = 0, listed = 0, restarts = restarts + 1, after_at = :after,
                                      started_at = now() + :pause
          FROM so_far WHERE w.backfill_id = so_far.backfill_id AND w.number = so_far.number
    )
    UPDATE backfills SET listed = backfills.listed - so_far.listed FROM so_far WHERE id = so_far.backfill_id
""")
_COUNT = text("""
    UPDATE backfills SET listed = listed + :listed, fresh = fresh + :fresh, estimate = coalesce(:estimate, estimate)
     WHERE id = :id
""")
_ESTIMATE = text("UPDATE backfills SET estimate = coalesce(:estimate, estimate) WHERE id = :id")
_END = text("UPDATE backfills SET state = 'done', finished_at = now() WHERE id = :id")
#: Who sets it first has it: a page that was read before another's cursor may lack what came in between.
_FIRST_CURSOR = text("UPDATE mailboxes SET sync_cursor = :cursor WHERE id = :id AND sync_cursor IS NULL")
_FINISHED = text("UPDATE mailboxes SET last_full_sync_at = now() WHERE id = :id")


@dataclass(frozen=True, slots=True)
class Listing:
    """A listing that is going on: how far back it reads, and the window it is in; None before its first page."""

    mailbox: Mailbox
    backfill_id: UUID
    since: datetime | None
    window: Window | None
    cursor: str | None
    restarts: int
    #: In the future while it keeps a distance to page tokens that were refused.
    begins_at: datetime | None


@dataclass(frozen=True, slots=True)
class Read:
    """One page of a window; None: its page token expired. Before the very first page the mailbox's profile was read."""

    window: Window
    page: Page | None
    profile: Profile | None


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Listing]:
    """Return the running listing of each job's mailbox; without one there is nothing left to do."""
    mailboxes = load_mailboxes(connection, [UUID(job.key) for job in jobs])
    rows = {row.mailbox_id: row for row in connection.execute(_RUNNING, {"ids": list(mailboxes)})}
    return {
        job.job_id: Listing(
            mailboxes[UUID(job.key)],
            row.id,
            row.since,
            None if row.number is None else Window(row.number, row.after_at, row.before_at),
            row.cursor,
            row.restarts or 0,
            row.started_at,
        )
        for job in jobs
        if (row := rows.get(UUID(job.key))) is not None
    }


def work(items: Sequence[Listing], ports: Ports) -> Sequence[Read | Again | Blocked | Exception]:
    """Read the next page of each listing."""
    # Without a cursor history cannot try a mailbox whose pause is over: the listing does.
    return [
        gate(item.mailbox, probes=not item.mailbox.has_cursor) or _rest(item) or _read(item, ports) for item in items
    ]


def _rest(item: Listing) -> Again | None:
    if item.begins_at is None or item.begins_at <= item.mailbox.now:
        return None
    return Again(item.begins_at - item.mailbox.now, "page tokens are refused again and again")


@caught
def _read(item: Listing, ports: Ports) -> Read:
    source = ports.sources.open(item.mailbox.ref, Lane.BACKFILL)
    # The cursor comes before the first list: what arrives in between is seen by both (reliability, 3.1).
    profile = source.profile() if item.window is None else None
    window = item.window or windows.first(now=item.mailbox.now, since=item.since, has_dates=source.has_dates)
    try:
        return Read(window, source.list_page(item.cursor, span=Span(window.after, window.before), limit=PAGE), profile)
    except PageExpired:
        return Read(window, None, profile)


def save(connection: Connection, works: Sequence[Work[Listing, Read]]) -> Sequence[Emit]:
    """Record the ids, then move the window's cursor, in one transaction; a window at its end opens the next one."""
    emits: list[Emit] = []
    for done in works:
        emits += _save_one(connection, done)
        breaker.close(connection, done.item.mailbox)
    return emits


def _save_one(connection: Connection, done: Work[Listing, Read]) -> list[Emit]:
    item, read, once_more = done.item, done.result, done.job.then("backfill", done.job.key)
    mailbox_id = item.mailbox.ref.mailbox_id
    locked = connection.execute(_LOCK, {"id": item.backfill_id}).one_or_none()
    if locked is None:
        return [once_more]
    if item.window is None and not _begin(connection, item, read):
        return [once_more]
    if read.page is None:
        _restart(connection, item, read.window)
        return [once_more]
    recorded = record(connection, item.mailbox, read.page.items, lane=Lane.BACKFILL)
    if _move(connection, replace(item, since=locked.since), read.window, read.page, recorded):
        return [*recorded.emits, once_more]
    connection.execute(_END, {"id": item.backfill_id})
    connection.execute(_FINISHED, {"id": mailbox_id})
    has_history = item.mailbox.has_cursor or (read.profile is not None and read.profile.cursor is not None)
    return [*recorded.emits, *([done.job.then("history", done.job.key).in_lane(Lane.LIVE)] if has_history else ())]


def _begin(connection: Connection, item: Listing, read: Read) -> bool:
    """Keep the history cursor, unless there is one, and open the newest window; False when the page came too early."""
    profile = read.profile
    if profile is not None and profile.cursor is not None and not item.mailbox.has_cursor:
        first = {"id": item.mailbox.ref.mailbox_id, "cursor": profile.cursor}
        if connection.execute(_FIRST_CURSOR, first).rowcount != 1:
            return False
    if profile is not None and item.since is None:
        connection.execute(_ESTIMATE, {"id": item.backfill_id, "estimate": profile.messages})
    _open(connection, item, read.window)
    return True


def _move(connection: Connection, item: Listing, window: Window, page: Page, recorded: Recorded) -> bool:
    """Move the window on by a page; return whether anything is left to list."""
    counts = {"id": item.backfill_id, "listed": len(page.items), "fresh": recorded.fresh}
    is_last, is_bounded = page.next_cursor is None, (window.after, window.before) != (None, None)
    place = {"number": window.number, "from_cursor": item.cursor, "cursor": page.next_cursor, "is_last": is_last}
    moved = connection.execute(_MOVE, counts | place).one_or_none()
    if moved is None:
        return True  # asked to start again while this page was read
    connection.execute(_COUNT, counts | {"estimate": None if is_bounded else page.estimate})
    if not is_last:
        return True
    below = windows.following(window, listed=moved.listed, pages=moved.pages, since=item.since, now=item.mailbox.now)
    if below is not None:
        _open(connection, item, below)
    return below is not None


def _open(connection: Connection, item: Listing, window: Window) -> None:
    values = {"id": item.backfill_id, "number": window.number, "after": window.after, "before": window.before}
    connection.execute(_OPEN, values)


def _restart(connection: Connection, item: Listing, window: Window) -> None:
    """List a window from its beginning; one that is too wide for its page tokens' lifetime is narrowed."""
    is_too_wide = item.restarts >= windows.MOST_RESTARTS
    again = windows.narrowed(window, item.mailbox.now) if is_too_wide else window
    failures = max(0, item.restarts + 1 - windows.MOST_RESTARTS)
    pause = backoff.delay(failures, base=timedelta(seconds=1), cap=timedelta(minutes=5))
    values = {"id": item.backfill_id, "number": window.number, "from_cursor": item.cursor, "after": again.after}
    connection.execute(_RESTART, values | {"pause": pause})


STAGE = Stage(
    name="backfill",
    about="Lists a mailbox in windows, newest first, and records every id.",
    load=load,
    work=work,
    save=save,
    emits=("fetch", "backfill", "history"),
    io=True,
    batch=1,
    attempts=25,
    by_mailbox=True,
)
