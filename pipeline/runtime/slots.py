"""The slot ledger: whoever writes a slot's row has taken it, and asks for its work in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from models.enums import SlotOutcome
from pipeline.core import slots
from pipeline.core.slots import CatchUp

#: How long slots are remembered; the newest of each schedule stays, since the next one is counted from it.
KEPT = timedelta(days=30)

_LOOK = text("""
    SELECT now() AS now, name, (SELECT max(slot_at) FROM slots WHERE schedule = name) AS last
      FROM unnest(CAST(:names AS text[])) AS t(name)
""")
_TRY = text("SELECT pg_try_advisory_xact_lock(hashtextextended('slots of ' || :name, 0))")
_TAKE = text("""
    INSERT INTO slots (schedule, slot_at, outcome, taken_by)
    SELECT :name, slot_at, outcome, :taken_by
      FROM unnest(CAST(:slots AS timestamptz[]), CAST(:outcomes AS text[])) AS t(slot_at, outcome) ORDER BY slot_at
        ON CONFLICT (schedule, slot_at) DO NOTHING
    RETURNING slot_at, outcome
""")
_ASKED = text("UPDATE slots SET jobs = :jobs WHERE schedule = :name AND slot_at = :slot_at")
_TIDY = text("""
    DELETE FROM slots WHERE slot_at < now() - :kept
       AND slot_at < (SELECT max(newest.slot_at) FROM slots AS newest WHERE newest.schedule = slots.schedule)
""")


@dataclass(frozen=True, slots=True)
class Routine:
    """Work that is asked for at the slots of a cron expression, in UTC; `ask` returns how many jobs it asked for."""

    name: str
    about: str
    cron: str
    catch_up: CatchUp
    ask: Callable[[Connection], int]


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot that was taken, what became of it, and how many jobs it asked for."""

    slot_at: datetime
    outcome: SlotOutcome
    jobs: int = 0


def due(connection: Connection, routines: Sequence[Routine]) -> list[Routine]:
    """Return the routines that have a slot to take, or were never looked at; takes nothing."""
    by_name = {routine.name: routine for routine in routines}
    rows = connection.execute(_LOOK, {"names": list(by_name)})
    return [
        routine
        for row in rows
        for routine in (by_name[row.name],)
        if row.last is None or slots.next_after(routine.cron, row.last) <= row.now
    ]


def take(connection: Connection, routine: Routine, taken_by: str) -> list[Slot]:
    """Take the slots of a routine that are due by the database's clock, and ask for their work, all or nothing.

    Nobody waits for another: while somebody is at the same routine this takes nothing. The row is the proof, so each
    slot is taken once whatever happens, and asks only if its row commits. A first look only marks where to count from.
    """
    if not connection.execute(_TRY, {"name": routine.name}).scalar_one():
        return []
    row = connection.execute(_LOOK, {"names": [routine.name]}).one()
    planned = slots.plan(routine.cron, row.last, row.now, routine.catch_up)
    values = {
        "name": routine.name,
        "taken_by": taken_by,
        "slots": [slot_at for slot_at, _ in planned],
        "outcomes": [outcome.value for _, outcome in planned],
    }
    taken = sorted(tuple(found) for found in connection.execute(_TAKE, values)) if planned else []
    return [_asked(connection, routine, slot_at, SlotOutcome(outcome)) for slot_at, outcome in taken]


def _asked(connection: Connection, routine: Routine, slot_at: datetime, outcome: SlotOutcome) -> Slot:
    if outcome is SlotOutcome.SKIPPED:
        return Slot(slot_at, outcome)
    jobs = routine.ask(connection)
    connection.execute(_ASKED, {"name": routine.name, "slot_at": slot_at, "jobs": jobs})
    return Slot(slot_at, outcome, jobs)


def tidy(connection: Connection) -> int:
    """Forget slots older than `KEPT`, but never the newest of a schedule; return how many."""
    return connection.execute(_TIDY, {"kept": KEPT}).rowcount
