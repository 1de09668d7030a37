"""Judge: what a week that is over does to the levels of a workshop's technicians.

The key is an organization and a Monday, so that a week is asked for once whoever asks; judged is once per person.
After it comes the next week, if that is over, too: a schedule that stood still for a month leaves none out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, text

from pipeline.core.levels import WEEK, last_week
from pipeline.core.workshop_rules import Rules
from pipeline.ports import Ports
from pipeline.runtime import level_rows, rules
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.level_rows import Week
from pipeline.stage import Stage, Work

_NOW = text("SELECT now()")


@dataclass(frozen=True, slots=True)
class Due:
    """A week to judge, and the newest one that is over."""

    week: Week
    last: date


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Due]:
    """Return the weeks that the keys name, with the rules in force; one that is not over is left for later."""
    now = connection.execute(_NOW).scalar_one()
    in_force = rules.current_of(connection, [job.org_id for job in jobs])
    found = {job.job_id: _due(job, in_force[job.org_id], now) for job in jobs}
    return {job_id: due for job_id, due in found.items() if due.week.week_start <= due.last}


def work(items: Sequence[Due], _: Ports) -> Sequence[Due]:
    """Pass on: where people stand is seen once their rows are locked."""
    return items


def save(connection: Connection, works: Sequence[Work[Due, Due]]) -> Sequence[Emit]:
    """Judge, and go on with the next week."""
    level_rows.evaluate(connection, [done.item.week for done in works], by="schedule")
    return [
        done.job.then(STAGE.name, level_rows.job_key(done.job.org_id, done.item.week.week_start + WEEK))
        for done in works
        if done.item.week.week_start < done.item.last
    ]


def _due(job: Job, in_force: Rules, now: datetime) -> Due:
    monday = date.fromisoformat(job.key.rpartition(":")[2])
    return Due(Week(job.org_id, monday, in_force), last_week(now, in_force.work_session.zone))


STAGE = Stage(
    name="judge",
    about="Judges a week of a workshop: levels, warnings, coupons.",
    load=load,
    work=work,
    save=save,
    emits=("judge",),
)
