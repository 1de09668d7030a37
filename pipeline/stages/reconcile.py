"""Reconcile: lists a mailbox's ids again, and labels, and corrects every difference to the ledger; or only tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import Lane, ReconcileScope
from pipeline.core import backoff
from pipeline.core.comparison import Comparison
from pipeline.ports import ALL, Fetched, Listed, MailSource, Missed, Page, Ports, Span
from pipeline.runtime import breaker, comparing, differences
from pipeline.runtime.errors import Gone, PageExpired, Permanent
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.mailboxes import Mailbox, load_mailboxes
from pipeline.runtime.occurrences import GRACE, record
from pipeline.stage import Again, Blocked, Stage, Work, caught, gate

_PAGE = 500
#: How often to look for a reading of history that began after the last page, and how long at most: without one, mail
#: that came meanwhile counts as missing, and is fetched all the same.
_HISTORY_POLL, _HISTORY_PATIENCE = timedelta(seconds=1), timedelta(minutes=2)
#: How often to look for the cursor that the first listing takes.
_CURSOR_POLL = timedelta(seconds=30)

_RUNNING = text("""
    SELECT id, mailbox_id, scope, since, label, labels_left, labels_read, cursor, pages, restarts, listed_at,
           greatest(started_at, waits_until) AS begins_at, is_wanted_again
      FROM reconciles WHERE mailbox_id = ANY(CAST(:ids AS uuid[])) AND state = 'running'
""")
_LOCK = text("""
    SELECT id FROM reconciles
     WHERE id = :id AND state = 'running' AND scope = :scope AND since IS NOT DISTINCT FROM :since AND pages = :pages
       FOR UPDATE
""")
_TOLD = text("""
    INSERT INTO reconcile_ids (reconcile_id, provider_id, thread_id, locator)
    SELECT :id, provider_id, thread_id, locator
      FROM unnest(CAST(:provider_ids AS text[]), CAST(:threads AS text[]), CAST(:locators AS text[]))
        AS t(provider_id, thread_id, locator)
        ON CONFLICT DO NOTHING
""")
_LABELLED = text("""
    UPDATE reconcile_ids SET labels = labels || CAST(:label AS text)
     WHERE reconcile_id = :id AND provider_id = ANY(CAST(:provider_ids AS text[]))
       AND NOT labels @> ARRAY[CAST(:label AS text)]
""")
_MOVE = text("""
    UPDATE reconciles SET cursor = :cursor, label = :label, labels_left = CAST(:left AS text[]), pages = pages + 1,
                          labels_read = CAST(:read AS text[]), listed = listed + :listed,
                          listed_at = CASE WHEN :is_over THEN clock_timestamp() END
     WHERE id = :id
""")
_RESTART = text("""
    UPDATE reconciles SET cursor = NULL, pages = pages + 1, restarts = restarts + 1, waits_until = now() + :pause
     WHERE id = :id
""")
_DONE = text("""
    UPDATE reconciles SET state = 'done', finished_at = now(), missing = missing + :missing,
                          vanished = vanished + :vanished, relabelled = relabelled + :relabelled,
                          is_doubted = :is_doubted
     WHERE id = :id RETURNING missing
""")
_MISSING = text("UPDATE reconciles SET missing = missing + :missing WHERE id = :id")


@dataclass(frozen=True, slots=True)
class Running:
    """A comparison under way: which label it lists (an empty text: everything), and where."""

    mailbox: Mailbox
    reconcile_id: UUID
    comparison: Comparison
    label: str
    labels_left: tuple[str, ...]
    labels_read: tuple[str, ...]
    cursor: str | None
    pages: int
    restarts: int
    #: When the last page was read; None while pages are left.
    listed_at: datetime | None
    begins_at: datetime
    is_wanted_again: bool
    #: Some of the ids that were not listed, at the end: they must be gone before the listing is believed.
    unlisted: tuple[Listed, ...] = ()

    @property
    def waits_for_history(self) -> bool:
        """Whether changes since the listing are not read yet: they tell new mail from missing mail."""
        if self.listed_at is None or not self.mailbox.has_cursor:
            return False
        read_at = self.mailbox.last_incremental_sync_at
        is_newer = read_at is not None and read_at > self.listed_at
        return not is_newer and self.mailbox.now - self.listed_at < _HISTORY_PATIENCE


@dataclass(frozen=True, slots=True)
class Told:
    """What the provider said: a page (None: its token expired), and at the beginning its labels.

    At the end there is no page, and it is doubted when an id that was not listed is there all the same. A label that is
    gone is not read.
    """

    page: Page | None = None
    labels: tuple[str, ...] | None = None
    is_label_gone: bool = False
    is_end: bool = False
    is_doubted: bool = False


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Running]:
    """Return the running comparison of each job's mailbox; without one there is nothing left to do."""
    mailboxes = load_mailboxes(connection, [UUID(job.key) for job in jobs])
    rows = {row.mailbox_id: row for row in connection.execute(_RUNNING, {"ids": list(mailboxes)})}
    items = {
        job.job_id: _running(mailboxes[UUID(job.key)], row)
        for job in jobs
        if (row := rows.get(UUID(job.key))) is not None
    }
    return {job_id: _with_unlisted(connection, item) for job_id, item in items.items()}


