"""Parse: raw bytes to one canonical message, with recipient evidence, attachments and deduplication."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import BlobKind
from pipeline.core import mime, minimal
from pipeline.core.suspicion import HEAVY, is_suspicious
from pipeline.ports import Parser, Ports
from pipeline.runtime import bounces, indexing, message_rows, screening
from pipeline.runtime.blob_rows import SOON
from pipeline.runtime.errors import FieldpostError, ParserDied, Permanent, ReaderBusy, Transient
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.message_rows import Sighting, Understood
from pipeline.runtime.screening import Arrival
from pipeline.runtime.understanding import understand
from pipeline.stage import Again, Stage, Work

_LOAD = text("""
    SELECT o.id, o.org_id, o.raw_sha256, coalesce(o.internal_at, o.created_at) AS received_at, o.labels, m.address,
           m.provider,
           coalesce(b.size, 0) AS size
      FROM occurrences o JOIN mailboxes m ON m.id = o.mailbox_id
      LEFT JOIN blobs b ON b.org_id = o.org_id AND b.kind = 'raw' AND b.sha256 = o.raw_sha256
     WHERE o.id = ANY(CAST(:ids AS bigint[])) AND o.state IN ('fetched', 'quarantined')
       AND o.raw_sha256 IS NOT NULL AND o.message_id IS NULL
