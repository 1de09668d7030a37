"""Workers that die without a word, at any moment and at the worst ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import failing_worker
from tests.flow.imports import Import
from tests.worker_process import WorkerProcesses, until

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("faults")]


def test_a_worker_killed_while_it_holds_jobs_loses_and_doubles_nothing(mail: Import, workers: WorkerProcesses) -> None:
    workers.keep(2)
    first, second, third = mail.portions(3)
    for portion in (first, second):
        mail.deliver(portion)
        workers.kill(mail.wait_for_holder(workers))
        workers.keep(2)
    mail.deliver(third)
    mail.finish()
    mail.verify(workers)


def test_a_death_at_the_worst_moments_of_a_batch_loses_and_doubles_nothing(
    mail: Import, workers: WorkerProcesses, tmp_path: Path
) -> None:
    mail.deliver(mail.mails)
    for moment in failing_worker.DEATHS:
        flag = tmp_path / moment.__name__
        flag.touch()
        victim = workers.start("tests.faults.failing_worker", moment.__name__, str(flag))
        until(lambda child=victim: child.poll() is not None, f"a death {moment.__name__}")
        assert not flag.exists()
        assert mail.pending()
    workers.keep(2)
    mail.finish()
    mail.verify(workers)
