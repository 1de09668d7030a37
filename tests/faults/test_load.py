"""Ten times the usual load: the backlog drains, and workers keep their size."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.flow.imports import Import
from tests.worker_process import WorkerProcesses

pytestmark = pytest.mark.faults

_SIZE = 4_400
#: What a worker may grow by while it works off ten times what it did before: caches and batches of full size.
_GROWTH = 150 << 20


@pytest.mark.soak
@pytest.mark.timeout(1_200)
@pytest.mark.fault("F-62")
def test_ten_times_the_load_drains_and_no_worker_grows_with_it(
    db: Database, settings: Settings, workers: WorkerProcesses, tmp_path: Path
) -> None:
    mail = Import(db, settings, tmp_path, _SIZE)
    first, *others = mail.portions(11)
    workers.keep(2)
    mail.deliver(first)
    mail.finish()
    before = _largest(workers)
    mail.deliver([one for portion in others for one in portion])
    mail.finish(900)
    after = _largest(workers)
    print(f"{before >> 20} MB, then {after >> 20} MB")
    assert after - before < _GROWTH
    assert mail.violations() == []


def _largest(workers: WorkerProcesses) -> int:
    """Return the most memory that a running worker has, in bytes."""
    return max(int(psutil.Process(child.pid).memory_info().rss) for child in workers.running())