""")


#: Raw mail that is held at once: batches of large mail are worked in portions.
_TOGETHER = 32 * 1024 * 1024
#: Mails are read apart this long after the batch's ordinary ones, then the rest waits: one of them may take 30 s, and
#: nothing of a batch is kept before all of it is done.
_PATIENCE = timedelta(seconds=5)
_LATER = Again(timedelta(seconds=1), "other mail is read apart")
#: The third time that reading a mail fails, or kills its reader, it becomes a message all the same. A worker that died
#: beside it proves nothing from its second try on: a reader of its own would have died in its place.
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Raw:
    """One fetched occurrence: where its bytes are and how many, when it arrived, whose mailbox it stands in.

    `failures` counts the tries that failed or killed the process before this one.
    """

    org_id: UUID
    sha256: bytes
    received_at: datetime
    labels: tuple[str, ...]
    mailbox: str
    provider: str
    size: int
    failures: int
    is_suspect: bool


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Raw]:
    """Return what was fetched and not parsed yet."""
    rows = {str(row.id): row for row in connection.execute(_LOAD, {"ids": [int(job.key) for job in jobs]})}
    return {
        job.job_id: Raw(
            row.org_id,
            row.raw_sha256,
            row.received_at,
            tuple(row.labels),
            row.address,
            row.provider,
            row.size,
            job.failures + job.crashes,
            job.is_suspect,
        )
        for job in jobs
        if (row := rows.get(job.key)) is not None
    }


def work(items: Sequence[Raw], ports: Ports) -> Sequence[Understood | Again | Exception]:
    """Read raw bytes together as far as memory allows, understand each message for itself, store attachments together.

    Ordinary mail is read first: those that are read apart may take half a minute each, and do not hold it up.
    A mail that could not be read three times is understood as far as its header goes (`pipeline.core.minimal`).
    """
    outcomes: dict[int, Understood | Again | Exception] = {}
    for numbers in _bounded(items):
        together = _work([items[number] for number in numbers], ports, apart=False)
        outcomes |= {number: done for number, done in zip(numbers, together, strict=True) if done is not None}
    until = ports.clock.monotonic() + _PATIENCE.total_seconds()
    for number in [number for number in range(len(items)) if number not in outcomes]:
        is_late = ports.clock.monotonic() > until
        (done,) = [_LATER] if is_late else _work([items[number]], ports, apart=True)
        assert done is not None
        outcomes[number] = done
    return [outcomes[number] for number in range(len(items))]


def _bounded(items: Sequence[Raw]) -> Iterator[list[int]]:
    """Yield the places of ordinary mails that are held together."""
    together: list[int] = []
    size = 0
    for number, item in enumerate(items):
        if _failed(item) or item.size > HEAVY:
            continue
        if together and size + item.size > _TOGETHER:
            yield together
            together, size = [], 0
        together.append(number)
        size += item.size
    if together:
        yield together


def _failed(item: Raw) -> bool:
    return item.is_suspect or item.failures > 0


def _work(items: Sequence[Raw], ports: Ports, *, apart: bool) -> Sequence[Understood | Again | Exception | None]:
    """Return the outcomes; None for what must be read apart when that is not asked for."""
    try:
        contents = ports.blobs.get(BlobKind.RAW, [item.sha256.hex() for item in items])
    except FieldpostError as error:
        if isinstance(error, Permanent) and len(items) > 1:  # one of them is damaged, and must not take the rest along
            return [outcome for item in items for outcome in _work([item], ports, apart=apart)]
        return [error] * len(items)
    parsed = [_parse(item, contents.get(item.sha256.hex()), ports.parser, apart=apart) for item in items]
    mails = [mail for mail in parsed if isinstance(mail, mime.Parsed)]
    payloads = {part.sha256: part.payload for mail in mails for part in mail.attachments}
    try:
        stored = ports.blobs.put(BlobKind.ATTACHMENT, payloads) if payloads else {}
    except FieldpostError as error:
        stored, parsed = {}, [error if isinstance(mail, mime.Parsed) and mail.attachments else mail for mail in parsed]
    return [
        _without_payloads(
            understand(
                mail,
                mailbox=item.mailbox,
                provider=item.provider,
                labels=item.labels,
                stored=stored,
                tokens=ports.reply_tokens,
            )
        )
        if isinstance(mail, mime.Parsed)
        else mail
        for item, mail in zip(items, parsed, strict=True)
    ]


def _without_payloads(done: Understood) -> Understood:
    """Let go of what is in the blob store now, so that a batch never holds the contents of all its attachments."""
    if not done.parsed.attachments:
        return done
    parts = tuple(replace(part, payload=b"") for part in done.parsed.attachments)
    return replace(done, parsed=replace(done.parsed, attachments=parts))


def _parse(item: Raw, raw: bytes | None, parser: Parser, *, apart: bool) -> mime.Parsed | Again | Exception | None:
    if raw is None:
        return Transient(f"the raw message {item.sha256.hex()} is not in the blob store")
    if not apart and is_suspicious(raw):
        return None
    try:
        return parser.parse(raw, isolated=apart, patience=_PATIENCE)
    except ReaderBusy:
        return _LATER
    except mime.Unreadable as error:
        return error
    except Exception as error:  # noqa: BLE001 - one hostile mail is that mail's outcome
        is_its_fault = isinstance(error, ParserDied) or not isinstance(error, FieldpostError)
        return minimal.understand(raw) if is_its_fault and item.failures >= _TRIES - 1 else error


def save(connection: Connection, works: Sequence[Work[Raw, Understood]]) -> Sequence[Emit]:
    """Insert what is new, find what is known, and tie each occurrence to its message."""
    kept = message_rows.keep(connection, [_sighting(done) for done in works])
    jobs = {int(done.job.key): done.job for done in works}
    held = screening.screen(connection, _arrivals(works, kept))
    bounces.note(connection, kept.fresh)
    index = [indexing.step(jobs[first.occurrence_id], message_id) for message_id, first in kept.fresh.items()]
    stitch = [done.job.then("stitch", done.job.key) for done in works if int(done.job.key) not in held]
    return [*stitch, *index, *_forgets(works, kept)]


def _forgets(works: Sequence[Work[Raw, Understood]], kept: message_rows.Kept) -> Iterator[Emit]:
    """Yield what takes the bytes of forgotten messages away again."""
    for done, message_id in zip(works, kept.message_ids, strict=True):
        if message_id in kept.erased:
            yield replace(done.job.then("forget", str(done.job.org_id)), mailbox_id=None, delay=SOON)


def _arrivals(works: Sequence[Work[Raw, Understood]], kept: message_rows.Kept) -> Iterator[Arrival]:
    for done, message_id in zip(works, kept.message_ids, strict=True):
        if message_id not in kept.erased:
            yield Arrival(done.job, _sighting(done), message_id)


def _sighting(done: Work[Raw, Understood]) -> Sighting:
    item = done.item
    return Sighting(int(done.job.key), item.org_id, item.sha256, item.received_at, done.result)


STAGE = Stage(
    name="parse",
    about="Understands a raw message, and joins sightings of the same one.",
    load=load,
    work=work,
    save=save,
    emits=("stitch", "index", "forget"),
    io=True,
    batch=100,
    permanent=(mime.Unreadable,),
    by_occurrence=True,
)
