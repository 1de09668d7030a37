"""History: reads what changed since the cursor, records it, and moves the cursor by compare-and-set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Lane
from pipeline.ports import Listed, MailSource, Ports
from pipeline.runtime import breaker, comparing, listing, polling, watching
from pipeline.runtime.errors import CursorExpired, Transient
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.mailboxes import Mailbox, load_mailboxes
from pipeline.runtime.occurrences import record, relabel, settle_vanished, vanish
from pipeline.stage import Again, Blocked, Stage, Work, caught, gate

#: Pages of changes that one job records, of 500 each, and where a provider without an end is left.
_PAGES, _ENDLESS = 40, 2_000

#: The time is that of the beginning: what happened after it may not have been read.
_MOVE = text("""
    UPDATE mailboxes SET sync_cursor = :new, last_incremental_sync_at = :read_at, last_sync_error = NULL
     WHERE id = :id AND sync_cursor = :old
""")
_BEGIN = text("""
    UPDATE mailboxes SET sync_cursor = :new,
                         last_incremental_sync_at = CASE WHEN :new = sync_cursor THEN :read_at
                                                         ELSE last_incremental_sync_at END
     WHERE id = :id AND sync_cursor IS NOT DISTINCT FROM :old
""")


@dataclass(slots=True)
class Delta:
    """Everything that happened since a cursor.

    When the provider does not know it any more, `cursor` is a new one, taken before anything is listed, so that what
    arrives in between is seen by both (reliability, 3.1).
    """

    cursor: str | None
    added: dict[str, Listed] = field(default_factory=dict)
    deleted: dict[str, None] = field(default_factory=dict)
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    is_new_cursor: bool = False
    #: There is more than one job reads; the cursor stands for what was read.
    goes_on: bool = False

    @property
    def named(self) -> list[Listed]:
        """Return every id that is still there: a label may be the first that is heard of a message."""
        added = [item for one, item in self.added.items() if one not in self.deleted]
        known = self.added.keys() | self.deleted.keys()
        return [*added, *(Listed(one, labels=labels) for one, labels in self.labels.items() if one not in known)]


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Mailbox]:
    """Return each job's mailbox."""
    mailboxes = load_mailboxes(connection, [UUID(job.key) for job in jobs], with_cursor=True)
    return {job.job_id: mailboxes[UUID(job.key)] for job in jobs if UUID(job.key) in mailboxes}


def work(items: Sequence[Mailbox], ports: Ports) -> Sequence[Delta | Again | Blocked | Exception]:
    """Read the changes of each mailbox, page by page, beside each other: one that hangs holds up only itself."""
    if len(items) == 1:
        return [_one(items[0], ports)]
    with ThreadPoolExecutor(len(items), thread_name_prefix="history") as pool:
        return list(pool.map(partial(_one, ports=ports), items))


def _one(mailbox: Mailbox, ports: Ports) -> Delta | Again | Blocked | Exception:
    return gate(mailbox, probes=True) or _read(mailbox, ports)


@caught
def _read(mailbox: Mailbox, ports: Ports) -> Delta:
    source = ports.sources.open(mailbox.ref, Lane.LIVE)
    if mailbox.cursor is not None:
        try:
            return _collect(source, mailbox.cursor)
        except CursorExpired:
            pass  # a usual answer, not a failure: what it hid is compared below
    return Delta(source.profile().cursor, is_new_cursor=True)


def _collect(source: MailSource, cursor: str) -> Delta:
    delta, page, so_far = Delta(cursor), None, cursor
    for number in range(_ENDLESS):
        changes = source.changes(cursor, page)
        for item in changes.added:
            delta.added.setdefault(item.provider_id, item)
        delta.deleted.update(dict.fromkeys(changes.deleted))
        delta.labels.update(changes.labels)
        so_far = changes.so_far or so_far
        if changes.next_page is None:
            delta.cursor = changes.cursor
            return delta
        if changes.next_page == page:
            raise Transient("the provider gave the same page of changes twice")
        page = changes.next_page
        if number >= _PAGES and so_far != cursor:
            delta.cursor, delta.goes_on = so_far, True
            return delta
    raise Transient(f"more than {_ENDLESS} pages of changes, and no place to go on from")


def save(connection: Connection, works: Sequence[Work[Mailbox, Delta]]) -> Sequence[Emit]:
    """Record what was added, mark what vanished, and move each cursor if nobody else did."""
    emits: list[Emit] = []
    for done in works:
        emits += _begin_anew(connection, done) if done.result.is_new_cursor else _advance(connection, done)
        breaker.close(connection, done.item)
    return emits


def _advance(connection: Connection, done: Work[Mailbox, Delta]) -> list[Emit]:
    mailbox, delta = done.item, done.result
    mailbox_id = mailbox.ref.mailbox_id
    recorded = record(connection, mailbox, delta.named, lane=Lane.LIVE)
    labels = {one: some for one, some in delta.labels.items() if one not in delta.deleted}
    emits = [*recorded.emits, *relabel(connection, mailbox, labels, lane=Lane.LIVE)]
    comparing.history_knows_better(connection, mailbox_id, list(labels))
    vanish(connection, mailbox, list(delta.deleted))
    settle_vanished(connection, mailbox_id)
    move = {"id": mailbox_id, "old": mailbox.cursor, "new": delta.cursor, "read_at": mailbox.now}
    moved = connection.execute(_MOVE, move)
    if moved.rowcount != 1:
        raise Transient(f"the cursor of {mailbox.ref.address} moved meanwhile")
    found, previous_at = bool(recorded.fresh), mailbox.last_incremental_sync_at
    polling.note_read(connection, mailbox_id, found=found)
    watching.note_found(connection, mailbox_id, found_new=found, previous_at=previous_at)
    return [*emits, done.job.then("history", done.job.key)] if delta.goes_on else emits


def _begin_anew(connection: Connection, done: Work[Mailbox, Delta]) -> list[Emit]:
    """Go on from a new cursor, and find what the old one hid: list what was never listed, compare what was."""
    mailbox, job = done.item, done.job
    mailbox_id = mailbox.ref.mailbox_id
    begin = {"id": mailbox_id, "old": mailbox.cursor, "new": done.result.cursor, "read_at": mailbox.now}
    begun = connection.execute(_BEGIN, begin)
    if begun.rowcount != 1:
        raise Transient(f"the cursor of {mailbox.ref.address} moved meanwhile")
    if mailbox.cursor is None:
        listing.begin(connection, mailbox_id)
        return [job.then("backfill", job.key).in_lane(Lane.BACKFILL)]
    if mailbox.cursor == done.result.cursor:
        return []  # nothing happened since: some providers do not know the cursor of a mailbox that was always empty
    comparing.note_expiry(connection, mailbox)
    return [job.then("reconcile", job.key)]


STAGE = Stage(
    name="history",
    about="Reads what changed since the cursor and moves the cursor.",
    load=load,
    work=work,
    save=save,
    emits=("fetch", "backfill", "reconcile", "history"),
    io=True,
    batch=4,
    attempts=25,
    by_mailbox=True,
)
