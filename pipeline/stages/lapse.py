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
from pipeline.runtime.schedule_rows import Lapsing
from pipeline.stage import Again, Stage, Work


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Lapsing]:
    """Lock the tickets of the holds that are open; return these."""
    found = {str(one.hold.hold_id): one for one in lapsing.held(connection, [UUID(job.key) for job in jobs])}
    return {job.job_id: found[job.key] for job in jobs if job.key in found}


def work(items: Sequence[Lapsing], _: Ports) -> Sequence[Lapsing | Again]:
    """Let a hold that is looked at too early wait."""
    return [one if one.is_over else Again(timedelta(seconds=one.left_seconds), "not over yet") for one in items]


def save(connection: Connection, works: Sequence[Work[Lapsing, Lapsing]]) -> Sequence[Emit]:
    """End what is over; return who is to be told that a visit fell away."""
    return lapsing.end(connection, [done.result for done in works])


STAGE = Stage(
    name="lapse",
    about="Ends holds of schedules that no customer confirmed in time.",
    load=load,
    work=work,
    save=save,
    emits=("invite",),
)
