"""Forget: takes erased contents out of the blob store, once nobody can need them any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import Connection

from pipeline.ports import Ports
from pipeline.runtime import blob_rows
from pipeline.runtime.blob_rows import BlobName
from pipeline.runtime.jobs import Emit, Job
from pipeline.stage import Stage, Work, caught

#: Contents of one look, and how long marks wait that an older transaction still holds back.
_MOST = 500
_LATER = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Marked:
    """Contents to forget, those of them whose object others need, and whether more are marked."""

    names: Sequence[BlobName]
    needed: frozenset[tuple[str, bytes]]
    has_more: bool


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Marked]:
    """Return what may go; whichever organization's job looks, it is for all."""
    names = blob_rows.ripe(connection, _MOST)
    has_more = blob_rows.count_marked(connection) > len(names)
    if not names and not has_more:
        return {}
    needed = frozenset(blob_rows.shared(connection, names)) if names else frozenset()
    first, *others = jobs
    nothing = Marked((), frozenset(), has_more)
    return {first.job_id: Marked(names, needed, has_more)} | {job.job_id: nothing for job in others}


def work(items: Sequence[Marked], ports: Ports) -> Sequence[Marked | Exception]:
    """Delete the objects; those that are gone already are fine."""
    do = caught(_delete)
    return [do(item, ports) for item in items]


def _delete(marked: Marked, ports: Ports) -> Marked:
    by_kind: dict[str, set[str]] = {}
    for _, kind, sha256 in marked.names:
        if (kind, sha256) not in marked.needed:
            by_kind.setdefault(kind, set()).add(sha256.hex())
    for kind, hashes in by_kind.items():
        ports.blobs.delete(kind, sorted(hashes))
    return marked


def save(connection: Connection, works: Sequence[Work[Marked, Marked]]) -> Sequence[Emit]:
    """Delete the rows, and look again while marks are left."""
    for done in works:
        blob_rows.forget(connection, done.result.names)
    return [replace(done.job.then("forget", done.job.key), delay=_LATER) for done in works[:1] if done.result.has_more]


STAGE = Stage(
    name="forget",
    about="Takes erased contents out of the blob store.",
    load=load,
    work=work,
    save=save,
    emits=("forget",),
    io=True,
    batch=10,
)
