"""Workers whose clocks are a day ahead and a day behind, and jump: the database's time alone counts."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.factories import rows, value
from tests.faults.skewed_worker import NAME
from tests.flow.imports import Import
from tests.worker_process import WorkerProcesses, until

pytestmark = pytest.mark.faults

_DAY = 86_400
_SLOTS = "SELECT slot_at, taken_at, outcome FROM slots WHERE schedule = :name ORDER BY slot_at"
#: What a worker wrote by its own clock would be days away.
_FOREIGN = """
    SELECT count(*) FROM (SELECT created_at AS at FROM messages UNION ALL SELECT run_at FROM jobs
                          UNION ALL SELECT created_at FROM tickets) AS t
     WHERE at NOT BETWEEN now() - interval '1 hour' AND now() + interval '1 hour'
"""


@pytest.mark.fault("F-51")
def test_workers_a_day_ahead_and_a_day_behind_lose_nothing_and_take_no_slot_early_or_late(
    db: Database, settings: Settings, workers: WorkerProcesses, tmp_path: Path
) -> None:
    mail = Import(db, settings, tmp_path, 120)
    for ahead in (_DAY, -_DAY):
        workers.start("tests.faults.skewed_worker", str(ahead), "20")
    mail.deliver(mail.mails)
    mail.finish()
    until(lambda: value(db, "SELECT count(*) FROM slots WHERE schedule = :name", name=NAME) >= 3, "some slots")
    for child in workers.running():
        workers.terminate(child, 60)
    assert mail.violations() == []
    assert value(db, "SELECT count(*) FROM dead_letters WHERE cause <> 'permanent'") == 0
    assert value(db, _FOREIGN) == 0
    slots = rows(db, _SLOTS, name=NAME)
    assert all(slot.slot_at <= slot.taken_at for slot in slots)
    assert len({slot.slot_at for slot in slots}) == len(slots)
    distances = {after.slot_at - before.slot_at for before, after in pairwise(slots)}
    assert distances == {timedelta(seconds=1)}
