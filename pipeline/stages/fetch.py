"""Fetch: stores the raw bytes of each occurrence, content-addressed; a vanished one becomes a tombstone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from models.enums import BlobKind, Lane, OccurrenceState
from pipeline.core.labels import is_ignored
from pipeline.ports import Fetched, Listed, Missed, Ports
from pipeline.runtime.blob_rows import BlobRow, note_blobs
from pipeline.runtime.errors import FieldpostError, Gone, Transient
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.mailboxes import Mailbox, load_mailboxes
from pipeline.stage import Again, Blocked, Stage, Work, gate

#: How many mailboxes of one batch are read beside each other.
_MAILBOXES_AT_ONCE = 8

_LOAD = text("""
    SELECT id, mailbox_id, provider_id, thread_id, locator, CAST(xmin AS text) AS version FROM occurrences
     WHERE id = ANY(CAST(:ids AS bigint[])) AND state IN ('seen', 'quarantined') AND raw_sha256 IS NULL
""")
#: Labels that history wrote since the load are newer than those that were fetched, or history will correct them: they
#: are kept, and what the older ones would ignore is fetched once more.
_STORED = text("""
    UPDATE occurrences SET state = CASE WHEN t.state = 'ignored' AND CAST(occurrences.xmin AS text) <> t.version
                                        THEN 'seen' ELSE t.state END,
                           raw_sha256 = t.sha256, thread_id = coalesce(t.thread, thread_id),
                           internal_at = coalesce(t.at, internal_at),
                           vanished_at = CASE WHEN t.state = 'gone' THEN coalesce(vanished_at, now())
                                              ELSE vanished_at END,
                           absences = CASE WHEN t.state = 'gone' THEN 2 ELSE absences END,
                           labels = CASE WHEN CAST(occurrences.xmin AS text) = t.version
                                         THEN coalesce(string_to_array(t.labels, chr(31)), occurrences.labels)
                                         ELSE occurrences.labels END
      FROM unnest(CAST(:ids AS bigint[]), CAST(:versions AS text[]), CAST(:states AS text[]), CAST(:hashes AS bytea[]),
                  CAST(:threads AS text[]), CAST(:ats AS timestamptz[]), CAST(:labels AS text[]))
        AS t(id, version, state, sha256, thread, at, labels)
     WHERE occurrences.id = t.id RETURNING occurrences.id, occurrences.state
""")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One occurrence to read, its mailbox, the version of its row, and the lane it stands in."""

    mailbox: Mailbox
    listed: Listed
    version: str
    lane: Lane


@dataclass(frozen=True, slots=True)
class Stored:
    """How the occurrence stands now; without a hash nothing was stored."""

    state: OccurrenceState
    sha256: bytes | None = None
    size: int = 0
    stored_size: int = 0
    thread_id: str | None = None
    internal_at: datetime | None = None
    labels: tuple[str, ...] = ()


Outcome = Stored | Again | Blocked | Exception


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Wanted]:
    """Return what is still to be read."""
    rows = {str(row.id): row for row in connection.execute(_LOAD, {"ids": [int(job.key) for job in jobs]})}
    mailboxes = load_mailboxes(connection, [row.mailbox_id for row in rows.values()])
    return {
        job.job_id: Wanted(
            mailboxes[row.mailbox_id], Listed(row.provider_id, row.thread_id, row.locator), row.version, job.lane
        )
        for job in jobs
        if (row := rows.get(job.key)) is not None
    }


def work(items: Sequence[Wanted], ports: Ports) -> Sequence[Outcome]:
    """Read and store, several mailboxes at a time; one item's trouble is that item's outcome."""
    outcomes: list[Outcome] = [Transient("not reached")] * len(items)
    by_mailbox: dict[object, list[int]] = {}
    for position, item in enumerate(items):
        by_mailbox.setdefault(item.mailbox.ref.mailbox_id, []).append(position)
    groups = [[items[at] for at in positions] for positions in by_mailbox.values()]
    for positions, answers in zip(by_mailbox.values(), _read_all(groups, ports), strict=True):
        for position, answer in zip(positions, answers, strict=True):
            outcomes[position] = answer
    return outcomes


