"""Clocks: brings an organization's open tickets to its service levels of today, a batch after the other.

A changed policy, calendar or holiday asks for it. The key names the change and the ticket that it has come to, so that
every change is carried through to its end, whatever else changes meanwhile; what is right already is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import Connection

from pipeline.ports import Ports
from pipeline.runtime import clocks
from pipeline.runtime.jobs import Emit, Job
from pipeline.stage import Stage, Work

#: Between the name of a change and the ticket.
_BREAK = "/"


def load(_: Connection, jobs: Sequence[Job]) -> Mapping[int, UUID | None]:
    """Return the ticket that each walk has come to; None at its beginning."""
    return {job.job_id: _after(job.key) for job in jobs}


def _after(key: str) -> UUID | None:
    _, _, after = key.partition(_BREAK)
    return UUID(after) if after else None


def work(items: Sequence[UUID | None], _: Ports) -> Sequence[UUID | None]:
    """Pass on: what clocks show is computed from rows that must be locked."""
    return items


def save(connection: Connection, works: Sequence[Work[UUID | None, UUID | None]]) -> Sequence[Emit]:
    """Compute the next tickets' clocks, and go on until there are no more."""
    steps = []
    for done in works:  # one: a batch of tickets is a job
        last = clocks.recompute(connection, done.job.org_id, done.item, clocks.BATCH)
        if last is not None:
            change, _, _ = done.job.key.partition(_BREAK)
            steps.append(done.job.then(STAGE.name, f"{change}{_BREAK}{last}"))
    return steps


STAGE = Stage(
    name="clocks",
    about="Computes the clocks of open tickets anew after service levels changed.",
    load=load,
    work=work,
    save=save,
    emits=("clocks",),
    batch=1,
)
