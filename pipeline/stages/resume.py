"""Resume: ends pauses whose day's budget has run out, each at the moment when it did, however late a worker comes.

A pause asks for it, due when its budget will have run out. Whoever resumed or stopped before left nothing to do; where
the rules, or the day, leave more time meanwhile, it waits again. A change of the rules has it look at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import Connection

from pipeline.core.work_sessions import Session
from pipeline.ports import Ports
from pipeline.runtime import session_rows
from pipeline.runtime.jobs import Emit, Job
from pipeline.stage import Again, Stage, Work


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Session]:
    """Lock the sessions that the keys name, and their orders first; those whose pauses will be over."""
    wanted = {UUID(job.key): job.job_id for job in jobs}
    found = session_rows.lock(connection, list(wanted))
    return {wanted[one.session_id]: one for one in found if one.pause_ends_at is not None}


def work(items: Sequence[Session], _: Ports) -> Sequence[Session | Again]:
    """Return each session as it is after its pause; those whose pause is not over yet wait."""
    return [_work(item) for item in items]


def _work(item: Session) -> Session | Again:
    end = item.pause_ends_at
    if end is None or end <= item.now:
        return item.settled()
    return Again(end - item.began_at, "the pause is not over")


def save(connection: Connection, works: Sequence[Work[Session, Session]]) -> Sequence[Emit]:
    """Keep that the pauses are over, and tell the audit trails."""
    session_rows.keep(connection, [session_rows.by_itself(done.result) for done in works])
    session_rows.record(connection, [done.result for done in works])
    return []


STAGE = Stage(
    name=session_rows.STAGE,
    about="Ends pauses of work sessions when the day's budget has run out.",
    load=load,
    work=work,
    save=save,
    batch=20,
)
