"""Reconcile: lists a mailbox's ids again, and labels, and corrects every difference to the ledger; or only tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Lane, ReconcileScope
from pipeline.core.comparison import Comparison
from pipeline.ports import ALL, Page, Ports, Span
from pipeline.runtime import breaker, comparing, differences
from pipeline.runtime.errors import PageExpired
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.mailboxes import Mailbox, load_mailboxes
from pipeline.runtime.occurrences import GRACE, record
from pipeline.stage import Again, Blocked, Stage, Work, gate

_PAGE = 500
#: How often to look for a reading of history that began after the last page, and how long at most: without one, mail
#: that came meanwhile counts as missing, and is fetched all the same.
_HISTORY_POLL, _HISTORY_PATIENCE = timedelta(seconds=1), timedelta(minutes=2)

_RUNNING = text("""
    SELECT id, mailbox_id, scope, since, label, labels_left, labels_read, cursor, pages, listed_at, started_at,
           listed_at IS NOT NULL
           AND listed_at < coalesce((SELECT last_incremental_sync_at FROM mailboxes m WHERE m.id = mailbox_id),
                                    '-infinity') AS is_history_newer
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
_RESTART = text("UPDATE reconciles SET cursor = NULL, pages = pages + 1 WHERE id = :id")
_DONE = text("""
    UPDATE reconciles SET state = 'done', finished_at = now(), missing = missing + :missing,
                          vanished = vanished + :vanished, relabelled = relabelled + :relabelled
     WHERE id = :id
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
    #: When the last page was read; None while pages are left.
    listed_at: datetime | None
    started_at: datetime
    is_history_newer: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What the provider said: a page (None: its token expired), and at the beginning its labels. Empty at the end."""

    page: Page | None = None
    labels: tuple[str, ...] | None = None
    is_end: bool = False


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Running]:
    """Return the running comparison of each job's mailbox; without one there is nothing left to do."""
    mailboxes = load_mailboxes(connection, [UUID(job.key) for job in jobs])
    rows = {row.mailbox_id: row for row in connection.execute(_RUNNING, {"ids": list(mailboxes)})}
    return {
        job.job_id: Running(
            mailboxes[UUID(job.key)],
            row.id,
            Comparison(ReconcileScope(row.scope), row.since),
            row.label,
            tuple(row.labels_left),
            tuple(row.labels_read),
            row.cursor,
            row.pages,
            row.listed_at,
            row.started_at,
            row.is_history_newer,
        )
        for job in jobs
        if (row := rows.get(UUID(job.key))) is not None
    }


def work(items: Sequence[Running], ports: Ports) -> Sequence[Told | Again | Blocked | Exception]:
    """Read the next page of each comparison."""
    return [gate(item.mailbox) or _not_yet(item) or _read(item, ports) for item in items]


def _not_yet(item: Running) -> Again | None:
    """Wait for the time to begin, and at the end for a reading of history: it tells new mail from missing mail."""
    if item.started_at > item.mailbox.now:
        return Again(item.started_at - item.mailbox.now, "the second listing comes later")
    waits = item.listed_at is not None and item.mailbox.has_cursor and not item.is_history_newer
    if waits and item.listed_at is not None and item.mailbox.now - item.listed_at < _HISTORY_PATIENCE:
        return Again(_HISTORY_POLL, "waits for the changes since the listing")
    return None


def _read(item: Running, ports: Ports) -> Told | Exception:
    if item.listed_at is not None:
        return Told(is_end=True)
    try:
        source = ports.sources.open(item.mailbox.ref, Lane.REPAIR)
        is_first = item.pages == 0
        labels = tuple(label.label_id for label in source.labels()) if is_first else None
        span = ALL if item.comparison.since is None else Span(after=item.comparison.since)
        try:
            page = source.list_page(item.cursor, span=span, limit=_PAGE, label_id=item.label or None)
        except PageExpired:
            return Told(None, labels)
        return Told(page, labels)
    except Exception as error:  # noqa: BLE001 - one mailbox's trouble is that mailbox's outcome
        return error


def save(connection: Connection, works: Sequence[Work[Running, Told]]) -> Sequence[Emit]:
    """Keep what was told; at the end compare it with the ledger."""
    emits: list[Emit] = []
    for done in works:
        breaker.close(connection, done.item.mailbox)
        emits += _save_one(connection, done)
    return emits


def _save_one(connection: Connection, done: Work[Running, Told]) -> list[Emit]:
    item, told, once_more = done.item, done.result, done.job.then("reconcile", done.job.key)
    place = {"scope": item.comparison.scope.value, "since": item.comparison.since, "pages": item.pages}
    if connection.execute(_LOCK, {"id": item.reconcile_id} | place).one_or_none() is None:
        return [once_more]  # asked to reach further back while this page was read
    if told.is_end:
        return _end(connection, done)
    if told.page is None:
        connection.execute(_RESTART, {"id": item.reconcile_id})
        return [once_more]
    return [*_note(connection, item, told.page), *_move(connection, done, told.page, told.labels)]


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


def _move(connection: Connection, done: Work[Running, Told], page: Page, labels: tuple[str, ...] | None) -> list[Emit]:
    item = done.item
    left = item.labels_left if labels is None else labels
    read, label = item.labels_read, item.label
    if page.next_cursor is None:
        read = (*read, label) if label else read
        label, left = (left[0], left[1:]) if left else ("", ())
    is_over = page.next_cursor is None and not label
    values = {"cursor": page.next_cursor, "label": label, "left": list(left), "read": list(read), "is_over": is_over}
    listed = 0 if item.label else len(page.items)
    connection.execute(_MOVE, {"id": item.reconcile_id, "listed": listed} | values)
    once_more = done.job.then("reconcile", done.job.key)
    has_history = item.mailbox.has_cursor
    return [
        once_more,
        *([done.job.then("history", done.job.key).in_lane(Lane.LIVE)] if is_over and has_history else ()),
    ]


def _end(connection: Connection, done: Work[Running, Told]) -> list[Emit]:
    item = done.item
    scope, mailbox_id = item.comparison.scope, item.mailbox.ref.mailbox_id
    found = differences.settle(connection, item.mailbox, item.reconcile_id, item.comparison, item.labels_read)
    counts = {"missing": found.missing, "vanished": found.vanished, "relabelled": found.relabelled}
    connection.execute(_DONE, {"id": item.reconcile_id} | counts)
    comparing.forget_ids(connection, item.reconcile_id)
    if not item.comparison.changes_something:
        return []
    comparing.note_filled(connection, mailbox_id, item.comparison.since, found.missing, scope.value)
    return [*found.emits, *_afterwards(connection, item, done.job, found.is_unsure)]


def _afterwards(connection: Connection, item: Running, job: Job, is_unsure: bool) -> list[Emit]:
    """Ask for the next comparison: all ids after a bounded one that followed a forgotten cursor, since mail may come
    with an old date; the same once more, after the grace, where ids vanished, since two listings must agree."""
    mailbox_id, scope = item.mailbox.ref.mailbox_id, item.comparison.scope
    again = job.then("reconcile", job.key)
    if scope is ReconcileScope.RESYNC:
        comparing.ask(connection, mailbox_id, Comparison(ReconcileScope.FULL, None), scope.value)
        return [again.in_lane(Lane.REPAIR)]
    if is_unsure:
        comparing.ask(connection, mailbox_id, item.comparison, "second listing", delay=GRACE)
        return [again]
    return []


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
