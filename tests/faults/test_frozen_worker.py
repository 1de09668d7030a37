"""A worker frozen past its lease that wakes up later: the fence keeps the late twin out."""

from __future__ import annotations

import signal
from pathlib import Path
from subprocess import Popen

import pytest

from tests.flow.imports import Import
from tests.worker_process import WorkerProcesses, until

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("faults")]


def test_a_worker_that_wakes_up_after_its_lease_changes_nothing(
    mail: Import, workers: WorkerProcesses, tmp_path: Path
) -> None:
    frozen = _freeze(mail, workers, tmp_path, "with_bytes")
    workers.start()
    mail.finish()
    assert mail.violations() == []

    frozen.send_signal(signal.SIGCONT)
    until(lambda: workers.has_said(frozen, "fence.refused"), "the fence to refuse the late twin")
    mail.verify(workers)


def test_without_the_fence_the_late_twin_does_harm_that_the_checks_see(
    mail: Import, workers: WorkerProcesses, tmp_path: Path
) -> None:
    frozen = _freeze(mail, workers, tmp_path, "with_bytes_unfenced")
    workers.start()
    mail.finish()
    assert mail.violations() == []

    frozen.send_signal(signal.SIGCONT)
    until(lambda: mail.states()["fetched"], "mails that were routed to be fetched again")
    mail.finish()
    assert any("unfinished state without a job" in said for said in mail.violations())


def _freeze(mail: Import, workers: WorkerProcesses, folder: Path, moment: str) -> Popen[bytes]:
    """Let a worker begin alone, and return it frozen with jobs in its hands."""
    flag = folder / "flag"
    flag.touch()
    frozen = workers.start("tests.faults.failing_worker", moment, str(flag))
    mail.deliver(mail.mails)
    until(lambda: workers.is_frozen(frozen), "the worker to freeze")
    assert mail.held_by(frozen.pid)
    return frozen
