"""History: reads what changed since the cursor, records it, and moves the cursor by compare-and-set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Lane
from pipeline.ports import Listed, MailSource, Ports
from pipeline.runtime.errors import CursorExpired, Transient
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.mailboxes import Mailbox, load_mailboxes
from pipeline.runtime.occurrences import CHAIN, record
from pipeline.stage import Again, Blocked, Stage, Work, gate

#: How far before the last good sync a resync reads again.
_OVERLAP = timedelta(days=2)

_MOVE = text("""
    UPDATE mailboxes SET history_id = :new, last_incremental_sync_at = now(), last_sync_error = NULL
     WHERE id = :id AND history_id = :old AND :new >= history_id
""")
_DELETED = text("""
    UPDATE occurrences SET deleted_at = coalesce(deleted_at, now()),
                           state = CASE WHEN state = 'seen' THEN 'gone' ELSE state END
     WHERE mailbox_id = :id AND provider_id = ANY(CAST(:provider_ids AS text[]))
""")
#: An id that is named only by its deletion is accounted for, too: no listing will name it any more.
_TOMBSTONES = text("""
    INSERT INTO occurrences (org_id, mailbox_id, provider_id, state, deleted_at)
    SELECT :org, :id, provider_id, 'gone', now() FROM unnest(CAST(:provider_ids AS text[])) AS t(provider_id)
     ORDER BY provider_id ON CONFLICT (mailbox_id, provider_id) DO NOTHING
""")
_LABELS = text("""
    UPDATE occurrences SET labels = string_to_array(t.labels, chr(31))
      FROM unnest(CAST(:provider_ids AS text[]), CAST(:labels AS text[])) AS t(provider_id, labels)
     WHERE mailbox_id = :id AND occurrences.provider_id = t.provider_id
""")
_EXPIRED = text("""
    UPDATE mailboxes SET history_id = NULL, last_sync_error = 'history cursor expired; a bounded resync is running'
     WHERE id = :id
""")
#: A listing that is under way starts again: its first page is where the new cursor is taken.
_LIST = text("""
    INSERT INTO backfills (mailbox_id, since) VALUES (:id, :since)
        ON CONFLICT (mailbox_id) WHERE state = 'running'
        DO UPDATE SET cursor = NULL, since = CASE WHEN backfills.since IS NULL OR excluded.since IS NULL THEN NULL
                                                  ELSE least(backfills.since, excluded.since) END
""")


@dataclass(slots=True)
class Delta:
    """Everything that happened since a cursor; `is_expired` when the provider no longer knows."""

    cursor: int = 0
    added: list[Listed] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    is_expired: bool = False


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Mailbox]:
    """Return each job's mailbox."""
    mailboxes = load_mailboxes(connection, [UUID(job.key) for job in jobs])
    return {job.job_id: mailboxes[UUID(job.key)] for job in jobs if UUID(job.key) in mailboxes}


def work(items: Sequence[Mailbox], ports: Ports) -> Sequence[Delta | Again | Blocked | Exception]:
    """Read the changes of each mailbox, page by page to the end."""
    return [gate(mailbox) or _read(mailbox, ports) for mailbox in items]


def _read(mailbox: Mailbox, ports: Ports) -> Delta | Exception:
    if mailbox.history_id is None:
        return Delta(is_expired=True)
    try:
        return _collect(ports.sources.open(mailbox.ref), mailbox.history_id)
    except CursorExpired:
        return Delta(is_expired=True)
    except Exception as error:  # noqa: BLE001 - one mailbox's trouble is that mailbox's outcome
        return error


def _collect(source: MailSource, cursor: int) -> Delta:
    delta, page = Delta(cursor), None
    while True:
        changes = source.changes(cursor, page)
        delta.added += changes.added
        delta.deleted += changes.deleted
        delta.labels.update(changes.labels)
        delta.cursor = max(delta.cursor, changes.cursor)
        page = changes.next_page
        if page is None:
            return delta


def save(connection: Connection, works: Sequence[Work[Mailbox, Delta]]) -> Sequence[Emit]:
    """Record what was added, mark what vanished, and move each cursor if nobody else did."""
    emits: list[Emit] = []
    for done in works:
        emits += _resync(connection, done) if done.result.is_expired else _advance(connection, done)
    return emits


def _advance(connection: Connection, done: Work[Mailbox, Delta]) -> list[Emit]:
    mailbox, delta = done.item, done.result
    mailbox_id = mailbox.ref.mailbox_id
    emits = record(connection, mailbox, _named(delta), lane=Lane.LIVE, stages=CHAIN)
    if delta.labels:
        labels = ["\x1f".join(some) for some in delta.labels.values()]
        connection.execute(_LABELS, {"id": mailbox_id, "provider_ids": list(delta.labels), "labels": labels})
    if delta.deleted:
        deleted = {"org": mailbox.org_id, "id": mailbox_id, "provider_ids": delta.deleted}
        connection.execute(_TOMBSTONES, deleted)
        connection.execute(_DELETED, deleted)
    moved = connection.execute(_MOVE, {"id": mailbox_id, "old": mailbox.history_id, "new": delta.cursor})
    if moved.rowcount != 1:
        raise Transient(f"the cursor of {mailbox.ref.address} moved meanwhile")
    return emits


def _named(delta: Delta) -> list[Listed]:
    """Return every id that is still there: a label may be the first that is heard of a message (reliability, 3.2)."""
    known = {item.provider_id for item in delta.added}.union(delta.deleted)
    return [*delta.added, *(Listed(one, labels=labels) for one, labels in delta.labels.items() if one not in known)]


def _resync(connection: Connection, done: Work[Mailbox, Delta]) -> list[Emit]:
    """List again from before the last good sync; the unique key lets in only what is missing."""
    mailbox = done.item
    connection.execute(_EXPIRED, {"id": mailbox.ref.mailbox_id})
    connection.execute(_LIST, {"id": mailbox.ref.mailbox_id, "since": _since(mailbox.last_incremental_sync_at)})
    return [done.job.then("backfill", done.job.key)]


def _since(last: datetime | None) -> datetime | None:
    return None if last is None else last - _OVERLAP


STAGE = Stage(
    name="history",
    about="Reads what changed since the cursor and moves the cursor.",
    load=load,
    work=work,
    save=save,
    emits=("fetch", "backfill"),
    io=True,
    batch=4,
    attempts=25,
)
