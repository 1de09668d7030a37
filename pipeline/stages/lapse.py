"""Lapse: ends holds that nobody confirmed in time; their tickets are scheduled anew, and whose visit fell away is told.

A hold's end is a job from its beginning on, due when its time is over. What was released or rolled back meanwhile has
nothing left to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection

from pipeline.ports import Ports
from pipeline.runtime import lapsing
from pipeline.runtime.jobs import Emit, Job
from pipeline.stage import Stage, Work


def load(_: Connection, jobs: Sequence[Job]) -> Mapping[int, UUID]:
    """Return the holds that the keys name."""
    return {job.job_id: UUID(job.key) for job in jobs}


def work(items: Sequence[UUID], _: Ports) -> Sequence[UUID]:
    """Pass on: how a hold stands is seen once its ticket is locked."""
    return items


def save(connection: Connection, works: Sequence[Work[UUID, UUID]]) -> Sequence[Emit]:
    """End what is over; what is not, such as one looked at too early, comes again when it is."""
    jobs = {done.item: done.job for done in works}
    found = lapsing.lapse(connection, list(jobs))
    early = [
        jobs[one.hold.hold_id].then(STAGE.name, str(one.hold.hold_id)).after(timedelta(seconds=one.left_seconds))
        for one in found.early
    ]
    return [*early, *found.invitations]


STAGE = Stage(
    name="lapse",
    about="Ends holds of schedules that no customer confirmed in time.",
    load=load,
    work=work,
    save=save,
    emits=("lapse", "invite"),
)
