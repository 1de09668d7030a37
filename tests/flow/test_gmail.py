"""A Gmail mailbox through the whole chain: listed, followed by history, and equal to the provider id by id."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from pipeline.commands import sync
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.flow.gmail_box import ADDRESS, LONG_AGO, GmailBox
from tests.flow.imports import mailbox_letters
from tests.gmail_server.faults import FaultKind
from tests.gmail_server.server import GmailServer
from tests.worker_process import WorkerProcesses, until

#: Changes the faults, the changes and the order of mails; printed by a failing test.
_SEED = 4711

#: The share of calls that fail, by kind: a third of all together.
_FAULTS = {
    FaultKind.RATE_LIMIT_429: 0.003,  # each rests the whole mailbox for the second it tells
    FaultKind.ERROR_500: 0.18,
    FaultKind.ERROR_503: 0.05,
    FaultKind.RESET: 0.06,
    FaultKind.CUT_BODY: 0.06,
    FaultKind.LOST_REPLY: 0.03,
}


@pytest.fixture
def server() -> Iterator[GmailServer]:
    """Return a Gmail of this test's own."""
    with GmailServer(seed=_SEED) as found:
        yield found


@pytest.fixture
def gmail(server: GmailServer, db: Database, settings: Settings, tmp_path: Path) -> GmailBox:
    """Return an empty mailbox, connected."""
    return GmailBox(server, db, settings, tmp_path)


def test_two_thousand_mails_and_two_hundred_changes_are_mirrored_id_by_id(
    gmail: GmailBox, workers: WorkerProcesses
) -> None:
    chance = Random(_SEED)
    gmail.arrive(2_000, chance, at=LONG_AGO)
    workers.keep(2)
    gmail.backfill()
    gmail.settle()
    for _ in range(2):
        gmail.change(100, chance)
        gmail.settle()
    until(lambda: not gmail.pending(), "the end of all jobs")
    assert gmail.violations() == []
    assert mailbox_letters(gmail.db) == {}


@pytest.mark.fault("F-44")
def test_changes_while_the_listing_runs_are_mirrored_too(gmail: GmailBox, workers: WorkerProcesses) -> None:
    chance = Random(_SEED)
    gmail.arrive(1_200, chance, at=LONG_AGO)
    workers.keep(2)
    gmail.backfill()
    until(lambda: gmail.value("SELECT count(*) FROM occurrences WHERE state = 'routed'"), "the first mails")
    gmail.change(100, chance)
    gmail.settle()
    until(lambda: not gmail.pending(), "the end of all jobs")
    assert gmail.violations() == []


@pytest.mark.fault("F-37", "F-38", "F-40", "F-45")
def test_with_a_third_of_all_calls_failing_the_mirror_is_equal_and_nothing_is_buried(
    gmail: GmailBox, server: GmailServer, workers: WorkerProcesses
) -> None:
    print(f"seed {_SEED}")
    faults = [server.faults.add(kind, share=share, retry_after=1) for kind, share in _FAULTS.items()]
    chance = Random(_SEED)
    gmail.arrive(1_200, chance, at=LONG_AGO)
    workers.keep(2)
    gmail.backfill()
    gmail.settle()
    gmail.change(200, chance)
    gmail.settle()
    assert all(server.faults.hits(number) for number in faults)
    assert sum(server.faults.hits(number) for number in faults) > 200
    until(lambda: not gmail.pending(), "the end of all jobs")
    assert gmail.violations() == []
    assert mailbox_letters(gmail.db) == {}


@pytest.mark.fault("F-41")
def test_an_expired_cursor_leads_to_a_comparison_that_reads_exactly_what_is_missing(
    gmail: GmailBox, server: GmailServer, workers: WorkerProcesses
) -> None:
    chance = Random(_SEED)
    gmail.arrive(300, chance, at=LONG_AGO)
    workers.keep(1)
    gmail.backfill()
    gmail.settle()
    until(lambda: _is_synced(gmail), "the first history")
    with gmail.db.begin() as connection:
        sync.pause(connection, gmail.mailbox_id, timedelta(hours=1), "the test changes the mailbox", "ann")
    until(lambda: not gmail.value("SELECT count(*) FROM jobs WHERE state = 'running'"), "nothing to run")

    gmail.arrive(20, chance)
    gmail.box.expire_history()
    gmail.arrive(5, chance)
    server.reset_stats()
    with gmail.db.begin() as connection:
        sync.resume(connection, gmail.mailbox_id)
    gmail.settle()

    assert gmail.value("SELECT missing FROM reconciles WHERE scope = 'resync'") == 25
    assert server.stats()["calls"]["messages.get"] == {"200": 25}  # type: ignore[index]
    gmail.change(20, chance)
    gmail.settle()
    until(lambda: not gmail.pending(), "the end of all jobs")
    assert gmail.violations() == []


@pytest.mark.fault("F-47")
def test_a_revoked_token_parks_everything_uncharged_until_a_person_resumes(
    gmail: GmailBox, server: GmailServer, workers: WorkerProcesses
) -> None:
    chance = Random(_SEED)
    gmail.arrive(2_000, chance, at=LONG_AGO)
    server.quota.latency = 0.01
    workers.keep(2)
    gmail.backfill()
    until(lambda: gmail.value("SELECT count(*) FROM occurrences WHERE raw_sha256 IS NOT NULL"), "the first mails")
    server.tokens.revoke(ADDRESS)
    until(lambda: gmail.value("SELECT state FROM mailboxes WHERE id = :mailbox") == "auth_required", "the refusal")
    moving = "SELECT count(*) FROM jobs WHERE state NOT IN ('blocked', 'held')"
    until(lambda: not gmail.value(moving), "every job to be parked")

    assert gmail.value("SELECT count(*) FROM jobs WHERE stage = 'fetch'") > 0
    assert gmail.value("SELECT count(*) FROM jobs WHERE failures > 0 OR crashes > 0") == 0
    assert mailbox_letters(gmail.db) == {}
    assert "invalid_grant" in gmail.value("SELECT state_reason FROM mailboxes WHERE id = :mailbox")

    server.tokens.restore(ADDRESS)
    with gmail.db.begin() as connection:
        sync.resume(connection, gmail.mailbox_id)
    gmail.settle()
    until(lambda: not gmail.pending(), "the end of all jobs")
    assert gmail.violations() == []


def _is_synced(gmail: GmailBox) -> bool:
    return bool(gmail.value("SELECT last_incremental_sync_at IS NOT NULL FROM mailboxes WHERE id = :mailbox"))
