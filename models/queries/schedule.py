"""How schedules stand: the last slot of each, and how many were missed lately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from models.enums import SlotOutcome

#: The first row of a schedule is not missed: it marks where slots count from.
_STANDING = text("""
    SELECT now() AS now, t.name, last.slot_at, last.outcome, last.jobs, last.taken_at, last.taken_by,
           (SELECT count(*) FROM slots s
             WHERE s.schedule = t.name AND s.outcome = 'skipped' AND s.slot_at > now() - interval '7 days'
               AND s.slot_at > (SELECT min(slot_at) FROM slots f WHERE f.schedule = t.name)) AS missed
      FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS t(name, place)
      LEFT JOIN LATERAL (SELECT * FROM slots s WHERE s.schedule = t.name ORDER BY slot_at DESC LIMIT 1) AS last ON true
     ORDER BY t.place
""")


@dataclass(frozen=True, slots=True)
class LastSlot:
    """The newest slot of a schedule, who took it and when, and how many jobs it asked for."""

    slot_at: datetime
    outcome: SlotOutcome
    jobs: int
    taken_at: datetime
    taken_by: str


@dataclass(frozen=True, slots=True)
class ScheduleStanding:
    """How a schedule stands at `now`, by the database's clock; `last` is None while nobody has looked at it yet.

    `missed` counts the slots of the last 7 days that were left out; those that nobody took so far are not in it.
    """

    name: str
    now: datetime
    last: LastSlot | None
    missed: int


def schedule_standings(connection: Connection, names: Sequence[str]) -> list[ScheduleStanding]:
    """Return how the given schedules stand, in their order."""
    return [
        ScheduleStanding(
            row.name,
            row.now,
            None
            if row.slot_at is None
            else LastSlot(row.slot_at, SlotOutcome(row.outcome), row.jobs, row.taken_at, row.taken_by),
            row.missed,
        )
        for row in connection.execute(_STANDING, {"names": list(names)})
    ]
