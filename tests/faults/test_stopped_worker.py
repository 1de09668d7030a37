"""A worker asked to stop in the middle of its work."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from tests.flow.imports import Import
from tests.worker_process import WorkerProcesses, until

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("faults")]

#: A stop is over after this many seconds: what process managers grant (reliability, F-14).
_GRANTED = 30


def test_a_stop_ends_in_time_and_charges_nothing(mail: Import, workers: WorkerProcesses) -> None:
    workers.keep(2)
    mail.deliver(mail.mails)
    until(mail.routed, "the first mails to come through")
    workers.terminate(mail.wait_for_holder(workers), _GRANTED)
    with mail.db.begin() as connection:
        charged = text("SELECT count(*) FROM jobs WHERE state <> 'dead' AND (crashes > 0 OR failures > 0)")
        assert connection.execute(charged).scalar_one() == 0
        assert connection.execute(text("SELECT count(*) FROM jobs WHERE is_suspect")).scalar_one() == 0
        assert connection.execute(text("SELECT count(*) FROM workers")).scalar_one() == 1
    mail.finish()
    mail.verify(workers)
