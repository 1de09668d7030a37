"""Backfill: lists one page of a mailbox, newest first, and records every id before the cursor moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Lane
from pipeline.ports import Page, Ports
from pipeline.runtime.errors import PageExpired
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.mailboxes import Mailbox, load_mailboxes
from pipeline.runtime.occurrences import CHAIN, record
from pipeline.stage import Again, Blocked, Stage, Work, gate

#: Ids per page: the most that Gmail gives for 5 units (mission-peers, 1.1).
PAGE = 500

_RUNNING = text("""
    SELECT id, mailbox_id, since, cursor, listed FROM backfills
     WHERE mailbox_id = ANY(CAST(:ids AS uuid[])) AND state = 'running'
""")
_MOVE = text("""
    UPDATE backfills SET cursor = :cursor, listed = listed + :listed, estimate = coalesce(:estimate, estimate),
                         state = CASE WHEN :is_last THEN 'done' ELSE 'running' END,
                         finished_at = CASE WHEN :is_last THEN now() END
     WHERE id = :id AND cursor IS NOT DISTINCT FROM :from_cursor AND since IS NOT DISTINCT FROM :since
""")
_FIRST_CURSOR = text("UPDATE mailboxes SET history_id = :cursor WHERE id = :id AND history_id IS NULL")
_FINISHED = text("UPDATE mailboxes SET last_full_sync_at = now(), last_sync_error = NULL WHERE id = :id")


@dataclass(frozen=True, slots=True)
class Listing:
    """A listing that is going on: where it stands, and how far back it reads."""

    mailbox: Mailbox
    backfill_id: UUID
    since: datetime | None
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Read:
    """One page, and the history cursor that was taken before the first one."""

    page: Page
    first_cursor: int | None


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Listing]:
    """Return the running listing of each job's mailbox; without one there is nothing left to do."""
    mailboxes = load_mailboxes(connection, [UUID(job.key) for job in jobs])
    rows = {row.mailbox_id: row for row in connection.execute(_RUNNING, {"ids": list(mailboxes)})}
    return {
        job.job_id: Listing(mailboxes[UUID(job.key)], row.id, row.since, row.cursor)
        for job in jobs
        if (row := rows.get(UUID(job.key))) is not None
    }


def work(items: Sequence[Listing], ports: Ports) -> Sequence[Read | Again | Blocked | Exception]:
    """Read the next page of each listing."""
    return [gate(item.mailbox) or _read(item, ports) for item in items]


def _read(item: Listing, ports: Ports) -> Read | Exception:
    try:
        source = ports.sources.open(item.mailbox.ref)
        # The cursor comes before the first list: what arrives in between is seen by both (reliability, 3.1).
        first = source.profile().cursor if item.cursor is None else None
        return Read(source.list_page(item.cursor, since=item.since, limit=PAGE), first)
    except PageExpired:
        return Read(Page((), next_cursor=""), None)
    except Exception as error:  # noqa: BLE001 - one mailbox's trouble is that mailbox's outcome
        return error


def save(connection: Connection, works: Sequence[Work[Listing, Read]]) -> Sequence[Emit]:
    """Record the ids, then move the cursor, in one transaction; an expired page token starts the listing again."""
    emits: list[Emit] = []
    for done in works:
        emits += _save_one(connection, done)
    return emits


def _save_one(connection: Connection, done: Work[Listing, Read]) -> list[Emit]:
    job, mailbox, page = done.job, done.item.mailbox, done.result.page
    mailbox_id, is_last = mailbox.ref.mailbox_id, page.next_cursor is None
    emits = record(connection, mailbox, page.items, lane=Lane.BACKFILL, stages=CHAIN)
    if done.result.first_cursor is not None:
        connection.execute(_FIRST_CURSOR, {"id": mailbox_id, "cursor": done.result.first_cursor})
    moved = connection.execute(
        _MOVE,
        {
            "id": done.item.backfill_id,
            "from_cursor": done.item.cursor,
            "since": done.item.since,
            "cursor": page.next_cursor or None,
            "listed": len(page.items),
            "estimate": page.estimate,
            "is_last": is_last,
        },
    )
    if not is_last or moved.rowcount != 1:  # asked to start again, or to reach further back, while this page was read
        return [*emits, job.then("backfill", job.key)]
    connection.execute(_FINISHED, {"id": mailbox_id})
    return emits


STAGE = Stage(
    name="backfill",
    about="Lists one page of a mailbox, newest first, and records every id.",
    load=load,
    work=work,
    save=save,
    emits=("fetch", "backfill"),
    io=True,
    batch=1,
    attempts=25,
)
