"""The same engine, unchanged, on a Gmail that others wrote: listed, followed by history, equal id by id."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.flow.gmail_box import ADDRESS, LONG_AGO, GmailBox
from tests.flow.imports import mailbox_letters
from tests.flow.other_box import OtherServer
from tests.other_gmail import OtherGmail
from tests.worker_process import WorkerProcesses, until

_SEED = 4711


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OtherGmail]:
    """Return a Gmail that is not ours, with an empty mailbox."""
    with OtherGmail(ADDRESS, tmp_path) as found:
        yield found


def test_a_mailbox_of_an_independent_gmail_is_mirrored_id_by_id_with_single_calls(
    server: OtherGmail, db: Database, settings: Settings, tmp_path: Path, workers: WorkerProcesses
) -> None:
    print(f"seed {_SEED}")
    chance = Random(_SEED)
    gmail = GmailBox(OtherServer(server), db, settings, tmp_path)  # type: ignore[arg-type]
    gmail.arrive(90, chance, at=LONG_AGO)
    workers.keep(2)
    gmail.backfill()
    gmail.settle()
    for _ in range(2):
        gmail.change(25, chance)
        gmail.settle()
    until(lambda: not gmail.pending(), "the end of all jobs")
    assert gmail.violations() == []
    assert mailbox_letters(gmail.db) == {}
    assert not [path for path in server.calls if "batch" in path]
    assert server.calls["messages/*"] >= 90
