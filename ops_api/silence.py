"""What stands still without anybody saying so: late jobs, strands, mailboxes that nobody reads (G17)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Self
from uuid import UUID

from sqlalchemy import Connection, text

from actors.schedules import declared
from models.enums import Lane
from models.queries import queue, silence, strands
from models.queries.silence import PATIENCE, Allowance, Overdue, Reading, Why
from models.queries.strands import Kind, Strand, Threshold
from ops_api import slots
from pipeline.core.budget import Ask, Held, draw
from pipeline.core.polling import STANDARD
from pipeline.ports import Clock
from pipeline.runtime import budgets, triage_policies
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from pipeline.runtime.slots import Routine
from pipeline.table import STAGES

#: What a sweep would have mended meanwhile was no silence.
_SECOND_LOOK = timedelta(seconds=1.5)

_ORGANIZATIONS = text("SELECT id FROM organizations")
#: The promises of the table of stages: the one place they are declared in is the stage's own row.
ALLOWANCES = tuple(
    Allowance(stage.name, lane, stage.promise.of(lane), stage.longest_run) for stage in STAGES.values() for lane in Lane
)


@dataclass(frozen=True, slots=True)
class Expected:
    """What an installation is expected to do by itself: the pace of its polls, and its schedules."""

    pace: timedelta = STANDARD
    routines: Sequence[Routine] = ()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return what the settings ask for."""
        return cls(timedelta(seconds=settings.history_interval_seconds), declared(settings))


@dataclass(frozen=True, slots=True)
class Silences:
    """Everything that stands still at one moment; empty when all is well. `workers` is how many were alive."""

    overdue: Sequence[Overdue]
    strands: Sequence[Strand]
    readings: Sequence[Reading]
    workers: int

    @property
    def unread(self) -> Sequence[Reading]:
        """Return the mailboxes that should have been read since they were."""
        return [one for one in self.readings if one.is_overdue]

    def __bool__(self) -> bool:
        return bool(self.overdue or self.strands or self.unread)


def read(connection: Connection, expected: Expected) -> Silences:
    """Return what stands still; of the archive nothing is read here (`ops_api.scans`)."""
    return Silences(
        overdue=overdue(connection),
        strands=stranded(connection, expected),
        readings=readings(connection, expected.pace),
        workers=len(queue.live_workers(connection)),
    )


def overdue(connection: Connection) -> list[Overdue]:
    """Return the jobs that are later than promised."""
    return [*silence.overdue(connection, ALLOWANCES), *_stopped(connection)]


def stranded(connection: Connection, expected: Expected) -> list[Strand]:
    """Return what no job would take on, of the kinds that are told from small tables."""
    cases = strands.undispatched(connection, _thresholds(connection), PATIENCE)
    found = [*strands.strands(connection, PATIENCE), *_missed_slots(connection, expected.routines)]
    return found if cases is None else [*found, cases]


def readings(connection: Connection, pace: timedelta, mailbox_ids: Sequence[UUID] | None = None) -> Sequence[Reading]:
    """Return when mailboxes that should be read were read last (None: all)."""
    return silence.readings(connection, pace / STANDARD, mailbox_ids)


def look_twice(db: Database, clock: Clock, look: Callable[[Connection], Silences]) -> Silences:
    """Return what stands still in two looks with some sweeps in between; what was under way the first time is gone.

    Nobody waits when all is well, or when no worker is there to change anything.
    """
    with db.begin() as connection:
        first = look(connection)
    if not first or not first.workers:
        return first
    clock.wait(_SECOND_LOOK)
    with db.begin() as connection:
        second = look(connection)
    late, kinds = {(one.why, one.stage, one.lane) for one in first.overdue}, {one.kind for one in first.strands}
    boxes = {one.mailbox_id for one in first.unread}
    return replace(
        second,
        overdue=[one for one in second.overdue if (one.why, one.stage, one.lane) in late],
        strands=[one for one in second.strands if one.kind in kinds],
        readings=[one for one in second.readings if one.mailbox_id in boxes],
    )


def _stopped(connection: Connection) -> list[Overdue]:
    """Return held fetches that their budgets would pay for; waiting for units is what holding is for."""
    found = silence.stopped(connection)
    counted = budgets.standings(connection, [one.mailbox_id for one in found]) if found else {}
    free = [one for one in found if _is_paid(counted.get(one.mailbox_id))]
    lines = sorted({(one.stage, one.lane) for one in free})
    return [
        _together(stage, lane, [one for one in free if (one.stage, one.lane) == (stage, lane)]) for stage, lane in lines
    ]


def _is_paid(held: Held | None) -> bool:
    if held is None:
        return True
    grant, _ = draw(held, Ask(held.limits.cost("messages.get"), 1, is_live=False, brings_bytes=True))
    return grant.calls > 0


def _together(stage: str, lane: Lane, found: Sequence[silence.Stopped]) -> Overdue:
    oldest = max(found, key=lambda one: one.seconds)
    return Overdue(Why.HELD, stage, lane, sum(one.jobs for one in found), oldest.seconds, oldest.example)


def _thresholds(connection: Connection) -> list[Threshold]:
    org_ids = list(connection.execute(_ORGANIZATIONS).scalars())
    judges = triage_policies.judging(connection, org_ids)
    policies = {org_id: judging.active.policy for org_id, judging in judges.items()}
    return [
        Threshold(org_id, rules.mode, rules.dispatch.least_certainty / 100, rules.dispatch.least_priority)
        for org_id, rules in policies.items()
        if rules.dispatch.automatic
    ]


def _missed_slots(connection: Connection, routines: Iterable[Routine]) -> list[Strand]:
    missed = [one for one in slots.standings(connection, routines) if one.is_overdue]
    if not missed:
        return []
    oldest = min(missed, key=lambda one: one.next_slot_at)
    return [Strand(Kind.SCHEDULE, len(missed), (oldest.now - oldest.next_slot_at).total_seconds(), oldest.name)]
