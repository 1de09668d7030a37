"""Retriage: brings an organization's open cases to its policy of triage of today, a page after the other.

A policy put into force, or into the shadow, asks for it. The key names the change and, from its first job on, the
page: after which asset it begins, and with which it ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import Connection

from pipeline.ports import Ports
from pipeline.runtime import retriaging
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.retriaging import Stretch
from pipeline.stage import Stage, Work

#: Between the name of a change and the page's two assets.
_BREAK = "/"


def load(_: Connection, jobs: Sequence[Job]) -> Mapping[int, Stretch | None]:
    """Return the page of each job; None for the first one of a walk."""
    return {job.job_id: _stretch(job.key) for job in jobs}


def _stretch(key: str) -> Stretch | None:
    _, *places = key.split(_BREAK)
    if not places:
        return None
    after, upto = places
    return Stretch(UUID(after), UUID(upto) if upto else None)


def work(items: Sequence[Stretch | None], _: Ports) -> Sequence[Stretch | None]:
    """Pass on: what cases come to is computed from rows that must be locked."""
    return items


def save(connection: Connection, works: Sequence[Work[Stretch | None, Stretch | None]]) -> Sequence[Emit]:
    """Assess the page's assets anew and send on what asks for somebody now; the first job asks for the pages."""
    steps: list[Emit] = []
    for done in works:  # one: a page of cases is a job
        if done.item is None:
            pages = retriaging.stretches(connection, done.job.org_id)
            steps += [done.job.then(STAGE.name, _key(done.job, one)) for one in pages]
        else:
            asking = retriaging.assess(connection, done.job.org_id, done.item)
            steps += [done.job.then("dispatch", str(one.case_id)) for one in asking]
    return steps


def _key(job: Job, page: Stretch) -> str:
    return _BREAK.join((job.key, str(page.after), str(page.upto or "")))


STAGE = Stage(
    name=retriaging.STAGE,
    about="Assesses open cases anew after the policy of triage changed.",
    load=load,
    work=work,
    save=save,
    emits=("retriage", "dispatch"),
    batch=1,
)
