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
    """Contents to forget, and those of them whose object others need."""

    names: Sequence[BlobName]
    needed: frozenset[tuple[str, bytes]]


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Marked]:
    """Return what may go; whichever organization's job looks, it is for all."""
    if not blob_rows.is_any_marked(connection):
        return {}
    names = blob_rows.ripe(connection, _MOST)
    needed = frozenset(blob_rows.shared(connection, names)) if names else frozenset()
    return {jobs[0].job_id: Marked(names, needed)}


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
    """Note what is gone, and look again until no mark is left: at once where more may go."""
    for done in works:  # one
        blob_rows.forget(connection, done.result.names, done.result.needed)
    return [replace(done.job.then("forget", done.job.key), delay=_delay(done.result)) for done in works]


def _delay(marked: Marked) -> timedelta:
    return _LATER if len(marked.names) < _MOST else timedelta(0)


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
