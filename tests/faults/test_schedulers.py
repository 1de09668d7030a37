"""Schedulers that are killed at the boundaries of slots: every slot is taken once and asks once."""

from __future__ import annotations

import random
import signal
import time
from contextlib import suppress

import psutil
import pytest

from pipeline.runtime.db import Database
from tests.factories import rows, value
from tests.faults.schedulers import NAME
from tests.worker_process import WorkerProcesses, until

pytestmark = pytest.mark.faults

DEATHS, SCHEDULERS = 100, 6


@pytest.mark.fault("F-52")
def test_a_hundred_schedulers_killed_at_slot_boundaries_take_every_slot_once(
    db: Database, workers: WorkerProcesses
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rows(db, "CREATE TABLE effects (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL DEFAULT now())")
    mother = workers.start("tests.faults.schedulers", str(SCHEDULERS), str(seed))
    until(lambda: value(db, "SELECT count(*) FROM slots") > 1, "a first slot")
    chance = random.Random(seed)
    while _deaths(workers) < DEATHS:
        _kill_at_a_boundary(mother.pid, chance)
    workers.kill(mother)
    until(lambda: value(db, _CLIENTS) == 0, "the end of the last transactions")
    assert "failed" not in workers.log_of(0).read_text(encoding="utf-8").splitlines()
    _verify(db)


#: Connections of schedulers that have not noticed the death of theirs.
_CLIENTS = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = current_database() AND application_name = 'fieldpost schedule'
"""


def _deaths(workers: WorkerProcesses) -> int:
    return workers.log_of(0).read_text(encoding="utf-8").splitlines().count("died")


def _kill_at_a_boundary(mother: int, chance: random.Random) -> None:
    """Kill three schedulers within the moments around the next full second."""
    time.sleep(max(0.0, 1.0 - time.time() % 1.0 - 0.01))
    for _ in range(3):
        time.sleep(chance.uniform(0.0, 0.03))
        with suppress(psutil.NoSuchProcess):  # it killed itself meanwhile
            chance.choice(psutil.Process(mother).children()).send_signal(signal.SIGKILL)


def _verify(db: Database) -> None:
    slots = rows(db, "SELECT slot_at, outcome, taken_at FROM slots WHERE schedule = :name ORDER BY slot_at", name=NAME)
    first, *later = slots
    expected = rows(
        db,
        "SELECT generate_series(CAST(:first AS timestamptz), CAST(:last AS timestamptz), interval '1 second') AS at",
        first=first.slot_at,
        last=slots[-1].slot_at,
    )
    assert [slot.slot_at for slot in slots] == [row.at for row in expected]
    assert first.outcome == "skipped"
    assert {slot.outcome for slot in later} <= {"ran", "caught_up"}
    assert all(slot.slot_at <= slot.taken_at for slot in slots)
    # The rows of one transaction share its time: it took as many slots as it asked for.
    taken = rows(db, "SELECT taken_at, count(*) FROM slots WHERE outcome <> 'skipped' GROUP BY 1 ORDER BY 1")
    assert rows(db, "SELECT at, count(*) FROM effects GROUP BY 1 ORDER BY 1") == taken
    assert value(db, "SELECT count(*) FROM effects") == len(later)
    # Deaths did hit open transactions: numbers were drawn for rows that never came.
    assert value(db, "SELECT max(id) FROM effects") > len(later)