def _read_all(groups: Sequence[Sequence[Wanted]], ports: Ports) -> Sequence[Sequence[Outcome]]:
    """Read several mailboxes beside each other: one that must be slow does not slow the others."""
    if len(groups) < 2:
        return [_read(wanted, ports) for wanted in groups]
    with ThreadPoolExecutor(min(len(groups), _MAILBOXES_AT_ONCE), thread_name_prefix="fetch") as pool:
        # Each in the context of this thread: its log lines name the stage.
        return [each.result() for each in [pool.submit(copy_context().run, _read, one, ports) for one in groups]]


def _read(wanted: Sequence[Wanted], ports: Ports) -> Sequence[Outcome]:
    """Read what is wanted of one mailbox."""
    mailbox, lane = wanted[0].mailbox, wanted[0].lane
    held_back = gate(mailbox)
    if held_back is not None:
        return [held_back] * len(wanted)
    try:
        answers = ports.sources.open(mailbox.ref, lane).fetch([one.listed for one in wanted])
    except FieldpostError as error:
        return [error] * len(wanted)
    return _store(answers, ports)


def _store(answers: Sequence[Fetched | Missed], ports: Ports) -> Sequence[Outcome]:
    kept = [answer for answer in answers if isinstance(answer, Fetched) and not is_ignored(answer.labels)]
    hashes = {answer.provider_id: hashlib.sha256(answer.raw).hexdigest() for answer in kept}
    contents = {hashes[answer.provider_id]: answer.raw for answer in kept}
    try:
        sizes = ports.blobs.put(BlobKind.RAW, contents)
    except FieldpostError as error:
        return [_outcome(answer, hashes, {}, error) for answer in answers]
    return [_outcome(answer, hashes, sizes, None) for answer in answers]


def _outcome(
    answer: Fetched | Missed, hashes: Mapping[str, str], sizes: Mapping[str, int], error: Exception | None
) -> Outcome:
    if isinstance(answer, Missed):
        return Stored(OccurrenceState.GONE) if isinstance(answer.error, Gone) else answer.error
    sha256 = hashes.get(answer.provider_id)
    if sha256 is None:
        return Stored(OccurrenceState.IGNORED, labels=answer.labels, internal_at=answer.internal_at)
    if error is not None:
        return error
    return Stored(
        OccurrenceState.FETCHED,
        bytes.fromhex(sha256),
        len(answer.raw),
        sizes[sha256],
        answer.thread_id,
        answer.internal_at,
        answer.labels,
    )


def save(connection: Connection, works: Sequence[Work[Wanted, Stored]]) -> Sequence[Emit]:
    """Note the blobs and where each occurrence stands; what was stored goes on to parse."""
    stored = [done for done in works if done.result.sha256 is not None]
    note_blobs(connection, BlobKind.RAW, [row for done in works if (row := _blob_row(done)) is not None])
    states = {str(row.id): row.state for row in connection.execute(_STORED, _columns(works))}
    again = [done for done in works if states.get(done.job.key) == OccurrenceState.SEEN]
    return [
        *(done.job.then("parse", done.job.key) for done in stored),
        *(done.job.then("fetch", done.job.key) for done in again),
    ]


def _blob_row(done: Work[Wanted, Stored]) -> BlobRow | None:
    found = done.result
    return None if found.sha256 is None else (done.job.org_id, found.sha256, found.size, found.stored_size)


def _columns(works: Sequence[Work[Wanted, Stored]]) -> dict[str, list[Any]]:
    return {
        "ids": [int(done.job.key) for done in works],
        "versions": [done.item.version for done in works],
        "states": [done.result.state.value for done in works],
        "hashes": [done.result.sha256 for done in works],
        "threads": [done.result.thread_id for done in works],
        "ats": [done.result.internal_at for done in works],
        "labels": ["\x1f".join(done.result.labels) if done.result.labels else None for done in works],
    }


STAGE = Stage(
    name="fetch",
    about="Stores the raw bytes of a message; a vanished one becomes a tombstone.",
    load=load,
    work=work,
    save=save,
    emits=("parse", "fetch"),
    io=True,
    batch=100,
    attempts=12,
    by_occurrence=True,
    by_budget=True,
)
