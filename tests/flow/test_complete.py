"""Completeness through the whole engine and a real HTTP Gmail: gaps, comparisons, tombstones, labels, pauses."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
import structlog

from models.enums import ReconcileScope
from pipeline.commands import reconcile, sync
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.factories import rows, value
from tests.flow.mailbox_life import MailboxLife
from tests.gmail_server.server import GmailServer


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Drop log lines."""
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield
    structlog.configure(**before)


@pytest.fixture
def life(db: Database, settings: Settings, tmp_path: Path) -> Iterator[MailboxLife]:
    """Give the test a mailbox of twenty mails that was read to the end."""
    chance = Random(1)
    with GmailServer(seed=1) as server:
        found = MailboxLife(server, db, settings.model_copy(update={"quota_minute_seconds": 0.05}), tmp_path)
        for _ in range(20):
            found.arrive_with_an_old_date(chance)
        found.come_to_rest()
        assert found.differences() == []
        yield found
        found.close()


def compare(life: MailboxLife, scope: ReconcileScope) -> None:
    with life.db.begin() as connection:
        reconcile.request_reconcile(connection, life.mailbox_id, scope, "ann")
    life.engine.run()


def lose(life: MailboxLife, count: int) -> list[str]:
    """Make the ledger forget ids, as if they had never been listed; return them."""
    lost = life.box.ids()[:count]
    for table in ("ticket_messages", "occurrence_recipients"):
        key = "message_id" if table == "ticket_messages" else "occurrence_id"
        column = "message_id" if table == "ticket_messages" else "id"
        rows(
            life.db,
            f"DELETE FROM {table} WHERE {key} IN (SELECT {column} FROM occurrences WHERE provider_id = ANY(:ids))",
            ids=lost,
        )
    rows(life.db, "DELETE FROM occurrences WHERE provider_id = ANY(:ids)", ids=lost)
    return lost


def calls(life: MailboxLife, method: str) -> int:
    found = life.server.stats()["calls"]
    assert isinstance(found, dict)
    return int(sum(found.get(method, {}).values()))


def test_a_forgotten_cursor_fetches_exactly_what_is_missing(life: MailboxLife):
    life.box.expire_history()
    chance = Random(2)
    for _ in range(3):
        life._add(chance, ("INBOX",), None)
    life.server.reset_stats()
    life.come_to_rest()
    assert life.differences() == []
    assert calls(life, "messages.get") == 3
    assert [tuple(row) for row in rows(life.db, "SELECT cause, state FROM gaps WHERE cause = 'history_expired'")] == [
        ("history_expired", "filled")
    ]
    assert value(life.db, "SELECT sum(missing) FROM reconciles") == 3


def test_what_a_forgotten_cursor_hid_of_deletions_and_labels_is_found(life: MailboxLife):
    deleted, starred, read = life.box.ids()[:3]
    life.box.delete(deleted)
    life.box.modify(starred, add=("STARRED",))
    life.box.modify(read, remove=tuple(life.box.get(read).labels))
    life.box.expire_history()
    life.come_to_rest()
    assert life.differences() == []
    assert value(life.db, "SELECT count(*) FROM occurrences WHERE deleted_at IS NOT NULL") == 1


def test_one_listing_without_an_id_is_no_proof_that_it_is_gone(life: MailboxLife):
    gone = life.box.ids()[0]
    life.box.delete(gone)
    rows(life.db, "UPDATE mailboxes SET sync_cursor = :cursor", cursor=str(life.box.history_id))
    compare(life, ReconcileScope.FULL)
    assert value(life.db, "SELECT absences FROM occurrences WHERE provider_id = :id", id=gone) == 1
    assert value(life.db, "SELECT count(*) FROM occurrences WHERE deleted_at IS NOT NULL") == 0
    assert value(life.db, "SELECT started_at > now() + interval '1 minute' FROM reconciles WHERE state = 'running'")
    life.come_to_rest()
    assert life.differences() == []


def test_an_audit_tells_what_is_missing_and_changes_nothing_until_the_gap_is_filled(life: MailboxLife):
    lost = lose(life, 4)
    compare(life, ReconcileScope.AUDIT)
    (gap,) = rows(life.db, "SELECT cause, state, missing, sample_ids FROM gaps")
    assert (gap.cause, gap.state, gap.missing, sorted(gap.sample_ids)) == ("audit", "open", 4, sorted(lost))
    assert value(life.db, "SELECT count(*) FROM occurrences") == 16
    life.server.reset_stats()
    with life.db.begin() as connection:
        assert reconcile.fill_gaps(connection, life.mailbox_id, "ann") == 1
        assert reconcile.fill_gaps(connection, life.mailbox_id, "ann") == 0
    life.engine.run()
    assert life.differences() == []
    assert calls(life, "messages.get") == 4
    filled = rows(life.db, "SELECT state, filled_by FROM gaps WHERE cause = 'audit'")
    assert [tuple(row) for row in filled] == [("filled", "ann")]


def test_mail_that_arrives_during_an_audit_is_not_missing(life: MailboxLife):
    with life.db.begin() as connection:
        reconcile.request_reconcile(connection, life.mailbox_id, ReconcileScope.AUDIT, "ann")
    life.arrive(Random(3))
    life.come_to_rest()
    assert rows(life.db, "SELECT * FROM gaps") == []
    assert life.differences() == []


