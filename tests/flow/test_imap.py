"""An IMAP mailbox at a real server through the whole chain: listed, followed, and equal to the provider id by id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.runtime.db import Database
from pipeline.runtime.locks import LISTENER
from pipeline.runtime.settings import Settings
from tests.dovecot import Dovecot, dovecot
from tests.flow.imap_box import ImapBox
from tests.flow.imports import mailbox_letters
from tests.worker_process import WorkerProcesses, until, worker_processes

_WAITED_ON = f"""
    SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = {LISTENER} AND granted
                      AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""


@pytest.fixture(params=["condstore", "plain"])
def server(request: pytest.FixtureRequest) -> Iterator[Dovecot]:
    """Return an IMAP server of this test's own: with CONDSTORE, and without it and with few connections."""
    is_plain = request.param == "plain"
    with dovecot(without=("CONDSTORE",) if is_plain else (), connections=5 if is_plain else 10) as found:
        yield found


@pytest.fixture
def imap(server: Dovecot, db: Database, settings: Settings) -> Iterator[ImapBox]:
    """Return an empty mailbox, connected."""
    found = ImapBox(server, db, settings)
    yield found
    found.close()


def test_with_a_real_quota_minute_a_backfill_ends_while_a_worker_waits_for_news(
    db: Database, settings: Settings, tmp_path: Path
) -> None:
    real = settings.model_copy(update={"quota_minute_seconds": 60.0})
    with dovecot() as server, closing(ImapBox(server, db, real)) as imap, worker_processes(real, tmp_path) as workers:
        imap.arrive(30)
        imap.begin_here()
        workers.keep(2)
        until(lambda: imap.value(_WAITED_ON), "a worker to wait for news")
        imap.backfill()
        imap.settle()
        assert imap.value("SELECT count(*) FROM occurrences WHERE mailbox_id = :mailbox") == 30
        assert imap.value(_WAITED_ON)
        assert imap.violations() == []


def test_backfill_new_mail_deletions_moves_and_flags_are_mirrored_id_by_id(
    imap: ImapBox, workers: WorkerProcesses
) -> None:
    imap.client.create_folder("Archiv für März")
    imap.arrive(120)
    imap.arrive(30, "Archiv für März")
    imap.flag(list(range(1, 40)), "\\Seen")
    workers.keep(2)
    imap.backfill()
    imap.settle()

    imap.arrive(5)
    imap.settle()
    imap.delete([1, 2, 50])
    imap.move([3, 60, 61], "INBOX", "Archiv für März")
    imap.flag([70], "\\Flagged")
    imap.flag([39], "\\Flagged", "\\Seen")
    imap.settle()
    imap.client.create_folder("Late")
    imap.arrive(3, "Late")
    imap.client.rename_folder("Archiv für März", "Archive")
    imap.settle()

    until(lambda: not imap.value("SELECT count(*) FROM jobs WHERE stage <> 'history' AND state <> 'dead'"), "all jobs")
    assert imap.bytes_differ() == []
    assert imap.violations() == []
    assert mailbox_letters(imap.db) == {}
    tickets = imap.value("SELECT count(*) FROM ticket_messages")
    # A message that moved is known by its content: it is no second message.
    assert tickets == 158
