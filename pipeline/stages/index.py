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


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Mail]:
    """Return what is indexed of each job's message."""
    mails = indexing.load(connection, [int(job.key) for job in jobs])
    return {job.job_id: mail for job in jobs if (mail := mails.get(int(job.key))) is not None}


def work(items: Sequence[Mail], ports: Ports) -> Sequence[Document | Again | Blocked | Exception]:
    """Read the attachments that nobody read yet, and compose each message's words."""
    compose = caught(_compose)
    until = ports.clock.monotonic() + _PATIENCE.total_seconds()
    #: The same attachment often stands in every message of a conversation.
    read: dict[tuple[str, bytes], Extracted] = {}
    outcomes: list[Document | Again | Blocked | Exception] = []
    for mail in items:
        is_late = ports.clock.monotonic() > until and any(one.known is None and one.is_read for one in mail.attached)
        outcomes.append(
            Again(timedelta(seconds=1), "attachments take long to read") if is_late else compose(mail, read, ports)
        )
    return outcomes


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


def save(connection: Connection, works: Sequence[Work[Mail, Document]]) -> Sequence[Emit]:
    """Write the rows of the index."""
    indexing.save(connection, [(done.item, done.result) for done in works])
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
