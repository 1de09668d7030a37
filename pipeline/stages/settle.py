"""Settle: brings a case up to date with what became of it: what was found to be true, and whether it is over.

Whoever finds something out holds a ticket or an order, and cases come before these: so it is written there, and
brought to its case here, under the asset's lock. A quiet case is closed the same way. It asks nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection

from pipeline.ports import Ports
from pipeline.runtime import case_rows, case_truths, settling
from pipeline.runtime.jobs import Emit, Job
from pipeline.stage import Stage, Work


@dataclass(frozen=True, slots=True)
class Trouble:
    """A case, and the asset that it is about, which is locked."""

    case_id: UUID
    asset_id: UUID


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Trouble]:
    """Lock the assets of the cases that the keys name; return these."""
    assets = settling.assets_of(connection, [UUID(job.key) for job in jobs])
    case_rows.lock(connection, assets.values())
    return {job.job_id: Trouble(UUID(job.key), assets[UUID(job.key)]) for job in jobs if UUID(job.key) in assets}


def work(items: Sequence[Trouble], _: Ports) -> Sequence[Trouble]:
    """Pass on: how a case stands is seen once its asset is locked."""
    return items


def save(connection: Connection, works: Sequence[Work[Trouble, Trouble]]) -> Sequence[Emit]:
    """Bring the cases up to date; send on what was reported after their work was done."""
    settled = settling.bring_up(connection, [done.item.case_id for done in works])
    jobs = {done.item.asset_id: done.job for done in works}
    asking = case_rows.to_dispatch(settled.next_ones)
    return [jobs[one.asset_id].then("dispatch", str(one.case_id)) for one in asking]


STAGE = Stage(
    name=case_truths.STAGE,
    about="Brings a case up to date with what was found, and closes it when it is over.",
    load=load,
    work=work,
    save=save,
    emits=("dispatch",),
    batch=50,
)
