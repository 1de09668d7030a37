"""PostgreSQL stopped in the middle of everything, and recovering."""

from __future__ import annotations

import pytest

from deploy.local.supervisor import Supervisor
from tests.flow.imports import Import
from tests.worker_process import WorkerProcesses, until

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("faults")]


def test_a_database_stopped_at_once_and_started_again_twice_loses_and_doubles_nothing(
    mail: Import, workers: WorkerProcesses, supervisor: Supervisor
) -> None:
    workers.keep(2)
    portions = mail.portions(3)
    for portion in portions[:2]:
        routed = mail.routed()
        mail.deliver(portion)
        until(lambda before=routed: mail.routed() > before, "the first mails of a portion to come through")
        assert mail.pending()
        mail.db.close()
        supervisor.stop_postgres(immediate=True)
        supervisor.start_postgres()
    mail.deliver(portions[2])
    mail.finish()
    mail.verify(workers)
