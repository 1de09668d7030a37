"""A mailbox's random life read by several worker processes at once, some of them killed: nothing lost or doubled."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.factories import rows
from tests.flow.mailbox_life import MailboxLife
from tests.gmail_server.server import GmailServer
from tests.worker_process import PATIENCE, WorkerProcesses, until

#: What happens beside the workers; they do the reading.
_STEPS = (
    *("arrive_many",) * 6, "arrive_with_an_old_date", "delete", "delete", "label", "label", "move", "fail", "list_all",
    "compare", "expire_page_tokens", "expire_history", "resume",
)  # fmt: skip


@pytest.mark.faults
@pytest.mark.parametrize("seed", [1, *(pytest.param(number, marks=pytest.mark.soak) for number in range(2, 11))])
@pytest.mark.fault("F-12")
def test_workers_that_are_killed_mirror_a_mailbox_that_lives_on(
    seed: int, db: Database, settings: Settings, tmp_path: Path, workers: WorkerProcesses
):
    print(f"seed {seed}")
    chance = Random(seed)
    with GmailServer(seed=seed) as server:
        life = MailboxLife(server, db, settings, tmp_path)
        workers.keep(2)
        life.begin()
        for number in range(300):
            getattr(life, chance.choice(_STEPS))(Random(chance.getrandbits(32)))
            if number % 60 == 59:
                workers.kill(chance.choice(workers.running()))
                workers.keep(2)
            if number % 30 == 29:
                life.pass_time(chance)
        server.faults.clear()
        until(lambda: _is_equal(life), "the ledger to equal the mailbox", PATIENCE)
        assert rows(db, "SELECT message_id FROM ticket_messages GROUP BY 1 HAVING count(*) > 1") == []
        life.close()


def _is_equal(life: MailboxLife) -> bool:
    """Let time pass, then look whether anything is left to do; the schedule asks for changes by itself."""
    life.engine.pass_time()
    return not [said for said in life.differences() if "history" not in said]
