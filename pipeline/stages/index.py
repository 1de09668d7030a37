"""Index: makes a message findable: its words, its people, and the text of its attachments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from sqlalchemy import Connection

from models.enums import BlobKind
from pipeline.core.extraction import MOST_READ, Extracted
from pipeline.ports import Ports
from pipeline.runtime import indexing
from pipeline.runtime.errors import Transient
from pipeline.runtime.indexing import Document, Mail
from pipeline.runtime.jobs import Emit, Job
from pipeline.stage import Again, Blocked, Stage, Work, caught

#: Attachments of one batch are read this long; messages whose turn has not come by then wait for the next one.
_PATIENCE = timedelta(seconds=20)
_SOON = timedelta(seconds=1)
_FULL = Again(_SOON, "the batch holds as much text as it may")
#: Characters of attachments read in one batch, and of the documents made of them, after which the rest waits.
_MOST_TEXT = 4_000_000


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Mail | Again]:
    """Return what is indexed of each job's message, as far as memory allows at once."""
    mails, later = indexing.load(connection, [int(job.key) for job in jobs])
    found = {job.job_id: _FULL if int(job.key) in later else mails.get(int(job.key)) for job in jobs}
    return {job_id: item for job_id, item in found.items() if item is not None}


def work(items: Sequence[Mail | Again], ports: Ports) -> Sequence[Document | Again | Blocked | Exception]:
    """Read the attachments that nobody read yet, and compose each message's words."""
    compose = caught(_compose)
    until = ports.clock.monotonic() + _PATIENCE.total_seconds()
    #: The same attachment often stands in every message of a conversation.
    read: dict[tuple[str, bytes], Extracted] = {}
    outcomes: list[Document | Again | Blocked | Exception] = []
    held = 0
    for item in items:
        if isinstance(item, Again):
            outcomes.append(item)
        elif not _is_unread(item):
            outcomes.append(compose(item, read, ports))
        elif ports.clock.monotonic() > until:
            outcomes.append(Again(_SOON, "attachments take long to read"))
        elif held > _MOST_TEXT:
            outcomes.append(_FULL)
        else:
            outcome = compose(item, read, ports)
            held += _size(outcome) if isinstance(outcome, Document) else 0
            outcomes.append(outcome)
    return outcomes


def _is_unread(mail: Mail) -> bool:
    return any(one.known is None and one.is_read for one in mail.attached)


def _size(document: Document) -> int:
    return len(document.files) + sum(len(found.text) for found in document.read.values())


def _compose(mail: Mail, before: dict[tuple[str, bytes], Extracted], ports: Ports) -> Document:
    found: dict[bytes, Extracted] = {}
    for one in [one for one in mail.attached if one.is_read][:MOST_READ]:
        if one.known is not None or one.sha256 in found:
            continue
        name = (str(mail.org_id), one.sha256)
        if name not in before:
            before[name] = ports.texts.extract(one.content_type, _content(ports, one.sha256.hex()))
        found[one.sha256] = before[name]
    return indexing.compose(mail, found)


def _content(ports: Ports, sha256: str) -> bytes:
    content = ports.blobs.get(BlobKind.ATTACHMENT, [sha256]).get(sha256)
    if content is None:
        raise Transient(f"the attachment {sha256} is not in the blob store")
    return content


def save(connection: Connection, works: Sequence[Work[Mail | Again, Document]]) -> Sequence[Emit]:
    """Write the rows of the index."""
    indexing.save(connection, [(done.item, done.result) for done in works if isinstance(done.item, Mail)])
    return ()


STAGE = Stage(
    name="index",
    about="Makes a message findable, with the text of its attachments.",
    load=load,
    work=work,
    save=save,
    io=True,
    batch=200,
)
