"""A worker frozen past its lease that wakes up later: the fence keeps the late twin out."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.faults.failpoints import Action, Fate, Plan
from tests.faults.forked import Forked, forked
from tests.flow.imports import Import
from tests.worker_process import until

pytestmark = pytest.mark.faults

_MAILS = 120


@pytest.fixture
def workers(settings: Settings, tmp_path: Path) -> Iterator[Forked]:
    """Return no workers yet; those that the test starts end with it."""
    with forked(settings, tmp_path) as found:
        yield found


@pytest.fixture
def mail(db: Database, settings: Settings, tmp_path: Path) -> Import:
    """Return a company whose mail is not delivered yet."""
    return Import(db, settings, tmp_path, _MAILS)


@pytest.mark.fault("F-13")
def test_a_worker_that_wakes_up_after_its_lease_changes_nothing(mail: Import, workers: Forked, tmp_path: Path) -> None:
    frozen = _freeze(mail, workers, tmp_path, "short_lease")
    workers.start()
    _finish(mail, workers)
    assert mail.violations() == []

    frozen.send_signal(signal.SIGCONT)
    until(lambda: workers.has_said(frozen, "fence.refused"), "the fence to refuse the late twin")
    mail.verify(workers)


@pytest.mark.fault("F-13")
def test_without_the_fence_the_late_twin_does_harm_that_the_checks_see(
    mail: Import, workers: Forked, tmp_path: Path
) -> None:
    frozen = _freeze(mail, workers, tmp_path, "short_lease", "unfenced")
    workers.start()
    _finish(mail, workers)
    assert mail.violations() == []

    frozen.send_signal(signal.SIGCONT)
    until(lambda: mail.states()["fetched"], "mails that were routed to be fetched again")
    mail.finish()
    assert any("unfinished state without a job" in said for said in mail.violations())


def _finish(mail: Import, workers: Forked) -> None:
    """Wait for the worker that is awake; one that hangs shows where."""
    try:
        mail.finish()
    except AssertionError as error:
        raise AssertionError(f"{error}\n{workers.stacks()}") from None


def _freeze(mail: Import, workers: Forked, folder: Path, *changes: str) -> Any:
    """Let a worker begin alone; return it frozen, with raw bytes stored under leases that are soon over."""
    flag = folder / "flag"
    flag.touch()
    frozen = workers.follow(Plan({"stage.fetch.work.after": Fate(Action.STOP)}, changes, flag))
    mail.deliver(mail.mails)
    until(lambda: workers.is_frozen(frozen), "the worker to freeze")
    assert mail.held_by(frozen.pid)
    return frozen
