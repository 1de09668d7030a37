"""Workers that die without a word while they hold jobs; deaths at every step are in tests/faults/test_failpoints.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.faults.forked import Forked, forked
from tests.flow.imports import Import

pytestmark = pytest.mark.faults

_MAILS = 300


@pytest.fixture
def workers(settings: Settings, tmp_path: Path) -> Iterator[Forked]:
    """Return no workers yet; those that the test starts end with it."""
    with forked(settings, tmp_path) as found:
        yield found


@pytest.mark.fault("F-02", "F-06")
def test_a_worker_killed_while_it_holds_jobs_loses_and_doubles_nothing(
    db: Database, settings: Settings, tmp_path: Path, workers: Forked
) -> None:
    mail = Import(db, settings, tmp_path, _MAILS)
    workers.keep(2)
    first, second, third = mail.portions(3)
    for portion in (first, second):
        mail.deliver(portion)
        workers.kill(mail.wait_for_holder(workers))
        workers.keep(2)
    mail.deliver(third)
    mail.finish()
    mail.verify(workers)