def _running(mailbox: Mailbox, row: Row[Any]) -> Running:
    return Running(
        mailbox,
        row.id,
        Comparison(ReconcileScope(row.scope), row.since),
        row.label,
        tuple(row.labels_left),
        tuple(row.labels_read),
        row.cursor,
        row.pages,
        row.restarts,
        row.listed_at,
        row.begins_at,
        row.is_wanted_again,
    )


def _with_unlisted(connection: Connection, item: Running) -> Running:
    if item.listed_at is None or item.waits_for_history or not item.comparison.changes_something:
        return item
    found = differences.unlisted(connection, item.mailbox, item.reconcile_id, item.comparison)
    return replace(item, unlisted=tuple(found))


def work(items: Sequence[Running], ports: Ports) -> Sequence[Told | Again | Blocked | Exception]:
    """Read the next page of each comparison."""
    return [gate(item.mailbox) or _not_yet(item) or _read(item, ports) for item in items]


def _not_yet(item: Running) -> Again | None:
    if item.begins_at > item.mailbox.now:
        return Again(item.begins_at - item.mailbox.now, "the comparison begins later")
    if not item.mailbox.has_cursor:
        # What changed while it lists would be told by nobody.
        return Again(_CURSOR_POLL, "the mailbox was never listed: its listing takes the cursor first")
    if item.waits_for_history:
        return Again(_HISTORY_POLL, "waits for the changes since the listing")
    return None


@caught
def _read(item: Running, ports: Ports) -> Told:
    source = ports.sources.open(item.mailbox.ref, Lane.REPAIR)
    return _list(item, source) if item.listed_at is None else _prove(item, source)


def _list(item: Running, source: MailSource) -> Told:
    is_first = item.cursor is None and not item.label
    labels = tuple(label.label_id for label in source.labels()) if is_first else None
    span = ALL if item.comparison.since is None else Span(after=item.comparison.since)
    try:
        page = source.list_page(item.cursor, span=span, limit=_PAGE, label_id=item.label or None)
    except PageExpired:
        return Told(None, labels)
    except Permanent:
        if not item.label:
            raise
        return Told(Page((), None), labels, is_label_gone=True)  # somebody deleted the label meanwhile
    return Told(page, labels)


def _prove(item: Running, source: MailSource) -> Told:
    """Ask for some of the ids that were not listed: a listing that lacks what is there must not bury it."""
    answers = source.fetch(item.unlisted) if item.unlisted else ()
    for one in answers:
        if isinstance(one, Missed) and not isinstance(one.error, Gone):
            raise one.error
    return Told(is_end=True, is_doubted=any(isinstance(one, Fetched) for one in answers))


def save(connection: Connection, works: Sequence[Work[Running, Told]]) -> Sequence[Emit]:
    """Keep what was told; at the end compare it with the ledger."""
    emits: list[Emit] = []
    for done in works:
        emits += _save_one(connection, done)
        breaker.close(connection, done.item.mailbox)
    return emits


def _save_one(connection: Connection, done: Work[Running, Told]) -> list[Emit]:
    item, told, once_more = done.item, done.result, done.job.then("reconcile", done.job.key)
    place = {"scope": item.comparison.scope.value, "since": item.comparison.since, "pages": item.pages}
    if connection.execute(_LOCK, {"id": item.reconcile_id} | place).one_or_none() is None:
        return [once_more]  # asked to reach further back while this page was read
    if told.is_end:
        return _end(connection, done)
    if told.page is None:
        pause = backoff.delay(item.restarts, base=timedelta(seconds=1), cap=timedelta(minutes=15))
        connection.execute(_RESTART, {"id": item.reconcile_id, "pause": pause})
        return [once_more]
    return [*_note(connection, item, told.page), *_move(connection, done, told.page)]


