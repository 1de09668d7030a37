"""Fetch: stores the raw bytes of each occurrence, content-addressed; a vanished one becomes a tombstone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from models.enums import BlobKind, OccurrenceState
from pipeline.ports import Fetched, Listed, Missed, Ports
from pipeline.runtime.blob_rows import BlobRow, note_blobs
from pipeline.runtime.errors import FieldpostError, Gone, Transient
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.mailboxes import Mailbox, load_mailboxes
from pipeline.stage import Again, Blocked, Stage, Work, gate

#: Labels that say a message is nobody's request; counted, never fetched into a ticket.
_IGNORED = frozenset({"DRAFT", "CHAT"})

_LOAD = text("""
    SELECT id, mailbox_id, provider_id, thread_id, locator, CAST(xmin AS text) AS version FROM occurrences
     WHERE id = ANY(CAST(:ids AS bigint[])) AND state IN ('seen', 'quarantined') AND raw_sha256 IS NULL
""")
#: Labels that history wrote since the load are newer than those that were fetched, or history will correct them.
_STORED = text("""
    UPDATE occurrences SET state = t.state, raw_sha256 = t.sha256, thread_id = coalesce(t.thread, thread_id),
                           internal_at = t.at,
                           labels = CASE WHEN CAST(occurrences.xmin AS text) = t.version
                                         THEN coalesce(string_to_array(t.labels, chr(31)), occurrences.labels)
                                         ELSE occurrences.labels END
      FROM unnest(CAST(:ids AS bigint[]), CAST(:versions AS text[]), CAST(:states AS text[]), CAST(:hashes AS bytea[]),
                  CAST(:threads AS text[]), CAST(:ats AS timestamptz[]), CAST(:labels AS text[]))
        AS t(id, version, state, sha256, thread, at, labels)
     WHERE occurrences.id = t.id
""")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One occurrence to read, its mailbox, and the version of its row."""

    mailbox: Mailbox
    listed: Listed
    version: str


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
        job.job_id: Wanted(mailboxes[row.mailbox_id], Listed(row.provider_id, row.thread_id, row.locator), row.version)
        for job in jobs
        if (row := rows.get(job.key)) is not None
    }


def work(items: Sequence[Wanted], ports: Ports) -> Sequence[Outcome]:
    """Read and store, mailbox by mailbox; one item's trouble is that item's outcome."""
    outcomes: list[Outcome] = [Transient("not reached")] * len(items)
    by_mailbox: dict[object, list[int]] = {}
    for position, item in enumerate(items):
        by_mailbox.setdefault(item.mailbox.ref.mailbox_id, []).append(position)
    for positions in by_mailbox.values():
        answers = _read(items[positions[0]].mailbox, [items[at].listed for at in positions], ports)
        for position, answer in zip(positions, answers, strict=True):
            outcomes[position] = answer
    return outcomes


def _read(mailbox: Mailbox, listed: Sequence[Listed], ports: Ports) -> Sequence[Outcome]:
    held_back = gate(mailbox)
    if held_back is not None:
        return [held_back] * len(listed)
    try:
        answers = ports.sources.open(mailbox.ref).fetch(listed)
    except FieldpostError as error:
        return [error] * len(listed)
    return _store(answers, ports)


def _store(answers: Sequence[Fetched | Missed], ports: Ports) -> Sequence[Outcome]:
    kept = [answer for answer in answers if isinstance(answer, Fetched) and not _IGNORED.intersection(answer.labels)]
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
    connection.execute(_STORED, _columns(works))
    return [done.job.then("parse", done.job.key) for done in stored]


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
    emits=("parse",),
    io=True,
    batch=100,
    attempts=12,
    by_occurrence=True,
)
