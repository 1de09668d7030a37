"""An IMAP mailbox at a real server through the whole chain: listed, followed, and equal to the provider id by id."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.dovecot import Dovecot, dovecot
from tests.flow.imap_box import ImapBox
from tests.flow.imports import mailbox_letters
from tests.worker_process import WorkerProcesses, until


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