def _note(connection: Connection, item: Running, page: Page) -> list[Emit]:
    """Keep the ids of one page; after a forgotten cursor what is missing is fetched at once."""
    ids = [one.provider_id for one in page.items]
    if item.label:
        connection.execute(_LABELLED, {"id": item.reconcile_id, "provider_ids": ids, "label": item.label})
        return []
    threads, locators = [one.thread_id for one in page.items], [one.locator for one in page.items]
    told = {"id": item.reconcile_id, "provider_ids": ids, "threads": threads, "locators": locators}
    connection.execute(_TOLD, told)
    if item.comparison.scope is not ReconcileScope.RESYNC:
        return []
    recorded = record(connection, item.mailbox, page.items, lane=Lane.LIVE)
    connection.execute(_MISSING, {"id": item.reconcile_id, "missing": recorded.fresh})
    return recorded.emits


def _move(connection: Connection, done: Work[Running, Told], page: Page) -> list[Emit]:
    item, told = done.item, done.result
    left = item.labels_left if told.labels is None else told.labels
    read, label = item.labels_read, item.label
    if page.next_cursor is None:
        read = (*read, label) if label and not told.is_label_gone else read
        label, left = (left[0], left[1:]) if left else ("", ())
    is_over = page.next_cursor is None and not label
    values = {"cursor": page.next_cursor, "label": label, "left": list(left), "read": list(read), "is_over": is_over}
    listed = 0 if item.label else len(page.items)
    connection.execute(_MOVE, {"id": item.reconcile_id, "listed": listed} | values)
    once_more = done.job.then("reconcile", done.job.key)
    asks = is_over and item.mailbox.has_cursor
    return [once_more, *([done.job.then("history", done.job.key).in_lane(Lane.LIVE)] if asks else ())]


def _end(connection: Connection, done: Work[Running, Told]) -> list[Emit]:
    item, job, is_doubted = done.item, done.job, done.result.is_doubted
    mailbox_id = item.mailbox.ref.mailbox_id
    found = differences.settle(
        connection, item.mailbox, item.reconcile_id, item.comparison, item.labels_read, is_doubted=is_doubted
    )
    if found.is_partial:
        connection.execute(_MISSING, {"id": item.reconcile_id, "missing": found.missing})
        return [*found.emits, job.then("reconcile", job.key)]
    counts = {"missing": found.missing, "vanished": found.vanished, "relabelled": found.relabelled}
    missing = connection.execute(_DONE, {"id": item.reconcile_id, "is_doubted": is_doubted} | counts).scalar_one()
    comparing.forget_ids(connection, item.reconcile_id)
    if not item.comparison.changes_something:
        return []
    if not item.is_wanted_again:
        comparing.note_filled(connection, mailbox_id, item.comparison.since, missing, item.comparison.scope.value)
    return [*found.emits, *_afterwards(connection, item, job, found.is_unsure)]


def _afterwards(connection: Connection, item: Running, job: Job, is_unsure: bool) -> list[Emit]:
    """Ask for the next comparison: all ids after a bounded one that followed a forgotten cursor, since mail may come
    with an old date; the same once more, after the grace, where ids vanished, since two listings must agree."""
    mailbox_id, wanted = item.mailbox.ref.mailbox_id, item.comparison
    if wanted.scope is ReconcileScope.RESYNC:
        comparing.ask(connection, mailbox_id, comparing.whole(connection, mailbox_id), wanted.scope.value)
    elif item.is_wanted_again:
        comparing.ask_again(connection, mailbox_id, wanted)
    elif is_unsure:
        comparing.ask(connection, mailbox_id, wanted, "second listing", delay=GRACE)
    else:
        return []
    return [job.then("reconcile", job.key).in_lane(Lane.REPAIR)]


STAGE = Stage(
    name="reconcile",
    about="Compares a mailbox's ids and labels with the ledger; corrects.",
    load=load,
    work=work,
    save=save,
    emits=("fetch", "reconcile", "history"),
    io=True,
    batch=1,
    attempts=25,
    by_mailbox=True,
)
