"""How schedules stand as people see it: declared times beside what the slot ledger says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from models.enums import SlotOutcome
from models.queries.schedule import ScheduleStanding, schedule_standings
from pipeline.core.slots import GRACE, CatchUp, next_after
from pipeline.runtime.slots import Routine


@dataclass(frozen=True, slots=True)
class Standing:
    """One schedule: when it is due, its newest slot, the next one, and how many of the last 7 days were left out.

    `is_overdue` says that the next slot has passed and nobody took it. Without a last slot nobody has looked yet.
    """

    name: str
    about: str
    cron: str
    catch_up: CatchUp
    last_slot_at: datetime | None
    last_outcome: SlotOutcome | None
    last_jobs: int | None
    last_taken_at: datetime | None
    last_taken_by: str | None
    next_slot_at: datetime
    is_overdue: bool
    missed_last_7_days: int
    now: datetime


def standings(connection: Connection, routines: Iterable[Routine]) -> list[Standing]:
    """Return how the given schedules stand, in their order."""
    by_name = {routine.name: routine for routine in routines}
    return [_standing(by_name[found.name], found) for found in schedule_standings(connection, list(by_name))]


def _standing(routine: Routine, found: ScheduleStanding) -> Standing:
    last = found.last
    next_at = next_after(routine.cron, found.now if last is None else last.slot_at)
    return Standing(
        name=routine.name,
        about=routine.about,
        cron=routine.cron,
        catch_up=routine.catch_up,
        last_slot_at=None if last is None else last.slot_at,
        last_outcome=None if last is None else last.outcome,
        last_jobs=None if last is None else last.jobs,
        last_taken_at=None if last is None else last.taken_at,
        last_taken_by=None if last is None else last.taken_by,
        next_slot_at=next_at,
        is_overdue=next_at < found.now - GRACE,
        missed_last_7_days=found.missed,
        now=found.now,
    )