def test_the_nightly_comparison_finds_lost_ids_of_the_last_days_and_says_so(life: MailboxLife):
    chance = Random(4)
    life._add(chance, ("INBOX",), life._now() - timedelta(days=2))
    life.come_to_rest()
    newest = life.box.ids()[-1]
    rows(life.db, "DELETE FROM ticket_messages WHERE message_id IN (SELECT message_id FROM occurrences WHERE"
                  " provider_id = :id)", id=newest)  # fmt: skip
    rows(life.db, "DELETE FROM occurrence_recipients WHERE occurrence_id IN (SELECT id FROM occurrences WHERE"
                  " provider_id = :id)", id=newest)  # fmt: skip
    rows(life.db, "DELETE FROM occurrences WHERE provider_id = :id", id=newest)
    compare(life, ReconcileScope.NIGHTLY)
    assert value(life.db, "SELECT missing FROM reconciles WHERE scope = 'nightly'") == 1
    life.come_to_rest()
    assert life.differences() == []


def test_the_nightly_request_asks_for_every_id_once_a_week(life: MailboxLife):
    rows(life.db, "UPDATE mailboxes SET last_full_sync_at = now()")
    for expected in ("full", "nightly", "nightly"):
        with life.db.begin() as connection:
            assert reconcile.request_nightly(connection) == 1
        life.engine.run()
        assert value(life.db, "SELECT scope FROM reconciles ORDER BY started_at DESC LIMIT 1") == expected
    rows(life.db, "UPDATE reconciles SET started_at = started_at - interval '8 days'")
    with life.db.begin() as connection:
        reconcile.request_nightly(connection)
    assert value(life.db, "SELECT scope FROM reconciles ORDER BY started_at DESC LIMIT 1") == "full"


def test_asking_while_a_comparison_runs_joins_it(life: MailboxLife):
    with life.db.begin() as connection:
        first = reconcile.request_reconcile(connection, life.mailbox_id, ReconcileScope.NIGHTLY, "ann")
        assert reconcile.request_reconcile(connection, life.mailbox_id, ReconcileScope.FULL, "bob") == first
    assert value(life.db, "SELECT scope FROM reconciles") == "full"


def test_a_backfill_asked_for_while_paused_is_kept_and_done_when_the_pause_ends(life: MailboxLife):
    lose(life, 5)
    with life.db.begin() as connection:
        sync.pause(connection, life.mailbox_id, timedelta(minutes=30), "migration", "ann")
        sync.request_backfill(connection, life.mailbox_id)
    life.engine.run()
    assert value(life.db, "SELECT count(*) FROM occurrences") == 15
    assert tuple(rows(life.db, "SELECT state, paused_by, state_reason FROM mailboxes")[0]) == (
        "paused", "ann", "migration",
    )  # fmt: skip
    life.engine.pass_time()
    life.engine.run()
    assert life.differences() == []


def test_a_suspended_mailbox_is_asked_once_an_hour_and_goes_on_by_itself(life: MailboxLife):
    fault = life.server.faults.add("suspended_400")
    life.arrive(Random(5))
    life.poll(Random(5))
    assert value(life.db, "SELECT state FROM mailboxes") == "suspended"
    for hour in range(3):
        struck = life.server.faults.hits(fault)
        life.engine.pass_time()
        life.engine.run()
        assert life.server.faults.hits(fault) == struck + 1, f"hour {hour}"
        assert value(life.db, "SELECT state FROM mailboxes") == "suspended"
    life.come_to_rest()
    assert value(life.db, "SELECT state FROM mailboxes") == "active"
    assert life.differences() == []


def test_repeated_failures_pause_a_mailbox_and_a_probe_resumes_it(life: MailboxLife):
    life.server.faults.add("error_503")
    life.arrive(Random(6))
    for _ in range(12):
        life.poll(Random(6))
        rows(life.db, "UPDATE jobs SET run_at = now() WHERE state = 'waiting'")
        life.engine.run(most=4)
        if value(life.db, "SELECT state FROM mailboxes") == "paused":
            break
    (row,) = rows(life.db, "SELECT state, paused_by, trips, state_reason FROM mailboxes")
    assert (row.state, row.paused_by, row.trips) == ("paused", "breaker", 1)
    assert "503" in row.state_reason
    for trips in (2, 3):
        life.engine.pass_time()
        life.engine.run()
        (row,) = rows(life.db, "SELECT state, trips, paused_until - now() AS rest FROM mailboxes")
        assert (row.state, row.trips) == ("paused", trips)
        assert row.rest > timedelta(minutes=trips - 1)
    life.come_to_rest()
    assert value(life.db, "SELECT state FROM mailboxes") == "active"
    assert life.differences() == []
    assert value(life.db, "SELECT count(*) FROM dead_letters") == 0


def test_the_wrong_account_at_a_new_consent_reads_nothing_into_the_mailbox(life: MailboxLife, tmp_path: Path):
    other = life.server.mailbox("other@example.org")
    other.add(b"From: x@example.com\r\nSubject: not ours\r\n\r\nx\r\n")
    life.connect_as("other@example.org", tmp_path)
    life.arrive(Random(7))
    life.poll(Random(7))
    life.engine.run()
    (row,) = rows(life.db, "SELECT state, state_reason FROM mailboxes")
    assert row.state == "auth_required"
    assert "other@example.org" in row.state_reason
    assert value(life.db, "SELECT count(*) FROM occurrences") == 20
    life.connect_as("support@example.org", tmp_path)
    life.come_to_rest()
    assert life.differences() == []


def test_reading_how_a_mailbox_stands_moves_no_cursor(life: MailboxLife):
    life.arrive(Random(8))
    before = value(life.db, "SELECT sync_cursor FROM mailboxes")
    with life.db.begin() as connection:
        source = life.engine.ports.sources.open(life.reference(connection))
    source.profile()
    source.labels()
    source.list_page(None, limit=10)
    assert value(life.db, "SELECT sync_cursor FROM mailboxes") == before
    life.come_to_rest()
    assert life.differences() == []
